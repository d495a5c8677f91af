"""Group windows into batches of one size, and measure which size a model evaluates fastest.

The last bits of a loss can depend on how many windows go through the model together. So all batches of a store have the
same size: the last one is filled with windows again. A loss then depends on its window alone, provided that it is the
same at every place of a batch, which is tried before a size is chosen. A store keeps the size that it was begun with.

On a CPU one window is a batch. Measured on one thread, opt-nano (0.9 M parameters) is 1.06 times as fast in batches of
16 windows of 256 tokens, and 1.3 times at 128; larger models gain less. On CUDA, a small model waits for its kernels to
start, so there the size is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

from landscape.probing.plan import Window
from quant.nll import batch_nll

LARGEST = 64
"""Most windows of a batch."""
_GAIN = 1.1  # a larger batch must be this many times as fast as the best smaller one
_REPEATS = 3


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows of one length that are evaluated together."""

    windows: tuple[Window, ...]
    """The windows to evaluate."""
    size: int
    """Number of windows that go through the model; the first ones come again at the end."""

    @property
    def tokens(self) -> Tensor:
        """Return the token ids, (size, L)."""
        rows = [window.tokens for window in self.windows]
        return torch.stack([rows[place % len(rows)] for place in range(self.size)])

    @property
    def identity(self) -> tuple[str, ...]:
        """Return the identities of the windows, in order."""
        return tuple(window.identity for window in self.windows)


def batches(windows: Sequence[Window], size: int) -> Iterator[Batch]:
    """Group windows, in order, into batches of a size; each batch has windows of one length."""
    for _, group in groupby(windows, key=lambda window: len(window.tokens)):
        alike = tuple(group)
        yield from (Batch(alike[start : start + size], size) for start in range(0, len(alike), size))


def fastest_size(model: nn.Module, window: Tensor) -> int:
    """Return the number of windows of this length, (L,), that a model evaluates fastest together; 1 on a CPU."""
    if next(model.parameters()).device.type == "cpu":
        return 1
    return _search(lambda size: _seconds(model, window, size), lambda size: same_at_every_place(model, window, size))


def same_at_every_place(model: nn.Module, window: Tensor, size: int) -> bool:
    """Return whether a window's loss is the same to the bit at every place of a batch, among different windows.

    Args:
        model: The model.
        window: (L,) token ids.
        size: Number of windows in the batch.
    """
    others = [window.roll(shift + 1) for shift in range(size)]
    totals = set()
    for place in range(size):
        rows = torch.stack([*others[:place], window, *others[place + 1 :]])
        totals.add(batch_nll(model, rows)[place].total.hex())
    return len(totals) == 1


def _search(seconds: Callable[[int], float], sound: Callable[[int], bool]) -> int:
    """Return the last of the sizes 1, 2, 4 … that makes a window faster and its loss independent of its place."""
    best, least = 1, seconds(1)
    size = 2
    while size <= LARGEST:
        needed = seconds(size)
        if needed * _GAIN > least or not sound(size):
            break
        best, least = size, needed
        size *= 2
    return best


def _seconds(model: nn.Module, window: Tensor, size: int) -> float:
    """Return the wall seconds per window in a batch; infinite where it does not fit into the device's memory."""
    rows = window.expand(size, -1)
    try:
        batch_nll(model, rows)  # the first pass also allocates
        started = time.monotonic()
        for _ in range(_REPEATS):
            batch_nll(model, rows)
    except torch.OutOfMemoryError:
        return float("inf")
    return (time.monotonic() - started) / (_REPEATS * size)
