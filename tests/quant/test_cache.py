"""Write files whole and readable by whom the umask lets, and refuse folders that cannot be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from quant.cache import atomic_path, check_writable
from quant.errors import UsageError

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

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(UsageError, match=f"cannot write to '{tmp_path}': No space left on device; choose another"):
        check_writable(tmp_path, WANTED)
