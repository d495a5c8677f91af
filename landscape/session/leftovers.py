"""Sweep a cache folder after a process was killed in it.

A folder is swept when something is written to it (``quant.files.temporary_files``), and nothing may ever be written
to some folder again. So a session looks through all of them once it sees the mark of a process that was killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from quant.files.cache import STORE_NAME
from quant.files.temporary_files import abandoned_scratch, remove, sweep, sweep_checked

_SHARED = {"tokens": 0, "studies": 0, "in-use": 0, "models": 0, "self": 2}
"""Folders that models share, and how deep the folders in them go that are written to file by file."""
_DEPTH = 2  # of a store: its points


def sweep_cache(root: Path) -> None:
    """Remove what writers that are gone left in a cache folder, and in the system's temporary folder.

    Args:
        root: The cache folder; folders in it that are not of this tool are not looked into.
    """
    sweep_checked(root)  # which may be any folder of the user
    for folder in _folders(root):
        sweep(folder)
    for path in abandoned_scratch():
        remove(path)


def _folders(root: Path) -> Iterator[Path]:
    for child in _inner(root):
        if STORE_NAME.fullmatch(child.name):
            yield from _within(child, _DEPTH)
        elif child.name in _SHARED:
            yield from _within(child, _SHARED[child.name])


def _within(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        for child in _inner(folder):
            yield from _within(child, depth - 1)


def _inner(folder: Path) -> list[Path]:
    """Return the folders in a folder; a link is none."""
    with suppress(OSError):
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    return []
