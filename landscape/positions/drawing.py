"""Hold at most one direction, and draw the next one while the model evaluates."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import torch

from landscape.positions.direction import Direction
from landscape.positions.directions import Family
from quant.processor import usable_cores
from quant.space import Vector

MOST_AHEAD = 2
"""Largest number of threads that draw ahead: more would only contend with the evaluation for Python's lock."""

Key = tuple[str, int]  # a family's name and an index: all that a direction depends on


def spare_cores() -> int:
    """Count the cores that this process may use, beyond those that torch computes on."""
    return max(0, usable_cores() - torch.get_num_threads())


class HeldDirection:
    """The one direction in memory, of any family, beside a vector of weights."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._held: tuple[Key, Direction] | None = None
        self._coming: _Draw | None = None

    def get(self, family: Family, index: int, beside: Vector) -> Direction:
        """Return a direction: the one held, the one that is being drawn, or one drawn now.

        Args:
            family: The family; its name stands for it.
            index: Number of the direction.
            beside: Vector on whose devices the direction is needed.

        Raises:
            UsageError: see ``Family.draw``; an error of a draw in the background is raised here.
        """
        key = (family.name, index)
        if self._held is None or self._held[0] != key:
            self._held = None
            coming, self._coming = self._coming, None
            if coming is not None and coming.key == key:
                self._held = (key, coming.result())
            else:
                if coming is not None:
                    coming.cancel()
                self._held = (key, family.draw(index, beside))
        return self._held[1]

    def expect(self, family: Family, index: int, beside: Vector) -> None:
        """Release any other direction, and begin to draw this one if cores are idle; only inside ``drawing_ahead``."""
        key = (family.name, index)
        if (self._held and self._held[0] == key) or (self._coming and self._coming.key == key):
            return
        self.release()
        threads = min(spare_cores(), MOST_AHEAD)
        held = any(not family.redrawn_on(beside.tensor(slot).device) for slot in family.space)
        if threads and held:
            self._coming = _Draw(key, family, beside, threads)

    def release(self) -> None:
        """Release the direction; a draw in the background is cancelled, and its thread ends before this returns."""
        self._held = None
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.cancel()

    @contextmanager
    def drawing_ahead(self) -> Iterator[None]:
        """Cancel a draw in the background when the block ends, however it ends: no thread outlives it."""
        try:
            yield
        finally:
            coming, self._coming = self._coming, None
            if coming is not None:
                coming.cancel()


class _Draw:
    """A draw in the background."""

    def __init__(self, key: Key, family: Family, beside: Vector, threads: int) -> None:
        self.key = key
        self._stop = Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="draw-ahead")
        self._future: Future[Direction] = self._thread.submit(family.draw, key[1], beside, threads, self._stop.is_set)

    def result(self) -> Direction:
        """Wait for the direction, or raise the error of its draw."""
        try:
            return self._future.result()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Stop the draw, and wait for its thread."""
        self._stop.set()
        self._thread.shutdown(cancel_futures=True)
