"""A process is seen to run, to be gone, or not seen at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from quant.files import processes
from quant.files.processes import runs, started
from quant.files.temporary_files import is_abandoned, is_of_dead_writer
from tests.killed import fork, leave_behind

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
on_linux = pytest.mark.skipif(not processes._ON_LINUX, reason="Linux counts ticks")


@pytest.fixture
def child() -> Iterator[tuple[int, int]]:
    """The id and the start of another process, which lives."""
    reader, writer = os.pipe()
    pid = fork()
    if not pid:
        os.write(writer, str(started(os.getpid())).encode())
        while True:
            signal.pause()
    yield pid, int(os.read(reader, 99))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)


def test_a_process_runs_until_it_ends(child: tuple[int, int]) -> None:
    pid, start = child
    assert runs(os.getpid(), started(os.getpid())) is True
    assert runs(pid, start) is True
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert runs(pid, start) is False  # a zombie now
    os.waitpid(pid, 0)
    assert runs(pid, start) is False


def test_an_id_that_was_used_again_is_another_process(child: tuple[int, int]) -> None:
    pid, start = child
    assert runs(pid, start - 6000) is False
    assert runs(os.getpid(), started(os.getpid()) - 6000) is False


@pytest.mark.parametrize("pid", [2**31 - 1, 2**32 - 1, 2**70])
def test_an_id_that_no_process_can_have_is_gone(pid: int) -> None:
    assert runs(pid, 0) is False


@on_linux
def test_the_start_is_that_of_the_kernel(child: tuple[int, int]) -> None:
    pid, start = child
    ticks = psutil.Process(pid).create_time() - psutil.boot_time()
    assert start == pytest.approx(ticks * os.sysconf("SC_CLK_TCK"), abs=2 * os.sysconf("SC_CLK_TCK"))


@on_linux
def test_of_a_process_that_is_hidden_nothing_is_said(
    child: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``hidepid=2``, as on shared clusters, /proc has a user's processes alone; the system knows the id still."""
    read = Path.read_bytes

    def hidden(path: Path) -> bytes:
        if path == Path(f"/proc/{child[0]}/stat"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", hidden)
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: False)
    assert runs(*child) is None
    left = leave_behind(lambda: tmp_path / "x")
    digits = f"{child[0]:08x}{child[1]:08x}{'0' * 8}"
    from quant.files import temporary_files

    theirs = left.rename(tmp_path / f".x.{temporary_files._machine()}{digits}.partial")
    assert not is_of_dead_writer(theirs)
    assert not is_abandoned(theirs)


@on_linux
def test_a_process_of_another_user_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    assert runs(1, started.__wrapped__(1)) is True
