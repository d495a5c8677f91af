"""Say which stores of a cache folder are in use, so that nothing is removed from under a process.

    <cache>/in-use/<host>-<pid>-<random>.json    one session: {"host", "pid", "started", "store": "<model>-<dtype>"}
    <cache>/in-use/removing                      held for a moment by a process that takes something away

A session marks the folder before it reads anything, and waits while ``removing`` is there. Who removes something makes
``removing`` first, then looks for marks, and takes away only what none of them uses. Each makes its own file before it
looks for the other's, so at least one of the two sees the other: neither relies on a lock of the file system. Locks
(``flock``) are no-ops or fail on some network file systems, while an exclusive create is atomic on all since NFSv3;
and a client that has just made a file in a folder asks the server what else is there. Times are those of the file
system's own clock, which all its machines share.

A mark whose process was killed counts for a while: on its own machine until the process is seen to be gone and
``SILENT`` passed (a container has process numbers of its own), elsewhere for ``FORGOTTEN``. Living sessions renew it.
A session that finds one sweeps the folder (``landscape.session.leftovers``).
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from landscape.session.leftovers import sweep_cache
from quant.errors import StoreError
from quant.files.cache import atomic_path
from quant.files.json_text import parse_object
from quant.files.odd_files import is_odd, odd_kind, set_aside
from quant.files.processes import runs, started
from quant.files.system_errors import reason
from quant.files.temporary_files import removed_at_end, unnamed_file
from quant.interruption import shielded

FOLDER, REMOVING = "in-use", "removing"
BEAT = 60.0
"""Seconds between two renewals of a mark."""
SILENT = 15 * 60.0
"""Seconds without a renewal after which a mark of this machine counts no more, if its process is gone."""
FORGOTTEN = 24 * 3600.0
"""The same for a mark of another machine, whose processes are not seen from here: it may have slept."""
_PATIENCE = 300.0  # seconds after which a claim was left by a killed process; it is held for milliseconds
_PAUSE = 0.05
_LARGEST = 2**16  # bytes of a mark, which has some hundred


@dataclass(frozen=True)
class Mark:
    """One session that uses a cache folder."""

    host: str
    pid: int
    started: int
    """Start of the process (``quant.files.processes``), which a later one with the same number does not share."""
    store: str | None = None
    """Name of the store; None while the model is loaded, when it may be any."""


class Marker:
    """The mark of this session in a cache folder; without a folder that can be written, it marks nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def uses(self, store: str) -> None:
        """Say which store the session uses, once it is known."""
        if self._path is not None:
            _write(self._path, store)


@contextmanager
def marked(root: Path, warn: Callable[[str], None]) -> Iterator[Marker]:
    """Mark a cache folder as in use by this process, until the block ends.

    Args:
        root: The cache folder; it is made.
        warn: Takes one line if it cannot be marked, as where it may only be read.
    """
    path = root / FOLDER / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}.json"
    with removed_at_end(path):
        try:
            _write(path, None)
        except StoreError as error:
            warn(f"the cache cannot be marked as in use, so `landscape cache gc` must not run meanwhile: {error}")
            yield Marker(None)
            return
        ended = threading.Event()
        beat = threading.Thread(target=_renew, args=(path, ended), name="in-use", daemon=True)
        beat.start()
        try:
            _wait(root)
            if _has_dead(root):
                sweep_cache(root)
                forget_dead(root)
            yield Marker(path)
        finally:
            ended.set()
            beat.join()


def marks(root: Path, now: float) -> list[Mark]:
    """List the sessions that may be using a cache folder.

    Args:
        root: The cache folder.
        now: The time by the clock of its file system.
    """
    found = []
    for path in (root / FOLDER).glob("*.json"):
        with suppress(FileNotFoundError):  # its session ended
            mark, age = _read(path), now - path.stat().st_mtime
            if _counts(mark, age):
                found.append(mark)
    return found


def forget_dead(root: Path) -> None:
    """Remove the marks of killed processes, once they count no more."""
    now = time.time()
    for path in (root / FOLDER).glob("*.json"):
        with suppress(OSError):
            if not _counts(_read(path), now - path.stat().st_mtime):
                path.unlink()


