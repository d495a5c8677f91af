"""Note signals in a test, and none after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from quant import interruption


@contextmanager
def forgotten() -> Iterator[None]:
    """Begin without a signal, and forget at the end of the block what was noted in it."""
    before, interruption._state = interruption._state, interruption._State()
    try:
        yield
    finally:
        interruption._state = before
