"""Shards that other machines remove while they are read: NFS says so in another way than a local file system."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landscape.probing.atomic_files import is_gone
from landscape.probing.shard_file import Shard, open_shard
from quant.errors import StoreError
from tests.landscape.probing.test_shards import folder, numbers


def h5py_words(number: int, kind: type[Exception]) -> Exception:
    """An error of the system as h5py 3.16 gives it: with a number, or as a ``KeyError`` that has it in its text."""
    text = f"Unable to synchronously open object (file read failed: errno = {number}, error message = 'Stale', buf = 0)"
    return OSError(number, text) if kind is OSError else KeyError(text)


class Failing(dict[str, object]):
    """A file of HDF5 that can be opened and not read."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.id = self.links = self

    def get_info(self, key: bytes) -> object:
        """Look for a link."""
        raise self.error

    def __getitem__(self, key: str) -> object:
        raise self.error

    def close(self) -> None:
        """Close nothing."""


def break_hash(patch: pytest.MonkeyPatch, number: int) -> None:
    def read(_: Path) -> str:
        raise OSError(number, os.strerror(number))

    patch.setattr("landscape.probing.shards._content_name", read)


def break_opening(patch: pytest.MonkeyPatch, number: int) -> None:
    def read(_: Path) -> Shard:
        raise h5py_words(number, OSError)

    patch.setattr("landscape.probing.shards.open_shard", read)


def break_reading(patch: pytest.MonkeyPatch, number: int, kind: type[Exception]) -> None:
    def opened(path: Path) -> Shard:
        shard = open_shard(path)
        shard._file.close()  # type: ignore[union-attr]
        shard._file = Failing(h5py_words(number, kind))  # type: ignore[union-attr]
        return shard  # type: ignore[return-value]

    patch.setattr("landscape.probing.shards.open_shard", opened)


def break_array(patch: pytest.MonkeyPatch, number: int) -> None:
    break_reading(patch, number, OSError)


def break_lookup(patch: pytest.MonkeyPatch, number: int) -> None:
    break_reading(patch, number, KeyError)


BREAKS = pytest.mark.parametrize("spoil", [break_hash, break_opening, break_array, break_lookup])


@BREAKS
@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
def test_a_shard_that_another_machine_removes_while_it_is_read_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch, int], None], number: int
) -> None:
    """NFS fails with ESTALE where a local file system reads on, or with ENOENT: wherever in the file that is."""
    shards = folder(tmp_path)  # fails at a warning
    name = shards.add({"x": np.arange(3)}, {})
    with monkeypatch.context() as patch:
        spoil(patch, number)
        assert shards.read_all(numbers) == {}
    assert shards.read_all(numbers) == {name: [0, 1, 2]}


@BREAKS
def test_an_error_of_the_disk_is_not_taken_for_a_shard_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch, int], None]
) -> None:
    shards = folder(tmp_path)
    shards.add({"x": np.arange(3)}, {})
    spoil(monkeypatch, errno.EIO)
    with pytest.raises(StoreError, match=f"cannot read .*: {os.strerror(errno.EIO)}; "):
        shards.read_all(numbers)


def test_an_array_that_a_shard_lacks_is_no_error_of_the_system(tmp_path: Path) -> None:
    shards = folder(tmp_path)
    shard = shards.open(shards.add({"y": np.arange(3)}, {}))
    with shard, pytest.raises(StoreError, match="name doesn't exist") as caught:  # type: ignore[union-attr]
        numbers(shard)
    assert not is_gone(caught.value)


def test_a_shard_that_another_machine_removed_first_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(Path, "unlink", stale)
    folder(tmp_path).remove(["0" * 64 + ".h5"])
