"""Act as another user of this machine, which root alone can do; and folders that other users can reach."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can act as two users")
ALICE, BOB, TEAM = 12345, 65534, 777
"""Numbers of two users, the first without a name, and of a group of both."""


@contextmanager
def user(number: int, *groups: int, umask: int = 0o022) -> Iterator[None]:
    """Read and write as a user who is not root, in this process.

    What Python has not imported yet may lie in a folder of root, so run the same code as root before.
    """
    before, own = os.getgroups(), (os.getegid(), os.umask(umask))
    os.setgroups(groups)
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own[0])
        os.setgroups(before)
        os.umask(own[1])


@contextmanager
def not_root() -> Iterator[None]:
    """Read and write as a user to whom modes apply."""
    if ROOT:
        with user(BOB):
            yield
    else:
        yield


def give(path: Path, owner: int, group: int = -1) -> None:
    """Give a folder and all in it to a user."""
    for part in (path, *path.rglob("*")):
        os.chown(part, owner, group)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can enter and read, unlike ``tmp_path``."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for part in (folder, *folder.rglob("*")):
        if part.is_dir() and not part.is_symlink():
            part.chmod(0o700)
    shutil.rmtree(folder)
