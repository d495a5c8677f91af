"""End a command soon after Ctrl-C, SIGTERM or SIGHUP: one line on stderr, the right exit code, nothing lost.

The first signal raises ``Interrupted`` in the main thread, whose way out keeps what was evaluated. Python runs handlers
between two of its own steps, so a long call into a library may hold that up, and a library may swallow the exception.
A thread therefore hears of the signal as well, by the byte that Python writes to a socket at once. It waits for a short
time; then it keeps the results itself and ends the process. After a second signal it does so at once, and has a second
for it. The line says that results are kept only if they are.

Nothing heavy is imported here: it is in place before the libraries are imported, which takes seconds.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from quant import interruption
from quant.printable import printable

KEPT = (
    "evaluated probes and finished points are kept, and the same command goes on from there; "
    "an unfinished point restarts, QAFT from its last completed epoch"
)
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
GRACE = 1.4
"""Seconds that the main thread has for its way out."""
WRITING = 10.0
"""Seconds that it has if it is writing results; a disk may be slow."""
HURRY = 1.0
"""Seconds that are left for writing results after a second signal."""
SAME = 0.2
"""Seconds within which signals count as one: some programs pass on Ctrl-C, which the terminal sent to all already."""
_STOP = b"\0"

_PROCESS = os.getpid()
_said = threading.Lock()


def exit_code(number: int) -> int:
    """Return the exit code of a command that a signal ended, as shells count: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def say_interrupted(lost: str | None = None, direct: bool = False) -> int:
    """Print the one line about the interruption, unless it is there already.

    Args:
        lost: Reason why results could not be kept; None if they were.
        direct: Write past ``sys.stderr``, whose lock another thread may hold.

    Returns:
        The exit code.
    """
    received = interruption.received()
    number = received or signal.SIGINT  # a plain KeyboardInterrupt, where another program handles the signals
    if received is None or _said.acquire(blocking=False):
        what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        kept = KEPT if lost is None else f"what was evaluated last could not be kept: {printable(lost)}"
        _print(f"landscape: error: {what}; {kept}\n", direct)
    return exit_code(number)


@contextmanager
def handled() -> Iterator[None]:
    """Handle the signals that are not ignored, as ``nohup`` ignores SIGHUP, until the block ends.

    Outside the main thread, where Python allows no handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = _Watch()
    try:
        yield
    finally:
        watch.end()


class _Watch:
    """The handlers, and the thread that ends the process where they do not get through."""

    current: _Watch | None = None

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._there.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._there.fileno(), warn_on_full_buffer=False)
        self._raised = False
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self._before = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}
        self._thread.start()
        for number in self._before:
            signal.signal(number, self._handle)
        _Watch.current = self

    def end(self) -> None:
        """Give the handlers back, and end the thread unless it has to see to it that the process ends."""
        atexit.unregister(_end_at_once_from_now_on)
        atexit.register(_end_at_once_from_now_on)
        if interruption.received() is None:
            self._there.setblocking(True)
            self._there.send(_STOP)
            self._thread.join()
            self._give_back()
            self._here.close()
            self._there.close()

    def _give_back(self) -> None:
        _Watch.current = None
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook

    def leave_to_parent(self) -> None:
        """Let a forked process die of signals, and not wake the thread of its parent."""
        _Watch.current = None
        signal.set_wakeup_fd(-1)
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        interruption.note(number)
        if not self._raised and not interruption.is_shielded():
            self._raised = True
            raise interruption.Interrupted(number)

    def _unraisable(self, problem: Any) -> None:
        """Say nothing where the exception was raised in a place that it cannot leave: the signal is noted."""
        if not (interruption.received() is not None and issubclass(problem.exc_type, KeyboardInterrupt)):
            self._hook(problem)

    def _listen(self) -> None:
        first: float | None = None
        ending: threading.Thread | None = None  # beside this one, which hears of a second signal
        while True:
            if first is None or ending is not None:
                self._here.settimeout(None)
            else:
                self._here.settimeout(max(first + GRACE - time.monotonic(), 0.001))
            try:
                heard = self._here.recv(64)
            except TimeoutError:
                ending = threading.Thread(target=_end_for_main, name="ending", daemon=True)
                ending.start()
                continue
            if _STOP in heard or not heard:
                return
            for number in set(heard) & set(self._before):
                if first is None:
                    first = time.monotonic()
                    interruption.note(number)
                elif time.monotonic() - first > SAME:
                    _end_after_rescue(number, HURRY)


def _end_for_main() -> None:
    """End the process for the main thread, which does not answer, once all that it evaluated is written."""
    deadline = time.monotonic() + WRITING
    while interruption.is_shielded() and time.monotonic() < deadline:
        time.sleep(0.02)
    _end_after_rescue(interruption.received() or signal.SIGTERM, WRITING)


def _end_after_rescue(number: int, seconds: float) -> None:
    """Keep what the main thread evaluated and end the process, after some seconds in any case."""
    lost, deadline = None, time.monotonic() + seconds
    if not _said.locked():  # else the main thread has written all, and something else holds it up
        keeping = threading.Thread(target=_rescue, name="rescue", daemon=True)  # a lock of the main thread may stop it
        keeping.start()
        keeping.join(seconds)
        while interruption.is_shielded() and time.monotonic() < deadline:  # what no rescue knows of
            time.sleep(0.02)
        if keeping.is_alive() or interruption.is_shielded():
            lost = f"it was not written within {seconds:g} s"
    _end_at_once(number, lost)


def _rescue() -> None:
    try:
        interruption.rescue()
    except Exception as error:  # whatever it is, the process ends now, and the line has to say so
        say_interrupted(" ".join(str(error).split()), direct=True)


def _end_at_once(number: int, lost: str | None) -> None:
    """End the process without another step of the main thread."""
    say_interrupted(lost, direct=True)
    with suppress(Exception):  # nothing may keep the process here
        from quant.files.temporary_files import remove_own

        _end_children()
        remove_own()
    os._exit(exit_code(number))


def _end_children() -> None:
    """End the processes that this one started; a browser, say, is in a group of its own and stays."""
    import psutil

    group = os.getpgid(0)
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error, OSError):
            if os.getpgid(child.pid) == group:
                child.kill()


def _end_at_once_from_now_on() -> None:
    """Let a signal end the process while the interpreter tidies up: all is written, and a traceback would not help."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, frame: os._exit(exit_code(number)))


def _print(line: str, direct: bool) -> None:
    """Print a line; on a terminal, in place of a bar that is being drawn."""
    with suppress(OSError, ValueError):  # stderr may be closed
        if sys.stderr is not None and sys.stderr.isatty():
            line = f"\r\x1b[2K\x1b[?25h{line}"
        if direct:
            os.write(2, line.encode())
        else:
            print(line, end="", file=sys.stderr, flush=True)


def _end_before_teardown() -> None:
    """End an interrupted process before the interpreter takes its modules apart, which takes torch a second."""
    if (number := interruption.received()) is not None and os.getpid() == _PROCESS:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(exit_code(number))


def _after_fork() -> None:
    if _Watch.current is not None:
        _Watch.current.leave_to_parent()


atexit.register(_end_before_teardown)  # before any library registers its own, which run first therefore
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
