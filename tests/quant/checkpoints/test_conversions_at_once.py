"""Keep conversions beside others: no process takes a good one away, and none reads a damaged one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quant.checkpoints import converted
from quant.checkpoints.pretrained import read_gguf
from quant.files.hashed_files import is_sealed
from quant.identity import fingerprint
from tests.quant.checkpoints.test_converted import kept, load
from tests.quant.checkpoints.test_gguf_file import write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "m.gguf")


def true_fingerprint(file: Path) -> str:
    return fingerprint(read_gguf(file, "float32")[0])


def damage(file: Path, cache: Path) -> Path:
    """Keep a conversion and change one weight of it, which still loads."""
    load(file, cache)
    (folder,) = kept(cache)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    assert not is_sealed(folder)
    return folder


def test_a_damaged_conversion_that_cannot_be_removed_is_not_read(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, replace, lines = damage(file, tmp_path), os.replace, []

    def denied(source: Path, target: Path) -> None:
        if folder in (source, target):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", denied)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        for _ in range(2):
            assert load(file, tmp_path, lines.append).fingerprint == true_fingerprint(file)
    assert not is_sealed(folder)
    assert len(lines) == 2
    assert f"m.gguf is read anew at every run, since its kept conversion {folder} is damaged" in lines[0]
    assert "remove that folder" in lines[0]
    assert "\n" not in lines[0]
    assert load(file, tmp_path).fingerprint == true_fingerprint(file)  # no line: it is made again
    assert is_sealed(folder)


def finish_between(monkeypatch: pytest.MonkeyPatch, other: Callable[[], object]) -> None:
    """Let another process work between a process's first check of a conversion and all that follows from it."""
    calls: list[Path] = []

    def check(folder: Path) -> bool:
        result = is_sealed(folder)
        calls.append(folder)
        if len(calls) == 1:
            other()
        return result

    monkeypatch.setattr(converted, "is_sealed", check)


@pytest.mark.parametrize("before", ["absent", "damaged", "damaged, and hard to tell from the new one"])
def test_a_conversion_that_another_process_has_just_finished_stays(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    if before != "absent":
        damage(file, tmp_path)
    if "hard" in before:
        monkeypatch.setattr(converted, "_handle", lambda folder: (1, 2, 3))
    theirs: list[int] = []
    moved: list[str] = []
    replace = os.replace

    def other() -> None:
        assert load(file, tmp_path).fingerprint == true_fingerprint(file)
        theirs.append(kept(tmp_path)[0].stat().st_ino)
        monkeypatch.setattr(os, "replace", lambda source, target: (moved.append(source.name), replace(source, target)))

    def reading(_: str) -> None:  # the other process reads its folder while this one converts
        if theirs:
            (folder,) = (path for path in kept(tmp_path) if not path.name.startswith("."))
            assert is_sealed(folder)
            assert folder.stat().st_ino == theirs[0]

    finish_between(monkeypatch, other)
    assert load(file, tmp_path, stage=reading).fingerprint == true_fingerprint(file)
    assert len(theirs) == 1
    (folder,) = kept(tmp_path)
    assert is_sealed(folder)
    assert (folder.name in moved) == ("hard" in before)  # else it is not even moved aside for a moment


LOAD = """
import sys, time, warnings
from pathlib import Path
from quant.checkpoints.checkpoint import load_checkpoint

file, cache, me, other = map(Path, sys.argv[1:])
def wait(_):
    me.touch()  # in the middle of the conversion, after the check
    while not other.exists():
        time.sleep(0.01)
warnings.simplefilter("error")
print(load_checkpoint(str(file), cache=cache, stage=wait).fingerprint)
"""


@pytest.mark.parametrize("before", ["absent", "damaged"])
def test_two_processes_convert_one_file_at_once(file: Path, tmp_path: Path, before: str) -> None:
    cache, names = tmp_path / "cache", ["first", "second"]
    if before == "damaged":
        damage(file, cache)
    marks = [str(tmp_path / name) for name in names]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(file), str(cache), *order],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for order in (marks, marks[::-1])
    ]  # fmt: skip
    for worker in workers:
        output, error = worker.communicate(timeout=120)
        assert (worker.returncode, output.strip(), error) == (0, true_fingerprint(file), "")
    (folder,) = kept(cache)
    assert is_sealed(folder)