def _has_dead(root: Path) -> bool:
    """Return whether there is a mark of a process of this machine that has gone, or one that counts no more."""
    now = time.time()
    for path in (root / FOLDER).glob("*.json"):
        with suppress(OSError):
            mark, age = _read(path), now - path.stat().st_mtime
            if not _counts(mark, age) or _lives(mark) is False:
                return True
    return False


@contextmanager
def claimed(root: Path) -> Iterator[list[Mark]]:
    """Hold new sessions back, and yield those that are open already; be quick.

    An interruption ends the wait for a claim of another process at once, and waits for the end of the block.

    Raises:
        StoreError: if another process holds sessions back too, or the folder cannot be written.
    """
    path = root / FOLDER / REMOVING
    deadline = time.monotonic() + _PATIENCE
    while True:
        with shielded():  # a claim that was left would hold sessions back
            if _claim(path):
                with removed_at_end(path):
                    yield marks(root, path.stat().st_mtime)
                return
        if _make_way(path):
            continue
        _drop_if_left(path, path.parent)
        if time.monotonic() > deadline:
            raise StoreError(f"expected {path} to go, which another `landscape cache gc` holds; run it again later")
        time.sleep(_PAUSE)


def _claim(path: Path) -> bool:
    """Make the file of a claim; return False while another process has one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb"):
            return True
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreError(f"cannot write {path}: {reason(error, path)}; ask the owner of the cache") from error


def _wait(root: Path) -> None:
    """Wait while something is taken away."""
    path = root / FOLDER / REMOVING
    while path.exists():
        if _make_way(path):
            continue
        _drop_if_left(path, path.parent)
        time.sleep(_PAUSE)


def _make_way(path: Path) -> bool:
    """Set aside what has the name of a claim and is no file, as no process of this tool made it."""
    if not is_odd(path):
        return False
    try:
        set_aside(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        why = reason(error, path)
        raise StoreError(
            f"expected a file at {path}, which is {odd_kind(path)} and cannot be moved ({why}); remove it"
        ) from error
    return True


def _drop_if_left(path: Path, folder: Path) -> None:
    """Remove a claim that a killed process left.

    Raises:
        StoreError: if only another user may remove it.
    """
    try:
        if clock(folder) - path.stat().st_mtime > _PATIENCE:
            path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {reason(error, path)}; ask its owner to") from error


def clock(folder: Path) -> float:
    """Return the time of a file system, by a file that is made in a folder of it and removed.

    Raises:
        StoreError: if the folder cannot be written.
    """
    try:
        with unnamed_file(folder, hidden=True) as path:
            path.touch()
            return path.stat().st_mtime
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {reason(error, folder)}; ask the owner of the cache") from error


def _write(path: Path, store: str | None) -> None:
    mark = Mark(socket.gethostname(), os.getpid(), started(os.getpid()), store)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(mark)), encoding="utf-8")


def _read(path: Path) -> Mark:
    """Read a mark; one that cannot be read may be of any session, and of any store."""
    unknown = Mark("", 0, 0)
    try:
        if is_odd(path):
            return unknown
        with path.open("rb") as file:
            mark = Mark(**parse_object(file.read(_LARGEST), path, StoreError))
    except (StoreError, TypeError, PermissionError):
        return unknown
    whole = type(mark.host) is str and type(mark.pid) is int and 0 < mark.pid < 2**31
    named = mark.store is None or type(mark.store) is str
    timed = type(mark.started) is int and 0 <= mark.started < 2**32
    return mark if whole and named and timed else unknown


def _counts(mark: Mark, age: float) -> bool:
    alive = _lives(mark)
    return age < FORGOTTEN if alive is None else alive or age < SILENT


def _lives(mark: Mark) -> bool | None:
    """Return whether the process of a mark lives; None if that cannot be seen from here."""
    return runs(mark.pid, mark.started) if mark.host == socket.gethostname() else None


def _renew(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):  # a mark of this machine counts as long as its process lives
            path.touch()
