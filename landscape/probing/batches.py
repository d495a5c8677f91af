"""Group windows into batches of one size, and measure which size a model evaluates fastest.

The last bits of a loss can depend on how many windows go through the model together. So all batches of a store have the
same size: the last one is filled with windows again. A loss then depends on its window alone, provided that it is the
same at every place of a batch and beside any other windows, which is tried before a size is chosen. A store keeps the
size that it was begun with. A model that routes tokens to experts evaluates one window at a time (``routes_tokens``).

On a CPU one window is a batch. Measured on one thread, opt-nano (0.9 M parameters) is 1.06 times as fast in batches of
16 windows of 256 tokens, and 1.3 times at 128; larger models gain less. On CUDA, a small model waits for its kernels to
start, so there the size is measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

from landscape.probing.plan import Window
from quant.architecture import ROUTER, input_device
from quant.nll import Rows, batch_nll, measure, nll
from quant.space import WeightSpace

LARGEST = 64
"""Most windows of a batch."""
_GAIN = 1.1  # a larger batch must be this many times as fast as the best smaller one
_REPEATS = 3
_DRAWS = 4  # of other windows, at each place of a batch


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


def routes_tokens(space: WeightSpace) -> bool:
    """Return whether a model has experts, in its weight space or left out of it.

    The product of an expert has a row for each token that is routed to it. The number of rows depends on all windows of
    a batch, and the last bits of a window's loss with it.
    """
    return any(slot.expert for slot in space) or any(found.kind == ROUTER for found in space.outside)


def same_at_every_place(model: nn.Module, window: Tensor, size: int) -> bool:
    """Return whether a window's loss is the same to the bit at every place of a batch, beside any other windows.

    The window fills a random half of the places, then the other half; each time, random tokens fill the rest. The
    logits are compared too: at other weights, the loss can show what it hides here.

    Args:
        model: The model.
        window: (L,) token ids.
        size: Number of windows in the batch, 2 or more.
    """
    generator = torch.Generator().manual_seed(0)
    found: set[bytes] = set()
    for _ in range(_DRAWS):
        others = torch.randint(_vocabulary(model, window), (size, len(window)), generator=generator)
        order = torch.randperm(size, generator=generator)
        for places in (order[: size // 2], order[size // 2 :]):
            rows = others.clone()
            rows[places] = window.cpu()
            measured = measure(model, rows.to(input_device(model)), nll, _sums)
            found.update(each.numpy().tobytes() for each in torch.stack(measured, 1)[places].cpu())
            if len(found) > 1:
                return False
    return True


def _sums(rows: Rows) -> Tensor:
    """Return the sums of the logits, (n,), which change with the last bit of any."""
    return rows.logits.sum(-1, dtype=torch.float64)


def _vocabulary(model: nn.Module, window: Tensor) -> int:
    """Return the number of token ids that a model takes; where it does not say, those up to the window's largest."""
    find = getattr(model, "get_input_embeddings", None)
    return int(getattr(find() if find else None, "num_embeddings", window.max() + 1))


def _search(seconds: Callable[[int], float], sound: Callable[[int], bool]) -> int:
    """Return the last of the sizes 1, 2, 4 … that makes a window faster and its loss independent of its place."""
    best, least = 1, seconds(1)
    size = 2
    while size <= LARGEST:
        needed = seconds(size)
        if not needed * _GAIN <= least < math.inf or not sound(size):
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
