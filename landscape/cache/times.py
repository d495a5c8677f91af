"""Look at files without counting as a use of them, since what was not used for long is removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def same_times(path: Path) -> Iterator[None]:
    """Give a file, or all files of a folder, the times of their last read back at the end.

    Files that were written meanwhile keep their new times, and those of other users the time that the system notes.
    """
    times = {}
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        with suppress(OSError):
            status = file.stat()
            times[file] = status.st_atime_ns, status.st_mtime_ns
    try:
        yield
    finally:
        for file, both in times.items():
            with suppress(OSError):
                if file.stat().st_mtime_ns == both[1]:
                    os.utime(file, ns=both)
