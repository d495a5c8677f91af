"""Test that files appear whole, and that only abandoned ones go."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from landscape.probing.atomic_files import storage_errors, sweep, write_once
from quant.errors import StoreError
from quant.files.temporary_files import unnamed_file


def test_write_once_keeps_the_first(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_once(path, b"first")
    write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(path.parent) == ["file"]


def test_only_old_temporary_files_are_swept(tmp_path: Path) -> None:
    shard = f"{'0' * 64}.h5"
    young, today, old, hidden = (f"{digit * 32}.tmp" for digit in "0123")
    aged = ((0, young), (23, today), (25, old), (25, f".{hidden}"), (25, shard), (25, "mine.tmp"))
    for hours, name in aged:
        path = tmp_path / name
        path.touch()
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    sweep(tmp_path)
    assert set(os.listdir(tmp_path)) == {young, today, shard, "mine.tmp"}


def test_a_temporary_file_goes_unless_it_was_renamed(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), unnamed_file(tmp_path) as path:
        path.touch()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
    with unnamed_file(tmp_path) as path:
        path.touch()
        path.rename(tmp_path / "kept")
    assert os.listdir(tmp_path) == ["kept"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), OSError(f"unable to write (errno = {errno.ENOSPC}, more)\nand more")]
)
def test_an_error_of_the_system_is_one_line(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(StoreError) as caught, storage_errors("write", tmp_path):
        raise error
    assert str(caught.value) == (
        f"cannot write {tmp_path}: {os.strerror(errno.ENOSPC)}; free space, check permissions or use another --store"
    )
