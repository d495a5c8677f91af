"""Write files whole and readable by whom the umask lets, and refuse folders that cannot be written."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from quant.errors import StoreError, UsageError
from quant.files import temporary_files
from quant.files.cache import atomic_path, check_writable

WANTED = "a folder for pages"
TENSORS = {"ids": torch.arange(12).view(3, 4)}


@pytest.fixture(params=[0o022, 0o007, 0o077])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_modes_follow_the_umask(mask: int, tmp_path: Path) -> None:
    with atomic_path(tmp_path / "file") as temporary:
        save_file(TENSORS, temporary)  # which writes 0600
    with atomic_path(tmp_path / "folder") as temporary:
        temporary.mkdir(mode=0o700)
        save_file(TENSORS, temporary / "inside")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder", "folder/inside")]
    assert modes == [0o666 & ~mask, 0o777 & ~mask, 0o666 & ~mask]


def test_a_new_folder_is_made_and_nothing_stays_in_one(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "pages", WANTED)
    assert list((tmp_path / "new" / "pages").iterdir()) == []
    check_writable(tmp_path / "new" / "pages", WANTED)
    (tmp_path / "new" / "old.html").write_text("mine")
    check_writable(tmp_path / "new", WANTED)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["old.html", "pages"]


def test_a_folder_written_under_another_name_first_is_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "model", WANTED, inside=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError) as refused:
        check_writable(file, WANTED)
    assert str(refused.value) == f"expected {WANTED}, got '{file}', which is a file; choose another"
    with pytest.raises(UsageError, match=f"got '{file}/below/a', where '{file}' is a file; choose another"):
        check_writable(file / "below" / "a", WANTED)
    assert file.read_text() == "mine"

    def full(path: Path, **_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.touch", full)
    with pytest.raises(UsageError, match=f"cannot write to '{tmp_path}': No space left on device; choose another"):
        check_writable(tmp_path, WANTED)


def age(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Let hours pass: all that was written until now is as old."""
    now = time.time() + 3600 * hours
    monkeypatch.setattr("quant.files.cache.time.time", lambda: now)


def writer(digits: str) -> str:
    """Digits of a writer on another machine."""
    return digits + temporary_files._check(digits)


def leave(folder: Path) -> set[str]:
    """Leave a file and a folder as killed processes do, and others with similar names; return the others' names."""
    unfinished = {f".model.{writer('0' * 28)}.partial", f".text.safetensors.{writer('a1' * 14)}.partial"}
    others = {"model", "x.partial", f"model.{'0' * 32}.partial", f".model.{'0' * 31}.partial", ".model.partial"}
    first, second = sorted(unfinished)
    (folder / first / "inside").mkdir(parents=True)
    (folder / first / "inside" / "weights").write_text("half of them")
    (folder / second).write_text("half of it")
    for name in others:
        (folder / name).write_text("mine")
    assert {path.name for path in folder.iterdir()} == unfinished | others
    return others


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = leave(tmp_path)
    age(monkeypatch, 25)
    with atomic_path(tmp_path / "new") as temporary:
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == others | {"new"}


def test_what_another_process_may_be_writing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    age(monkeypatch, 23)
    with atomic_path(tmp_path / "new") as temporary:
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == before | {"new"}


def test_a_folder_counts_as_old_as_its_newest_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path)
    weights = next(tmp_path.rglob("weights"))
    age(monkeypatch, 25)
    os.utime(weights, (time.time(),) * 2)  # still written to, a day after the folder was made
    with atomic_path(tmp_path / "new") as temporary:
        temporary.write_text("whole")
    assert weights.exists()
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(".text")]) == 0


def test_what_cannot_be_removed_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path)
    before, replace = {path.name for path in tmp_path.iterdir()}, os.replace

    def denied(source: Path, target: Path) -> None:
        if source.name in before:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    age(monkeypatch, 25)
    monkeypatch.setattr(os, "replace", denied)
    with atomic_path(tmp_path / "new") as temporary:
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == before | {"new"}


def test_a_folder_that_comes_at_the_last_moment_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def beaten(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "theirs").write_text("whole")
        replace(source, target)

    monkeypatch.setattr(os, "replace", beaten)
    with atomic_path(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "mine").write_text("whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "theirs"]


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("mine")
    with pytest.raises(StoreError, match="Not a directory"), atomic_path(tmp_path / "folder") as temporary:
        temporary.mkdir()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_an_error_is_not_hidden_by_what_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(16, "Device or resource busy")

    def fail() -> None:
        with atomic_path(tmp_path / "folder") as temporary:
            temporary.mkdir()
            raise ValueError("the reason")

    monkeypatch.setattr(shutil, "rmtree", busy)
    with pytest.raises(ValueError, match="the reason"):
        fail()
