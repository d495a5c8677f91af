"""Find out if the process that wrote something still runs, by its number and the moment at which it began."""

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from pathlib import Path

_ON_LINUX = sys.platform == "linux"
_CLOCK_SET = 60  # seconds by which the start of a process may seem to change when the clock is set


@cache
def started(pid: int) -> int:
    """Return a number for the moment at which this process began, which no later process of its id shares."""
    return _look(pid)[1]


def runs(pid: int, start: int) -> bool | None:
    """Return whether a process of this machine runs; None if that is hidden from this user.

    Args:
        pid: Its id.
        start: The moment at which it began: its own ``started``.
    """
    if pid == os.getpid():
        return started(pid) == start
    if not _exists(pid):
        return False
    import psutil

    try:
        alive, began = _look(pid)
    except (OSError, psutil.Error):  # of another user, where /proc hides those, or just gone
        return None
    return alive and abs(began - start) <= (0 if _ON_LINUX else _CLOCK_SET)


def _exists(pid: int) -> bool:
    """Return whether a process has this id. The system says so even of one that it hides otherwise."""
    if os.name == "nt":
        import psutil

        return bool(psutil.pid_exists(pid))
    try:
        os.kill(pid, 0)
    except OverflowError:
        return False
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _look(pid: int) -> tuple[bool, int]:
    """Return whether a process still runs, and when it began: on Linux in ticks, which no setting of a clock moves."""
    if _ON_LINUX:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0] not in (b"Z", b"X"), int(fields[19]) & 0xFFFFFFFF
    import psutil

    process = psutil.Process(pid)
    return process.status() != psutil.STATUS_ZOMBIE, int(process.create_time()) & 0xFFFFFFFF
