"""Write files whole or not at all, whenever the writer is killed, and report the system's errors in one line."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quant.errors import StoreError
from quant.files.cache import ENVIRONMENT_VARIABLE
from quant.files.system_errors import error_number, is_forbidden, reason
from quant.files.temporary_files import is_abandoned, unnamed_file

UNNAMED = re.compile(r"\.?[0-9a-f]{32}\.tmp")
"""Name of a file that has no name of its own yet, or is there for a moment, in any folder of the cache."""
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}
"""Errors of ``link`` on FAT, exFAT, some network and some user-space file systems."""
_ASK = f"ask its owner for access, or use another folder: --store, or {ENVIRONMENT_VARIABLE}"
_GONE = {errno.ENOENT, errno.ESTALE}
"""Errors of a file that was removed; the second is NFS's where another machine removed it while it was open here."""


def write_once(path: Path, content: bytes) -> None:
    """Make a file with its whole content, unless it exists: of several writers at once one wins and the rest yield.

    Raises:
        StoreError: The file cannot be written.
    """
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with unnamed_file(path.parent) as unnamed:
            unnamed.write_bytes(content)
            sync(unnamed)
            try:
                with suppress(FileExistsError):
                    os.link(unnamed, path)  # a rename would replace what the winner wrote
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                _create(path, content)
        sync(path.parent)


def check_writable(folder: Path) -> None:
    """Check that a file can be made in a folder of the store, before the work that fills it; the folder is made.

    Raises:
        StoreError: It cannot.
    """
    with storage_errors("write to", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with unnamed_file(folder) as path:
            path.touch()


def _create(path: Path, content: bytes) -> None:
    """Make a file unless it exists, on a file system without hard links: readers may see it empty for a moment."""
    with suppress(FileExistsError), path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed writers in a folder of the store, but those that only others may remove."""
    with storage_errors("sweep", folder):
        for path in folder.glob("*.tmp"):
            with unless_gone(), unless_forbidden():
                if UNNAMED.fullmatch(path.name) and path.is_file() and is_abandoned(path):
                    path.unlink()


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one line.

    Raises:
        StoreError: The path, the reason and the advice.
    """
    try:
        yield
    except OSError as error:
        advice = _ASK if is_forbidden(error) else "free space, check permissions or use another --store"
        raise StoreError(f"cannot {doing} {path}: {reason(error, path)}; {advice}") from error


@contextmanager
def unless_gone() -> Iterator[None]:
    """End the block in silence where a file that it reads or removes has gone; other errors pass."""
    try:
        yield
    except OSError as error:
        if not is_gone(error):
            raise


@contextmanager
def unless_forbidden() -> Iterator[None]:
    """End the block in silence where this user may not do what it does, and it need not be done; other errors pass."""
    try:
        yield
    except OSError as error:
        if not is_forbidden(error):
            raise


def is_gone(error: BaseException | None) -> bool:
    """Return whether an error, or the system's error that it was made of, says that a file has gone."""
    return error is not None and (error_number(error) in _GONE or is_gone(error.__cause__))
