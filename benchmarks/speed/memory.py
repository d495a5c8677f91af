"""Measure the memory that one long window over a large vocabulary adds, beside that of its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psutil

from benchmarks.rows import Row
from benchmarks.speed.models import WIDE_VOCABULARY, Options, random_llama, random_tokens
from benchmarks.speed.training import keep_gradients_of_w
from benchmarks.speed.turns import peak
from quant.nll import token_nll, window_nll

LENGTH = 2048
MIB = 2**20


def added(key: str, work: Callable[[int], object]) -> Row:
    """Return the row of the memory that work on a long window adds to that of a short one.

    Args:
        key: Name of the row.
        work: Takes the length of the window.

    Raises:
        SystemExit: the process held more before, so that its peak says nothing.
    """
    work(64)  # what a first pass loads is not counted
    before, highest = psutil.Process().memory_info().rss, peak()
    work(LENGTH)
    if peak() <= highest:
        raise SystemExit(f"expected a new peak of memory, the process had reached {highest:.2f} GiB before")
    return {"key": key, "value": (peak() * 2**30 - before) / MIB, "unit": "MiB", "logits": logits() / MIB}


def logits() -> int:
    """Return the bytes of the logits of the long window in float32."""
    return 4 * LENGTH * WIDE_VOCABULARY


def bench_evaluation_memory(options: Options) -> Iterator[Row]:
    """Measure `window_nll`, with a trunk so small that the head is all that counts."""
    model = random_llama(vocabulary=WIDE_VOCABULARY, blocks=2, width=64, inner=128, heads=2, groups=2)
    tokens = random_tokens(1, LENGTH, WIDE_VOCABULARY)[0]
    yield added("memory/evaluation", lambda length: window_nll(model, tokens[:length]))


def bench_training_memory(options: Options) -> Iterator[Row]:
    """Measure forward and backward of `token_nll` on the same model; the matrices of w have gradients, as in QAFT."""
    model = random_llama(vocabulary=WIDE_VOCABULARY, blocks=2, width=64, inner=128, heads=2, groups=2)
    keep_gradients_of_w(model)
    tokens = random_tokens(1, LENGTH, WIDE_VOCABULARY)
    yield added("memory/training", lambda length: token_nll(model, tokens[:, :length]).mean().backward())
