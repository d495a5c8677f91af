"""Write files whole or not at all, whenever the writer is killed, and report the system's errors in one line."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quant.errors import StoreError
from quant.temporary_files import is_abandoned, unnamed_file

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}
"""Errors of ``link`` on FAT, exFAT, some network and some user-space file systems."""
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


def _create(path: Path, content: bytes) -> None:
    """Make a file unless it exists, on a file system without hard links: readers may see it empty for a moment."""
    with suppress(FileExistsError), path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder of the store, which is this tool's alone."""
    with storage_errors("sweep", folder):
        for path in folder.glob("*.tmp"):
            with unless_gone():
                if path.is_file() and is_abandoned(path):
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
        advice = "free space, check permissions or use another --store"
        raise StoreError(f"cannot {doing} {path}: {reason(error)}; {advice}") from error


@contextmanager
def unless_gone() -> Iterator[None]:
    """End the block in silence where a file that it reads or removes has gone; other errors pass."""
    try:
        yield
    except OSError as error:
        if not is_gone(error):
            raise


def is_gone(error: BaseException | None) -> bool:
    """Return whether an error, or the system's error that it was made of, says that a file has gone."""
    return error is not None and (error_number(error) in _GONE or is_gone(error.__cause__))


def error_number(error: BaseException) -> int | None:
    """Return the system's error number, which h5py may give only in the text."""
    number = getattr(error, "errno", None)
    found = re.search(r"errno = (\d+)", str(error))
    return number if number is not None else int(found[1]) if found else None


def reason(error: BaseException) -> str:
    """Describe an error of the system in one line."""
    number = error_number(error)
    return os.strerror(number) if number is not None else str(error).splitlines()[0]
