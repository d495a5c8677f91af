"""Keep arrays in immutable HDF5 files, each named by the hash of its bytes; only exports import h5py too.

    <folder>/<sha256 of its bytes>.h5           committed: complete, never changed again
    <folder>/<sha256 of its bytes>.h5.damaged   set aside: its bytes were no longer those of its name, or it is no file
    <folder>/<writer>.tmp                       being written, or left behind by a writer that was killed

A file is written under a temporary name, closed, synced and hashed, and then moved to its own name. A file that exists
is therefore whole, whenever its writer was killed, and any number of processes may write and read without a lock. A
file goes only when its content is in another file that is already committed, so readers take the union of all files.

The format is HDF5's default (``libver="latest"`` does not reopen after a kill). Its file locks are off: they mean
nothing for files that never change, and fail on some network file systems.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.probing.atomic_files import check_writable, is_gone, storage_errors, sync, unless_forbidden, unless_gone
from landscape.probing.file_sink import FileSink
from quant.errors import StoreError
from quant.odd_files import is_odd, odd_kind, set_aside
from quant.system_errors import error_number, is_forbidden, reason
from quant.temporary_files import unnamed_file

T = TypeVar("T")
Attribute = str | int

_NAME = re.compile(r"[0-9a-f]{64}\.h5")
_AWAY = "move the file away, and run the command again"
_FORMAT = (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError)
"""Errors of h5py, and of its users, at content that was damaged or made by others."""


@dataclass(frozen=True)
class Streamed:
    """A long array, written piece by piece and never held whole."""

    dtype: str
    """Name that numpy gives the type on disk, such as ``<f4``."""
    size: int
    """Number of elements."""
    pieces: Iterable[NDArray[Any]]
    """Consecutive parts, each flat, ``size`` elements together."""


Array = NDArray[Any] | Sequence[str] | Streamed
"""Content of a shard under one key: numbers, a table of strings without NUL, or a long array in pieces."""


class Shard:
    """An open shard, readable after this machine removed its file, and closed by ``with`` or with its last user."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.attributes: dict[str, Any] = dict(file.attrs)
        self._file, self._size = file, int(file.id.get_filesize())
        self._opened: dict[str, Any] = {}  # datasets that were read before: to look one up takes as long as to read it

    def __contains__(self, key: str) -> bool:
        with format_errors(self.path):
            return key in self._file

    def strings(self, key: str) -> list[str]:
        """Read a whole table of strings.

        Raises:
            StoreError: It cannot be read, or is no table of strings.
        """
        values = self.numbers(key)
        with format_errors(self.path):
            return [value.decode() for value in values.astype(np.bytes_, casting="no", copy=False).tolist()]

    def column(self, table: str, index: str) -> list[str]:
        """Read a column of strings, each of which is stored as its place in a table.

        Raises:
            StoreError: It cannot be read, or has a place that is not in the table.
        """
        values, places = [sys.intern(value) for value in self.strings(table)], self.numbers(index)
        inside = not places.size or (places.min() >= 0 and places.max() < len(values))
        if places.dtype.kind not in "iu" or not inside:
            raise StoreError(f"expected places in the table {table} as {index} of {self.path}, found others; {_AWAY}")
        return [values[place] for place in places.tolist()]

    def numbers(self, key: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read the elements ``start`` to ``stop`` of an array, and no others.

        Raises:
            StoreError: They cannot be read.
        """
        with storage_errors("read", self.path), format_errors(self.path):
            try:
                if key not in self._opened:
                    self._opened[key] = self._dataset(key)
                values: NDArray[Any] = self._opened[key][start:stop]
            except KeyError as error:  # h5py's name for the system's errors too, where it looks the key up
                if (number := error_number(error)) is None:
                    raise
                raise OSError(number, os.strerror(number)) from error
        return values

    def _dataset(self, key: str) -> Any:
        """Open an array, if it is one as they are written here: numbers or strings in one row, all of them stored."""
        found = self._file[key]
        if not isinstance(found, h5py.Dataset) or found.ndim != 1 or found.dtype.kind not in "iufS":
            raise ValueError(f"{key} is no row of numbers or strings")
        if found.nbytes > self._size:
            raise ValueError(f"{key} has {found.nbytes} bytes in a file of {self._size}")
        return found

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.clear()
        self._file.close()


@contextmanager
def format_errors(path: Path) -> Iterator[None]:
    """Turn an error at the content of a shard into one line.

    Raises:
        StoreError: The path, the fault and the advice.
    """
    try:
        yield
    except _FORMAT as error:
        fault = str(error.args[0] if error.args else type(error).__name__).split("\n")[0][:200]
        raise StoreError(f"expected the content of a shard in {path}, found another: {fault}; {_AWAY}") from error


def open_as_it_is(path: Path) -> Shard | None:
    """Open a shard without a look at its hash; None if it is gone, or no HDF5 file.

    Raises:
        StoreError: The file cannot be read.
    """
    if is_odd(path):  # to open a pipe would wait for ever
        return None
    with storage_errors("read", path):
        try:
            return _open_hdf5(path)
        except OSError as error:
            if is_gone(error):
                return None
            raise


def is_intact(path: Path) -> bool | None:
    """Return whether the bytes of a shard match its name; None if it is gone.

    Raises:
        StoreError: The file cannot be read.
    """
    if is_odd(path):
        return False
    with storage_errors("read", path):
        try:
            return _content_name(path) == path.name
        except OSError as error:
            if is_gone(error):
                return None
            raise


class ShardFolder:
    """The shards of one folder; the first write makes the folder."""

    def __init__(self, path: Path, identity: Mapping[str, Attribute], warn: Callable[[str], None]) -> None:
        """Bind to a folder, and make nothing on disk.

        Args:
            path: The folder.
            identity: Attributes that every shard of the folder carries; a shard without them is not read.
            warn: Takes one line about a shard that was set aside.
        """
        self.path = path
        self._identity = identity
        self._warn = warn

    def names(self) -> set[str]:
        """List the shards in the folder now; none if there is no folder."""
        with storage_errors("list", self.path), suppress(FileNotFoundError):
            return {name for name in os.listdir(self.path) if _NAME.fullmatch(name)}
        return set()

    def add(self, arrays: Mapping[str, Array], attributes: Mapping[str, Attribute]) -> str:
        """Commit one shard and return its name; the same content twice is one file.

        Raises:
            StoreError: The shard cannot be written; nothing is left of it.
        """
        with storage_errors("write to", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with unnamed_file(self.path) as path:
                _write_hdf5(path, arrays, {**self._identity, **attributes})
                sync(path)
                name = _content_name(path)
                if is_odd(self.path / name):
                    self._set_aside(self.path / name)
                os.replace(path, self.path / name)
            sync(self.path)
        return name

    def check_writable(self) -> None:
        """Check that a shard can be written, before the work whose outcome it holds; the folder is made.

        Raises:
            StoreError: It cannot.
        """
        check_writable(self.path)

    def may_merge(self) -> bool:
        """Return whether this user may change the folder; if not, its shards stay as they are."""
        try:
            self.check_writable()
        except StoreError as error:
            if error.__cause__ is not None and is_forbidden(error.__cause__):
                return False
            raise
        return True

    def open(self, name: str) -> Shard | None:
        """Open a shard whose bytes match its name.

        Returns:
            The shard; None if it is gone, or was damaged or no file and is set aside.

        Raises:
            StoreError: The shard cannot be read at all, or has another identity.
        """
        path = self.path / name
        if is_odd(path):
            self._set_aside(path)
            return None
        with storage_errors("read", path):
            try:
                shard = _open_hdf5(path) if _content_name(path) == name else None
            except OSError as error:
                if is_gone(error):
                    return None
                raise
        if shard is None:
            self._set_aside(path)
            return None
        for key, expected in self._identity.items():
            found = shard.attributes.get(key)
            if found != expected:
                raise StoreError(f"expected {key} {expected}, found {found} in {path}; update or use another --store")
        return shard

    def read_all(self, read: Callable[[Shard], T]) -> dict[str, T]:
        """Apply ``read`` to every shard, and return its values by the shards' names.

        The folder is listed again until it holds nothing new: a shard that vanished was merged into another, which an
        earlier listing may have missed.
        """
        seen: dict[str, T | None] = {}
        while unseen := sorted(self.names() - seen.keys()):
            seen.update((name, self._read(name, read)) for name in unseen)
        return {name: value for name, value in seen.items() if value is not None}

    def _read(self, name: str, read: Callable[[Shard], T]) -> T | None:
        """Apply ``read`` to a shard; None if it is gone or damaged, or goes while it is read."""
        shard = self.open(name)
        if shard is None:
            return None
        try:
            with shard, format_errors(shard.path):
                return read(shard)
        except StoreError as error:
            if is_gone(error):
                return None
            raise

    def remove(self, names: Iterable[str]) -> None:
        """Remove shards whose content is in other shards, except those that only another user may remove."""
        for name in names:
            with storage_errors("remove", self.path / name), unless_gone(), unless_forbidden():
                (self.path / name).unlink()

    def _set_aside(self, path: Path) -> None:
        fault = "is damaged" if path.is_file() else f"is {odd_kind(path)}"
        try:
            fate = f"moved to {set_aside(path).name}"
        except OSError as error:
            if is_gone(error):
                return  # not damaged but gone while it was read: merged, or set aside by a process that warns of it
            fate = f"left in place ({reason(error, path)})"
        self._warn(f"{path} {fault}: {fate}; what it held counts as absent and is computed again when asked for")


def _write_hdf5(path: Path, arrays: Mapping[str, Array], attributes: Mapping[str, Attribute]) -> None:
    """Write the arrays in the given order, each contiguous, below the root."""
    with path.open("xb+", buffering=0) as raw:
        sink = FileSink(raw)
        with h5py.File(sink, "w") as file:
            file.attrs.update(attributes)
            for key, array in arrays.items():
                if isinstance(array, Streamed):
                    dataset, start = file.create_dataset(key, (array.size,), array.dtype), 0
                    for piece in array.pieces:
                        dataset[start : start + piece.size] = piece
                        start += piece.size
                        sink.check()
                else:
                    file.create_dataset(key, data=array if isinstance(array, np.ndarray) else _encoded(array))
        sink.check()


def _encoded(table: Sequence[str]) -> NDArray[np.bytes_]:
    """Encode strings at a fixed length: strings of variable length read many times slower."""
    values = [value.encode() for value in table]
    width = max(map(len, values), default=1)
    return np.array(values, h5py.string_dtype("utf-8", max(width, 1)))


def _open_hdf5(path: Path) -> Shard | None:
    """Open a shard; None if it is no HDF5 file, or its attributes cannot be read."""
    try:
        file = h5py.File(path, "r", locking=False)
        try:
            return Shard(path, file)
        except _FORMAT:
            file.close()
            return None
    except OSError as error:
        if error_number(error) is None:  # the system did not fail, so the format is wrong
            return None
        raise


def _content_name(path: Path) -> str:
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}.h5"
