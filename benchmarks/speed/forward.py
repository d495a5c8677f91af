"""Measure one window's loss against the products that it cannot do without, and the parts that it consists of."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from benchmarks.rows import Row
from benchmarks.speed.models import Options, subject
from benchmarks.speed.reference import bare_loss, chunked_loss, floor, trunk
from benchmarks.speed.turns import in_turns, ratio
from quant.nll import window_nll

LENGTH = 512


@torch.inference_mode()
def bench_window(options: Options) -> Iterator[Row]:
    """Compare `window_nll` with the floor, with transformers' own forward pass, and with its parts.

    Raises:
        SystemExit: the reference computes another loss.
    """
    model, windows = subject(options, 1, LENGTH)
    window = windows[0]
    ours, bare = window_nll(model, window).total, float(bare_loss(model, window))
    if not math.isclose(ours, bare, rel_tol=1e-5):
        raise SystemExit(f"expected the loss of plain torch, {bare:.8g}, got {ours:.8g} from window_nll")
    states, head = trunk(model, window), model.get_output_embeddings()
    seconds = in_turns(
        {
            "window": lambda: window_nll(model, window),
            "floor": floor(model, LENGTH),
            "logits": lambda: model(input_ids=window[None], use_cache=False).logits,
            "trunk": lambda: trunk(model, window),
            "head": lambda: head(states),
            "chunks": lambda: chunked_loss(states, head, window),
        },
        options.rounds,
    )
    yield ratio("window/floor", seconds["floor"], seconds["window"])
    yield ratio("window/logits", seconds["window"], seconds["logits"])
    for part in ("trunk", "head", "chunks"):
        yield ratio(f"window/{part}", seconds[part], seconds["floor"])
