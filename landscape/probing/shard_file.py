"""Write arrays to one HDF5 file, and read them back a piece at a time; only exports import h5py too.

The format is HDF5's default (``libver="latest"`` does not reopen after a kill). Its file locks are off: they mean
nothing for files that never change, and fail on some network file systems. Texts have a fixed length everywhere: one
flipped bit in the type of a text of variable length kills HDF5 2.0. A text too long for an attribute is a row of
bytes, and the attribute is their number; files of earlier versions have attributes of variable length.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.probing.atomic_files import storage_errors
from landscape.probing.file_sink import FileSink
from quant.errors import StoreError
from quant.files.system_errors import error_number

Attribute = str | int

_LONGEST = 2**15
"""Bytes of a text that is an attribute; HDF5 has room for twice that in all."""
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
        self._file, self._size = file, int(file.id.get_filesize())
        self._opened: dict[str, Any] = {}  # datasets that were read before: to look one up takes as long as to read it
        self.attributes: dict[str, Any] = {name: self._attribute(name) for name in file.attrs}

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
        values = [sys.intern(value) for value in self.strings(table)]
        return [values[place] for place in self.places(index, len(values))]

    def places(self, key: str, size: int) -> list[int]:
        """Read an array of places in a table of that size; a negative one, which Python counts from the end, is none.

        Raises:
            StoreError: It cannot be read, or has a place that is not in the table.
        """
        found = self.numbers(key)
        if found.dtype.kind not in "iu" or (found.size and not 0 <= found.min() <= found.max() < size):
            raise StoreError(f"expected places below {size} as {key} of {self.path}, found others; {_AWAY}")
        return [int(place) for place in found]

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
            except (KeyError, RuntimeError) as error:  # h5py's names for the system's errors too, where it looks up
                if (number := error_number(error)) is None:
                    raise
                raise OSError(number, os.strerror(number)) from error
        return values

    def _attribute(self, name: str) -> Any:
        """Read an attribute: a number, or a text."""
        stated = self._file.attrs.get_id(name)
        kind = stated.get_type().get_class()
        if (
            kind not in (h5py.h5t.INTEGER, h5py.h5t.STRING)
            or stated.shape != ()
            or stated.get_storage_size() > self._size
        ):
            raise ValueError(f"{name} is no single number or text")
        value = self._file.attrs[name]
        if isinstance(value, np.integer) and name in self._file:
            return self._dataset(name)[:].tobytes().decode()
        return value.decode() if isinstance(value, bytes) else value

    def _dataset(self, key: str) -> Any:
        """Open an array, if it is one as they are written here: numbers or strings in one row, all of them stored."""
        if self._file.id.links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:  # others lead to files of anyone
            raise ValueError(f"{key} is no array but a link")
        found = self._file[key]
        if not isinstance(found, h5py.Dataset) or found.ndim != 1 or found.dtype.kind not in "iufS":
            raise ValueError(f"{key} is no row of numbers or strings")
        if found.id.get_create_plist().get_layout() != h5py.h5d.CONTIGUOUS or found.external:
            raise ValueError(f"{key} is not stored in one piece")  # a packed one can be of any size
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


def write_shard(path: Path, arrays: Mapping[str, Array], attributes: Mapping[str, Attribute]) -> None:
    """Write the arrays in the given order, each contiguous, below the root."""
    with path.open("xb+", buffering=0) as raw:
        sink = FileSink(raw)
        with h5py.File(sink, "w") as file:
            for key, value in attributes.items():
                _write_attribute(file, key, value)
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


def _write_attribute(file: h5py.File, key: str, value: Attribute) -> None:
    """Write a number or a text; a text too long for an attribute becomes a row of bytes of the same name."""
    encoded = value.encode() if isinstance(value, str) else b""
    if isinstance(value, int):
        file.attrs[key] = value
    elif len(encoded) <= _LONGEST:
        file.attrs.create(key, encoded, dtype=h5py.string_dtype("utf-8", max(len(encoded), 1)))
    else:
        file.attrs[key] = len(encoded)
        file.create_dataset(key, data=np.frombuffer(encoded, np.uint8))


def _encoded(table: Sequence[str]) -> NDArray[np.bytes_]:
    """Encode strings at a fixed length: strings of variable length read many times slower."""
    values = [value.encode() for value in table]
    width = max(map(len, values), default=1)
    return np.array(values, h5py.string_dtype("utf-8", max(width, 1)))


def open_shard(path: Path) -> Shard | None:
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
