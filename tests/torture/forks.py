"""Run the command line in forks of this process, each with limits of memory and time.

To import torch and transformers takes five seconds or more, a fork a hundredth. A fork of a process with threads is
unsafe, so the parent starts none: ``load`` sets torch to one.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

MEMORY = 3 * 2**30
"""Bytes of memory that a command may hold."""
SECONDS = 120.0
"""Seconds that a command may take."""
_PAUSE = 0.01  # seconds between two looks at a fork
_ENDING = 10.0  # seconds in which a thread that was told to end does so on a busy machine


@dataclass(frozen=True)
class Outcome:
    """What became of one command."""

    code: int | None
    """Exit code, negative for a signal; None if it was ended because it went beyond a limit."""
    out: str
    err: str
    seconds: float
    peak: int
    """Largest memory held, in bytes."""

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return self.out + self.err


@dataclass(frozen=True)
class Settings:
    """How a command is run."""

    folder: Path
    """Working folder, which also takes what is printed."""
    cache: Path
    """Its cache folder."""
    variables: Mapping[str, str] | None = None
    """More of the environment."""
    threads: int = 1
    """Threads of torch."""
    memory: int = MEMORY
    limit: float = SECONDS
    file_size: int | None = None
    """Largest file that may be written, in bytes."""
    name: str = "command"
    """Beginning of the names of the files with what is printed."""


def load() -> None:
    """Import torch and the command line, and keep this process free of threads."""
    waiting = {"OMP_WAIT_POLICY": "PASSIVE"}  # two threads that spin on one free core take minutes
    os.environ.update(waiting, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    torch = import_module("torch")
    torch.set_num_threads(1)
    import_module("landscape.cli")


def warm_up(words: Sequence[str], cache: Path) -> None:
    """Run a command in this process, so that its forks find modules imported and templates compiled.

    Raises:
        RuntimeError: if it fails, or leaves a thread, with which no fork is safe.
    """
    held, kept = dict(os.environ), sys.argv
    printed = io.StringIO()
    try:
        os.environ.update(LANDSCAPE_CACHE=str(cache))
        with redirect_stdout(printed), redirect_stderr(printed):
            code = _exit_code(command(words))
    finally:
        sys.argv = kept
        os.environ.clear()
        os.environ.update(held)
    threads = _threads_left()
    if code != 0 or threads != 1:
        said = printed.getvalue()[-2000:]
        raise RuntimeError(f"expected {words} to end well without threads, got {code}, {threads}: {said}")


def _threads_left() -> int:
    """Count the threads of this process, once those that are about to end have ended."""
    until = time.monotonic() + _ENDING
    while (threads := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < until:
        time.sleep(0.05)
    return threads


def command(words: Sequence[str]) -> Callable[[], None]:
    """Return the work of the real command line for these words."""

    def work() -> None:
        from landscape.cli import main

        sys.argv = ["landscape", *words]
        main()

    return work


def start(work: Callable[[], object], settings: Settings) -> int:
    """Start work in a fork with a process group of its own, and return its process number."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python ≥ 3.12 on threads, of which none computes
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        _enter(settings)
        code = _exit_code(work)
    finally:
        os._exit(code)


def finish(child: int, settings: Settings, began: float, kill_after: float | None = None) -> Outcome:
    """Wait for a fork, end it where it goes beyond a limit, and return what became of it.

    Args:
        child: Its process number.
        settings: Those that it was started with.
        began: ``time.monotonic()`` at its start.
        kill_after: Seconds after which it is killed with SIGKILL on purpose.
    """
    peak, beyond = 0, False
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        seconds = time.monotonic() - began
        if ended:
            break
        peak = max(peak, _held(child))
        beyond = beyond or peak > settings.memory or seconds > settings.limit
        if beyond or (kill_after is not None and seconds >= kill_after):
            _kill(child)
        time.sleep(_PAUSE if kill_after is None else min(_PAUSE, max(0.0005, kill_after - seconds)))
    _kill(child, alone=False)  # what it may have started
    peak = max(peak, usage.ru_maxrss * 1024)
    code = None if beyond or peak > settings.memory else os.waitstatus_to_exitcode(status)
    return Outcome(code, _printed(settings, "out"), _printed(settings, "err"), seconds, peak)


def run(words: Sequence[str], settings: Settings, kill_after: float | None = None) -> Outcome:
    """Run the command line once."""
    return run_work(command(words), settings, kill_after)


def run_work(work: Callable[[], object], settings: Settings, kill_after: float | None = None) -> Outcome:
    """Run any work once, as ``run`` runs a command."""
    began = time.monotonic()
    return finish(start(work, settings), settings, began, kill_after)


def _enter(settings: Settings) -> None:
    """Give the fork its process group, files, environment and limits."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(settings.folder)
    os.environ.update({"LANDSCAPE_CACHE": str(settings.cache), "COLUMNS": "120", **(settings.variables or {})})
    _redirect(os.devnull, os.O_RDONLY, 0)
    for descriptor, ending in ((1, "out"), (2, "err")):
        _redirect(str(settings.folder / f"{settings.name}.{ending}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (as long as the process)
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    if settings.file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (settings.file_size, settings.file_size))
    import torch

    if torch.get_num_threads() != settings.threads:
        torch.set_num_threads(settings.threads)


def _redirect(path: str, flags: int, descriptor: int) -> None:
    opened = os.open(path, flags, 0o666)
    os.dup2(opened, descriptor)
    os.close(opened)


def _exit_code(work: Callable[[], object]) -> int:
    """Do the work, and return the exit code that Python would end with."""
    code = 0
    try:
        work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    except BaseException:  # as Python itself does: print it and end with 1
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 120
    return code


def _held(child: int) -> int:
    """Return the memory that a process holds now, in bytes; 0 once it is gone."""
    try:
        with open(f"/proc/{child}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _kill(child: int, alone: bool = True) -> None:
    """Kill the process group of a fork, or the fork alone before it has a group."""
    for send in (os.killpg, os.kill) if alone else (os.killpg,):
        try:
            send(child, signal.SIGKILL)
            return
        except ProcessLookupError:
            continue


def _printed(settings: Settings, ending: str) -> str:
    try:
        return (settings.folder / f"{settings.name}.{ending}").read_text("utf-8", errors="replace")
    except FileNotFoundError:  # killed before it was made
        return ""
