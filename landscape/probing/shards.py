"""Immutable HDF5 files, each named by the hash of its bytes: the only file of the project that knows HDF5.

    <folder>/<sha256 of its bytes>.h5           committed: complete, never changed again
    <folder>/<sha256 of its bytes>.h5.damaged   set aside: its bytes were no longer those of its name
    <folder>/<random>.tmp                       being written, or left behind by a writer that was killed

A file is written under a temporary name, closed, synced and hashed, and then moved to its own name. A file that exists
is therefore whole, whenever its writer was killed, and any number of processes may write and read without a lock. Files
go only when what they hold is in another one that is already committed, so readers take the union of what they find.

HDF5's default format is used (``libver="latest"`` does not reopen after a kill), and its own file locks are not: they
mean nothing for files that never change, and fail on some network file systems.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from quant.errors import StoreError

T = TypeVar("T")
Attribute = str | int

_NAME = re.compile(r"[0-9a-f]{64}\.h5")
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}
"""What ``link`` fails with on FAT, exFAT, some network and some user-space file systems."""
_ABANDONED_AFTER = 24 * 3600  # seconds: a younger temporary file may belong to a writer that is alive


@dataclass(frozen=True)
class Streamed:
    """A long array that is written piece by piece and never held whole."""

    dtype: str
    """numpy's name of the type on disk, ``<f4``."""
    size: int
    """Number of elements."""
    pieces: Iterable[NDArray[Any]]
    """Consecutive parts, each flat, ``size`` elements together."""


Array = NDArray[Any] | Sequence[str] | Streamed
"""What a shard can hold under one key: numbers, a table of strings without NUL, or a long array in pieces."""


class Shard:
    """An open shard. It can be read on after its file was removed, and is closed by ``with`` or with its last user."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.attributes: dict[str, Any] = dict(file.attrs)
        self._file = file

    def __contains__(self, key: str) -> bool:
        return key in self._file

    def strings(self, key: str) -> list[str]:
        """A whole table of strings."""
        return [value.decode() for value in self.numbers(key).tolist()]

    def numbers(self, key: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Elements ``start`` to ``stop`` of an array; only they are read."""
        with storage_errors("read", self.path):
            values: NDArray[Any] = self._file[key][start:stop]
        return values

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


class ShardFolder:
    """The shards of one folder, which is made by the first write."""

    def __init__(self, path: Path, identity: Mapping[str, Attribute], warn: Callable[[str], None]) -> None:
        """Nothing is made on disk before the first write.

        Args:
            path: The folder.
            identity: Attributes that each of its shards carries and must have to be read.
            warn: Takes one line about a shard that was set aside.
        """
        self.path = path
        self._identity = identity
        self._warn = warn

    def names(self) -> set[str]:
        """The shards there are now; none if there is no folder."""
        with storage_errors("list", self.path), suppress(FileNotFoundError):
            return {name for name in os.listdir(self.path) if _NAME.fullmatch(name)}
        return set()

    def add(self, arrays: Mapping[str, Array], attributes: Mapping[str, Attribute]) -> str:
        """Commit one shard and return its name; the same content twice is one file.

        Raises:
            StoreError: if it cannot be written; nothing is left of it then.
        """
        with storage_errors("write to", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with _temporary(self.path) as path:
                _write_hdf5(path, arrays, {**self._identity, **attributes})
                _sync(path)
                name = _content_name(path)
                os.replace(path, self.path / name)
            _sync(self.path)
        return name

    def open(self, name: str) -> Shard | None:
        """A shard whose bytes are those of its name; None if it is gone, or damaged and set aside.

        Raises:
            StoreError: if it cannot be read at all, or has another identity.
        """
        path = self.path / name
        with storage_errors("read", path):
            try:
                shard = _open_hdf5(path) if _content_name(path) == name else None
            except FileNotFoundError:
                return None
        if shard is None:
            self._set_aside(path)
            return None
        for key, expected in self._identity.items():
            found = shard.attributes.get(key)
            if found != expected:
                raise StoreError(f"expected {key} {expected}, found {found} in {path}; update or use another --store")
        return shard

    def read_all(self, read: Callable[[Shard], T]) -> dict[str, T]:
        """What ``read`` gets from each shard, by name.

        The folder is listed again until nothing in it is new: a shard that vanished was merged into one that an
        earlier listing may have missed.
        """
        seen: dict[str, T | None] = {}
        while unseen := sorted(self.names() - seen.keys()):
            for name in unseen:
                shard = self.open(name)
                if shard is None:
                    seen[name] = None
                    continue
                with shard:
                    seen[name] = read(shard)
        return {name: value for name, value in seen.items() if value is not None}

    def remove(self, names: Iterable[str]) -> None:
        """Remove shards whose content is in others."""
        for name in names:
            with storage_errors("remove", self.path / name):
                (self.path / name).unlink(missing_ok=True)

    def _set_aside(self, path: Path) -> None:
        aside = path.with_name(f"{path.name}.damaged")
        try:
            os.replace(path, aside)
            fate = f"moved to {aside.name}"
        except FileNotFoundError:
            return  # not damaged but gone while it was read: merged into another one, or set aside by who says so
        except OSError as error:
            fate = f"left in place ({_reason(error)})"
        self._warn(f"{path} is damaged: {fate}; what it held counts as absent and is computed again when asked for")


def write_once(path: Path, content: bytes) -> None:
    """Make a file with its whole content, unless it exists: of several writers at once one wins and the rest yield.

    Raises:
        StoreError: if it cannot be written.
    """
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path.parent) as temporary:
            temporary.write_bytes(content)
            _sync(temporary)
            try:
                with suppress(FileExistsError):
                    os.link(temporary, path)  # a rename would replace what the winner wrote
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                _create(path, content)
        _sync(path.parent)


