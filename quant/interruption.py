"""Note that a signal asked the process to end, since the exception that says so may be lost on its way.

A callback of a library, or the import of one, may swallow the exception. So the signal is noted as well, and looked at
again between two steps of the work. ``landscape.cli.signals`` notes it; where a program handles signals in its own way
nothing is ever noted, and all of this does nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end; it passes everything that handles errors."""

    def __init__(self, number: int) -> None:
        """Keep the number of the signal."""
        super().__init__(signal.Signals(number).name)
        self.number = number


class _State:
    """Interruption of this process, as far as it is known."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.shields = 0
        self.rescues: list[Callable[[], object]] = []


_state = _State()


def note(number: int) -> None:
    """Note a signal that asks the process to end; the first one counts."""
    if _state.number is None:
        _state.number = number


def received() -> int | None:
    """Return the signal that asked the process to end; None if none came."""
    return _state.number


def check() -> None:
    """End the work here if a signal asked for it and the exception did not get through.

    Raises:
        Interrupted: A signal came, and no block of ``shielded`` is open.
    """
    if _state.number is not None and not _state.shields:
        raise Interrupted(_state.number)


def is_shielded() -> bool:
    """Return True if something is being written that an interruption should wait for."""
    return _state.shields > 0


@contextmanager
def shielded() -> Iterator[None]:
    """Put an interruption off until the end of the block, which writes what would be lost; it must be short.

    Raises:
        Interrupted: A signal came meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():  # signals interrupt the main thread alone
        yield
        return
    before = _state.number
    _state.shields += 1
    try:
        yield
    finally:
        _state.shields -= 1
    if before is None:  # else the block is a part of the way out, which must not be cut short
        check()


@contextmanager
def rescued_by(keep: Callable[[], object]) -> Iterator[None]:
    """Name what keeps the results of the block if the process must end while the main thread does not answer.

    Args:
        keep: Called from another thread, maybe at any point of the block; to keep something twice must do no harm.
    """
    _state.rescues.append(keep)
    try:
        yield
    finally:
        _state.rescues.remove(keep)


def rescue() -> None:
    """Keep what the blocks of ``rescued_by`` hold, from a thread that is about to end the process."""
    for keep in list(_state.rescues):
        keep()
