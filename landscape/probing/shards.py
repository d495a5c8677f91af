"""Keep arrays in immutable HDF5 files, each named by the hash of its bytes.

    <folder>/<sha256 of its bytes>.h5           committed: complete, never changed again
    <folder>/<sha256 of its bytes>.h5.damaged   set aside: its bytes were no longer those of its name, or it is no file
    <folder>/<writer>.tmp                       being written, or left behind by a writer that was killed

A file is written under a temporary name, closed, synced and hashed, and then moved to its own name. A file that exists
is therefore whole, whenever its writer was killed, and any number of processes may write and read without a lock. A
file goes only when its content is in another file that is already committed, so readers take the union of all files.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from landscape.probing.atomic_files import check_writable, is_gone, storage_errors, sync, unless_forbidden, unless_gone
from landscape.probing.shard_file import Array, Attribute, Shard, format_errors, open_shard, write_shard
from quant.errors import StoreError
from quant.files.odd_files import is_odd, odd_kind, set_aside
from quant.files.system_errors import is_forbidden, reason
from quant.files.temporary_files import unnamed_file

T = TypeVar("T")

_NAME = re.compile(r"[0-9a-f]{64}\.h5")


def open_intact(path: Path) -> Shard | None:
    """Open a shard whose bytes match its name, and change nothing; None if it is gone, damaged or no HDF5 file.

    Raises:
        StoreError: The file cannot be read.
    """
    if not is_intact(path):  # HDF5 itself may die of a damaged file
        return None
    with storage_errors("read", path):
        try:
            return open_shard(path)
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
                write_shard(path, arrays, {**self._identity, **attributes})
                sync(path)
                name = _content_name(path)
                if is_odd(self.path / name):
                    self._set_aside(self.path / name)
                self._put(path, name)
            sync(self.path)
        return name

    def _put(self, path: Path, name: str) -> None:
        """Give a finished shard its name, unless another user's file with the same content has it for good."""
        try:
            os.replace(path, self.path / name)
        except OSError as error:
            if not (is_forbidden(error) and is_intact(self.path / name)):
                raise

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
                shard = open_shard(path) if _content_name(path) == name else None
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


def _content_name(path: Path) -> str:
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}.h5"