def _create(path: Path, content: bytes) -> None:
    """Make a file unless it exists, on a file system without hard links: readers may see it empty for a moment."""
    with suppress(FileExistsError), path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in a folder."""
    with storage_errors("sweep", folder):
        for path in folder.glob("*.tmp"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    path.unlink()


@contextmanager
def storage_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn an operating system's error into one line.

    Raises:
        StoreError: with the path, the reason and what to do.
    """
    try:
        yield
    except OSError as error:
        advice = "free space, check permissions or use another --store"
        raise StoreError(f"cannot {doing} {path}: {_reason(error)}; {advice}") from error


class _Sink:
    """The file that HDF5 writes through: it keeps an error to itself until HDF5 has closed.

    HDF5 that cannot write what it must to close a file (a full disk) leaves it half open, and crashes later.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._error: BaseException | None = None
        self.read, self.readinto, self.seek, self.tell = file.read, file.readinto, file.seek, file.tell
        self.flush = file.flush

    def write(self, data: memoryview) -> int:
        """Write all of it, or nothing from the first error on."""
        self._keep(lambda: self._write_all(data))
        return len(data)

    def truncate(self, size: int) -> int:
        """Set the length of the file."""
        self._keep(lambda: self._file.truncate(size))
        return size

    def check(self) -> None:
        """Raise the error that was kept."""
        if self._error is not None:
            raise self._error

    def _write_all(self, data: memoryview) -> None:
        while data:  # the system may take less at once, and 2 GB at most
            data = data[self._file.write(data) :]

    def _keep(self, step: Callable[[], object]) -> None:
        if self._error is None:
            try:
                step()
            except BaseException as error:  # an interrupt too: HDF5 must close in any case; check() raises it
                self._error = error


def _write_hdf5(path: Path, arrays: Mapping[str, Array], attributes: Mapping[str, Attribute]) -> None:
    """The arrays in the order given, each contiguous, below the root."""
    with path.open("xb+", buffering=0) as raw:
        sink = _Sink(raw)
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
    """Strings at a fixed length: those of variable length read many times slower."""
    values = [value.encode() for value in table]
    width = max(map(len, values), default=1)
    return np.array(values, h5py.string_dtype("utf-8", max(width, 1)))


def _open_hdf5(path: Path) -> Shard | None:
    """The shard; None if it is no HDF5 file."""
    try:
        return Shard(path, h5py.File(path, "r", locking=False))
    except OSError as error:
        if _errno(error) is None:  # given where the system failed, and not where the format is wrong
            return None
        raise


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A new name in the folder; what is still under it at the end is removed."""
    path = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _content_name(path: Path) -> str:
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}.h5"


def _sync(path: Path) -> None:
    """Make a file's content, or a folder's names, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _errno(error: BaseException) -> int | None:
    """The system's error number, which h5py may give only in the text."""
    number = getattr(error, "errno", None)
    found = re.search(r"errno = (\d+)", str(error))
    return number if number is not None else int(found[1]) if found else None


def _reason(error: BaseException) -> str:
    number = _errno(error)
    return os.strerror(number) if number is not None else str(error).splitlines()[0]
