"""Check that the memory left is the least of all limits, and that a refusal has the numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from quant import memory
from quant.errors import UsageError
from quant.memory import MemoryNeed, available_device_memory, available_host_memory, check_room

CPU, CARD = torch.device("cpu"), torch.device("cuda:0")
GB = 10**9


def write_group(folder: Path, version: int, limit: str, use: int, reclaimable: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    limit_file, use_file, pages = memory._FILES[version]
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / use_file).write_text(f"{use}\n")
    (folder / "memory.stat").write_text(f"anon 7\n{pages} {reclaimable}\nslab 3\n")


def own_group(tmp_path: Path, line: str) -> Path:
    own = tmp_path / "own"
    own.write_text(f"3:cpuset:/\n{line}\n")
    return own


@pytest.mark.parametrize(("version", "line"), [(2, "0::/jobs/one"), (1, "4:cpu,memory:/jobs/one")])
def test_limits_of_groups_count_less_what_is_used_and_not_reclaimable(tmp_path: Path, version: int, line: str) -> None:
    root, own = tmp_path / "groups", own_group(tmp_path, line)
    base = root if version == 2 else root / "memory"
    write_group(base / "jobs" / "one", version, "max" if version == 2 else str(2**63 - 4096), 5 * GB, 0)
    write_group(base / "jobs", version, str(8 * GB), 5 * GB, GB)  # the limit of a parent holds too
    assert list(memory._left_in_groups(root, own)) == [4 * GB]
    write_group(base / "jobs" / "one", version, str(2 * GB), 3 * GB, 0)
    assert list(memory._left_in_groups(root, own)) == [0, 4 * GB]


def test_a_container_that_shows_the_path_of_the_host_has_the_limit_of_its_root(tmp_path: Path) -> None:
    write_group(tmp_path / "groups", 2, str(2 * GB), GB, 0)
    assert list(memory._left_in_groups(tmp_path / "groups", own_group(tmp_path, "0::/docker/abc"))) == [GB]


def test_no_groups_and_unreadable_ones_limit_nothing(tmp_path: Path) -> None:
    assert list(memory._left_in_groups(tmp_path, tmp_path / "missing")) == []
    write_group(tmp_path, 2, "a few", 1, 1)
    assert list(memory._left_in_groups(tmp_path, own_group(tmp_path, "0::/"))) == []


def test_the_least_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < available_host_memory() <= psutil.virtual_memory().total
    monkeypatch.setattr(memory, "_left_in_groups", lambda: iter([5, 7]))
    assert available_host_memory() == 5


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on the address space is Linux's")
def test_the_limit_on_the_address_space_counts() -> None:
    code = (
        "import resource, psutil\n"
        "from quant.memory import available_host_memory\n"
        "size = psutil.Process().memory_info().vms + 300_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "print(available_host_memory())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 200e6 < int(found.stdout) <= 300e6


def test_a_task_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_host_memory", lambda: 2 * GB)
    need = MemoryNeed({"one direction": 1_500_000_000, "logits": 600_000_000, "codes": 0}, {})
    with pytest.raises(UsageError) as refused:
        check_room(need, [CPU], "this run", "use less")
    assert str(refused.value) == (
        "expected this run to fit in the 2.0 GB of host memory that are left, it takes about 2.1 GB more "
        "(one direction 1.5 GB, logits 600 MB); use less"
    )
    monkeypatch.setattr(memory, "available_host_memory", lambda: 2_100_000_000)
    check_room(need, [CPU], "this run", "use less")


def test_a_card_is_judged_by_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def free(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return 3 * GB, 80 * GB

    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GB)
    assert available_device_memory(CPU) is None
    assert available_device_memory(CARD) == 4 * GB  # the reserve that no tensor uses is the process's own
    assert asked == [CARD]
    monkeypatch.setattr(memory, "available_host_memory", lambda: GB)
    check_room(MemoryNeed({"points": GB}, {"logits": 4 * GB}), [CARD], "this run", "use less")
    with pytest.raises(UsageError, match=r"in the 4\.0 GB of memory of cuda:0 that are left, it takes about 5\.0 GB"):
        check_room(MemoryNeed({"points": GB}, {"logits": 5 * GB}), [CARD], "this run", "use less")
    with pytest.raises(UsageError, match="host memory"):
        check_room(MemoryNeed({"points": 2 * GB}, {"logits": GB}), [CARD], "this run", "use less")
