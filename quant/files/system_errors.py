"""Put the errors of the operating system into words; where permission is missing, say whose file or folder it is."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from quant.errors import first_line

_DENIED = {errno.EACCES, errno.EPERM}


def reason(error: BaseException, path: Path) -> str:
    """Describe an error of the system in one line, without the path that the caller names.

    Args:
        error: An ``OSError``, or what a library made of one.
        path: The file or folder that was to be read, written, renamed or removed; it need not exist.

    Returns:
        The system's words; if they are that permission is missing, also who owns what forbids it, with its mode.

    Example:
        >>> reason(FileNotFoundError(2, "No such file or directory"), Path("none"))
        'No such file or directory'
    """
    number = error_number(error)
    if number is None:
        return first_line(error)
    words = os.strerror(number) if number in errno.errorcode else first_line(error)
    real = Path(os.path.realpath(path))
    detail = _mount(real) if number == errno.EROFS else _owner(real) if number in _DENIED else None
    return words if detail is None else f"{words}: {detail}"


def error_number(error: BaseException) -> int | None:
    """Return the system's error number, which h5py may give only in the text."""
    number = getattr(error, "errno", None)
    found = re.search(r"errno = (\d+)", str(error))
    return number if number is not None else int(found[1]) if found else None


def is_forbidden(error: BaseException) -> bool:
    """Return whether an error says that this user may not do it, or nobody, as on a file system mounted read-only."""
    return error_number(error) in {*_DENIED, errno.EROFS}


def is_of_another(status: os.stat_result) -> bool:
    """Return whether a file is of another user, whose rights this process lacks; root has those of all."""
    return hasattr(os, "geteuid") and os.geteuid() not in (0, status.st_uid)  # else a system without users


def owner_name(status: os.stat_result) -> str:
    """Return the name of the owner of a file; the number where no user has it, or the system knows no users."""
    with suppress(ImportError, KeyError):
        import pwd  # not on Windows

        return pwd.getpwuid(status.st_uid).pw_name
    return str(status.st_uid)


def _owner(path: Path) -> str | None:
    """Say who owns what forbids to read or change a path; None if that cannot be seen."""
    seen = dict(_seen(path))
    for folder in path.parents[::-1]:
        if folder in seen and not _may(folder, os.X_OK):
            return _belongs(str(folder), seen[folder])
    status, above = seen.get(path), next((place for place in path.parents if place in seen), None)
    if status is None:
        return None if above is None else _belongs(str(above), seen[above])
    needed = os.R_OK | (os.W_OK | os.X_OK if stat.S_ISDIR(status.st_mode) else 0)
    if above is not None and _may(path, needed):
        if not _may(above, os.W_OK):  # to make, rename or remove a file is to change its folder
            return _belongs(str(above), seen[above])
        if seen[above].st_mode & stat.S_ISVTX and status.st_uid != os.geteuid():
            return f"{_belongs('it', status)}, in a folder where only owners rename and remove"
    return _belongs("it", status)


def _seen(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what exists and can be seen on the way down to a path, and the path."""
    for place in (*path.parents[::-1], path):
        try:
            yield place, place.stat()
        except OSError:
            return


def _may(path: Path, wanted: int) -> bool:
    """Return whether the process may do something, by the identity that the system checks where there are two."""
    return os.access(path, wanted, effective_ids=os.access in os.supports_effective_ids)


def _belongs(name: str, status: os.stat_result) -> str:
    return f"{name} belongs to {owner_name(status)}, mode {stat.S_IMODE(status.st_mode):04o}"


def _mount(path: Path) -> str:
    """Name the file system that a path is on, or will be made on."""
    place = next((place for place in (path, *path.parents) if os.path.ismount(place)), path)
    return f"{place} is mounted so"
