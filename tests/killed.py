"""Processes forked from this one, which has all libraries loaded, and what killed ones leave."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path


def fork() -> int:
    """Fork, and return 0 in the new process; it must not use what the threads of this one may hold, such as torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there may be such threads
        return os.fork()


def leave_behind(name: Callable[[], Path], as_folder: bool = False) -> Path:
    """Return the unfinished file or folder of a process that was killed, which asked for its name."""
    reader, writer = os.pipe()
    pid = fork()
    if not pid:
        path = name()
        os.write(writer, str(path).encode())
        path.parent.mkdir(parents=True, exist_ok=True)
        if as_folder:
            path.mkdir()
        else:
            path.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    path = Path(os.read(reader, 4096).decode())
    os.close(reader)
    os.close(writer)
    return path
