"""Measure how much memory a process may still take, on the host and on a device, and refuse what cannot fit.

``psutil`` sees the machine. A container or a batch job may have less: the limits of its control groups (Linux, versions
1 and 2) and of the process (``ulimit -v``) count too. Swap does not count: weights there would be read from disk at
every forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from quant.errors import UsageError

SMALLER = "use --dtype bfloat16, a smaller model, or a machine with more memory"
"""Remedy for a model that does not fit."""
_UNLIMITED = 2**60  # bytes: version 1 writes "no limit" as the largest number of whole pages
_FILES = {  # by version: limit, use, and the name of the file pages that the kernel gives back first
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a task will take besides those that it holds, by what takes them."""

    host: Mapping[str, int]
    """On the host."""
    device: Mapping[str, int]
    """On the device of the model; empty if that is the host."""

    @property
    def host_bytes(self) -> int:
        """Sum on the host."""
        return sum(self.host.values())

    @property
    def device_bytes(self) -> int:
        """Sum on the device."""
        return sum(self.device.values())


def available_host_memory() -> int:
    """Return the bytes that this process can still take without swap: the least of all limits that are known."""
    found = [int(psutil.virtual_memory().available), *_left_in_groups(), *_left_of_address_space()]
    return max(0, min(found))


def available_device_memory(device: torch.device) -> int | None:
    """Return the bytes that this process can still take on a CUDA device, its own unused cache included; else None."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def check_room(need: MemoryNeed, devices: Sequence[torch.device], task: str, advice: str) -> None:
    """Check that a task fits in the memory that is left.

    Args:
        need: Bytes that the task will take.
        devices: Devices of the model; on several cards their memory counts together.
        task: Words for the task, "this run".
        advice: Remedy, the end of the sentence.

    Raises:
        UsageError: if it does not fit; the message has the numbers.
    """
    _check(need.host, available_host_memory(), "host memory", task, advice)
    cards = {device: left for device in devices if (left := available_device_memory(device)) is not None}
    if cards:
        _check(need.device, sum(cards.values()), f"memory of {' and '.join(map(str, cards))}", task, advice)


def _check(need: Mapping[str, int], available: int, place: str, task: str, advice: str) -> None:
    total = sum(need.values())
    if total <= available:
        return
    largest = sorted(need.items(), key=lambda item: -item[1])
    parts = ", ".join(f"{name} {_size(count)}" for name, count in largest if count)
    raise UsageError(
        f"expected {task} to fit in the {_size(available)} of {place} that are left, it takes about {_size(total)} "
        f"more ({parts}); {advice}"
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _left_in_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Yield what is left under each limit of the process's control groups and of the groups around them."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _left_below(root, path, 2)
        elif "memory" in controllers.split(","):
            yield from _left_below(root / "memory", path, 1)


def _left_below(root: Path, path: str, version: int) -> Iterator[int]:
    """Yield what is left in a group and its parents; a container may show the host's path but not its folders."""
    group = root / path.lstrip("/")
    while True:
        left = _left_in_group(group, version)
        if left is not None:
            yield left
        if group == root or root not in group.parents:
            return
        group = group.parent


def _left_in_group(group: Path, version: int) -> int | None:
    """Return limit − use + reclaimable file pages of one group; None if it has no limit."""
    limit_file, use_file, reclaimable = _FILES[version]
    try:
        limit = (group / limit_file).read_text(encoding="utf-8").strip()
        if limit == "max" or int(limit) >= _UNLIMITED:
            return None
        use = int((group / use_file).read_text(encoding="utf-8"))
        rows = (line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
        pages = next((int(row[1]) for row in rows if row[0] == reclaimable), 0)
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - use + pages)


def _left_of_address_space() -> Iterator[int]:
    """Yield what is left under the limit on the process's address space, where there is one."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield int(limit - psutil.Process().memory_info().vms)
