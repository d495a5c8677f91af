"""Name what is being written after its writer, and remove what writers that are gone left behind.

    .<name>.<writer>.partial    a file or folder, beside the name that it gets when it is whole
    <writer>.tmp                a file in a folder of the store; ``.<writer>.tmp`` where it is there for a moment
    landscape-<writer>          a folder in the system's temporary folder

``<writer>`` has 32 hex digits: eight each for the machine, the process and its start, four that count, and four that
check the others. A process of this machine is seen to live or not, so what it left goes when it is gone, and stays
while it lives, however long. Only the age is known where the machine (on a network file system) or the container is
another one, or the name an older one. In a user's own folder nothing goes whose digits do not check: other programs
name files after 32 hex digits too.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from quant.files.processes import runs, started

ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a write after which the writer counts as gone, where it is not seen from here."""
_NAME = re.compile(r"\..+\.[0-9a-f]{32}\.partial|\.?[0-9a-f]{32}\.tmp|landscape-[0-9a-f]{32}")
_WRITER = re.compile(r"[0-9a-f]{32}")
_SCRATCH = "landscape-"
_LONGEST = 255 - len(f"..{'0' * 32}.partial")  # bytes of a name that its temporary name has room for

_lent: set[Path] = set()
_count = itertools.count()


def temporary_name(path: Path) -> Path:
    """Return a new name beside ``path``, of which it has as much as fits; it is swept once this process is gone."""
    name = path.name.encode(errors="surrogateescape")[:_LONGEST].decode(errors="ignore")
    return path.with_name(f".{name}.{_writer()}.partial")


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """Lend a new name beside ``path``, and remove what still has it at the end; sweep the folder first.

    Args:
        path: The file or folder to be, in a folder of anyone, which exists.
    """
    sweep_checked(path.parent)
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
    """Remove the temporary files and folders that writers left in a folder of the cache and that are gone."""
    _remove_all(_abandoned(folder))


def sweep_checked(folder: Path) -> None:
    """Do as ``sweep`` in a folder that may be of anyone: only names whose digits check are looked at."""
    _remove_all(path for path in _abandoned(folder) if _is_checked(path.name))


def _remove_all(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            aside = temporary_name(path.with_name("abandoned"))
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
    if os.path.isdir(path) and not os.path.islink(path):  # ``Path.is_dir`` raises in a folder that is not ours
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
                    if _is_temporary(path := folder / name) and is_abandoned(path):
                        found.append(path)
    return found


def _is_temporary(path: Path) -> bool:
    """Return whether a path is of the kind that its name stands for: a ``.tmp`` is never a folder, and no link is."""
    return path.is_file() if path.suffix == ".tmp" and not path.is_symlink() else not path.is_symlink()


def _writer() -> str:
    pid = os.getpid()
    digits = f"{_machine()}{pid & 0xFFFFFFFF:08x}{started(pid):08x}{next(_count) & 0xFFFF:04x}"
    return digits + _check(digits)


def _check(digits: str) -> str:
    return hashlib.sha256(f"quant-landscape {digits}".encode()).hexdigest()[:4]


def _is_checked(name: str) -> bool:
    """Return whether the digits of a temporary name were made here, and not by another program."""
    writer = _WRITER.findall(name)[-1]
    return _check(writer[:-4]) == str(writer[-4:])


def _writer_lives(path: Path) -> bool | None:
    """Return whether the process that a name gives lives; None if it is of another machine, or hidden."""
    writer = _WRITER.findall(path.name)[-1:] if _NAME.fullmatch(path.name) else []
    if not writer or not writer[0].startswith(_machine()):
        return None
    return runs(int(writer[0][8:16], 16), int(writer[0][16:24], 16))


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
