"""Find what is no file where a file should be, and set it aside under a name that says so.

Anything may lie in a cache folder that others can write: a pipe, whose reader waits for ever, a device, a folder, a
link to nothing. None of it is removed: it is renamed, so that nothing reads it any more and its owner can look at it.
"""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path


def is_odd(path: Path) -> bool:
    """Return whether there is something of this name that is no file, nor a link to one."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # nothing there, nothing that may be seen, or a link to nothing, or to itself
        return os.path.islink(path)


def odd_kind(path: Path) -> str:
    """Return what lies under a name, in words: ``a folder``, ``a pipe``, and so on."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link to nothing" if os.path.islink(path) else "nothing"
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def set_aside(path: Path) -> Path:
    """Rename a file, or whatever lies under its name, to ``….damaged``, and return its new path.

    Raises:
        OSError: if it cannot be renamed.
    """
    aside = path.with_name(f"{path.name}.damaged")
    if os.path.lexists(aside):  # what was set aside before stays too
        aside = path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}")
    os.replace(path, aside)
    return aside
