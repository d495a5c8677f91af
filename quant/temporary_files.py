"""Name what is being written after its writer, and remove what writers that are gone left behind.

    .<name>.<writer>.partial    a file or folder, beside the name that it gets when it is whole
    <writer>.tmp                a file in a folder of the store; ``.<writer>.tmp`` where it is there for a moment
    landscape-<writer>          a folder in the system's temporary folder

``<writer>`` has 32 hex digits: eight each for the machine, the process, its start, and by chance. A process of this
machine is seen to live or not, so what it left goes when it is gone, and stays while it lives, however long. Only the
age is known where the machine (on a network file system) or the container is another one, or the name an older one.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a write after which the writer counts as gone, where it is not seen from here."""
_NAME = re.compile(r"\..+\.[0-9a-f]{32}\.partial|\.?[0-9a-f]{32}\.tmp|landscape-[0-9a-f]{32}")
_WRITER = re.compile(r"[0-9a-f]{32}")
_SCRATCH = "landscape-"
_CLOCK_SET = 60  # seconds by which the start of a process may seem to change when the clock is set

_lent: set[Path] = set()


def temporary_name(path: Path) -> Path:
    """Return a new name beside ``path``; what is left under it is swept once this process is gone."""
    return path.with_name(f".{path.name}.{_writer()}.partial")


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """Lend a new name beside ``path``, and remove what still has it at the end; sweep the folder first.

    Args:
        path: The file or folder to be; the folder above it exists.
    """
    sweep(path.parent)
    with removed_at_end(temporary_name(path)) as name:
        yield name


@contextmanager
def unnamed_file(folder: Path, hidden: bool = False) -> Iterator[Path]:
    """Lend a new name in a folder, and remove the file that still has it at the end.

    Args:
        folder: The folder.
        hidden: Begin the name with a dot.
    """
    with removed_at_end(folder / f"{'.' if hidden else ''}{_writer()}.tmp") as name:
        yield name


@contextmanager
def removed_at_end(path: Path) -> Iterator[Path]:
    """Remove a file or folder at the end of the block, or of the process if that must end at once."""
    _lent.add(path)
    try:
        yield path
    finally:
        remove(path)
        _lent.discard(path)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder in the system's temporary folder, and remove it at the end; sweep those of others first."""
    for path in abandoned_scratch():
        remove(path)
    with removed_at_end(Path(tempfile.gettempdir(), f"{_SCRATCH}{_writer()}")) as folder:
        folder.mkdir(mode=0o700)
        yield folder


def abandoned_scratch() -> list[Path]:
    """List the folders that processes left in the system's temporary folder and that are gone."""
    return _abandoned(Path(tempfile.gettempdir()), _SCRATCH)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders that writers left in a folder and that are gone."""
    for path in _abandoned(folder):
        with suppress(OSError):
            aside = temporary_name(folder / "abandoned")
            os.replace(path, aside)  # if its writer lives after all, it fails at once and as a whole
            remove(aside)


def is_abandoned(path: Path) -> bool:
    """Return True if the writer of a temporary file or folder is gone, as far as can be seen from here.

    Raises:
        OSError: if it cannot be looked at, as where it has gone.
    """
    lives = _writer_lives(path)
    if lives is not None:
        return not lives
    written = path.lstat().st_mtime if path.suffix == ".tmp" else _last_write(path)
    return time.time() - written > ABANDONED_AFTER


def is_of_dead_writer(path: Path) -> bool:
    """Return True if a temporary file or folder was written by a process of this machine that is seen to be gone."""
    return _writer_lives(path) is False


def remove(path: Path) -> None:
    """Remove a file or a folder; leave what has gone already, or cannot be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def remove_own() -> None:
    """Remove all that this process is writing, as it is about to end."""
    for path in list(_lent):
        remove(path)


def _last_write(path: Path) -> float:
    """Return the time at which a file, or any part of a folder, was last written or moved."""
    parts = [path.lstat(), *(part.lstat() for part in path.rglob("*"))]
    return max(max(part.st_mtime, part.st_ctime) for part in parts)


def _abandoned(folder: Path, beginning: str = "") -> list[Path]:
    found = []
    with suppress(OSError):  # a folder may let its users write and not list
        for name in os.listdir(folder):
            if name.startswith(beginning or (".", *"0123456789abcdef")) and _NAME.fullmatch(name):
                with suppress(OSError):  # it may have gone meanwhile
                    if not (path := folder / name).is_symlink() and is_abandoned(path):
                        found.append(path)
    return found


def _writer() -> str:
    pid = os.getpid()
    return f"{_machine()}{pid & 0xFFFFFFFF:08x}{_start(pid):08x}{secrets.token_hex(4)}"


def _writer_lives(path: Path) -> bool | None:
    """Return whether the process that a name gives lives; None if it is not of this machine."""
    writer = _WRITER.findall(path.name)[-1:] if _NAME.fullmatch(path.name) else []
    if not writer or not writer[0].startswith(_machine()):
        return None
    pid, start = int(writer[0][8:16], 16), int(writer[0][16:24], 16)
    if pid == os.getpid():
        return abs(_start(pid) - start) < _CLOCK_SET
    import psutil

    if not psutil.pid_exists(pid):
        return False
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(int(process.create_time()) - start) < _CLOCK_SET
    except psutil.Error:  # of another user, or hidden
        return True


@cache
def _start(pid: int) -> int:
    """Return the second in which this process began, which a later one with the same number does not share."""
    import psutil

    return int(psutil.Process(pid).create_time()) & 0xFFFFFFFF


@cache
def _machine() -> str:
    """Return eight hex digits for what shares the numbers of processes: a machine since its start, or a container."""
    parts = [socket.gethostname()]
    if sys.platform == "linux":
        try:
            parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
        except OSError:  # then no other process is known to be of this machine
            parts.append(uuid.uuid4().hex)
    else:
        parts.append(str(uuid.getnode()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
