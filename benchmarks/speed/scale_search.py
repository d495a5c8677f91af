"""Measure the exact search for scales against sorting the same weights, which it begins with."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.rows import Row
from benchmarks.speed.models import Options
from benchmarks.speed.turns import in_turns, ratio
from quant.scale import exact_scales

WEIGHTS = 1_000_000
MOST = 3  # rounds: a thousand scales at int8 take many seconds


def bench_scales(options: Options) -> Iterator[Row]:
    """Find the scale of a million weights, and the scales of a thousand rows of them."""
    weight = torch.randn(1, WEIGHTS, generator=torch.Generator().manual_seed(0))
    for rows in (1, 1000):
        shaped = weight.view(rows, -1)
        for bits in (8, 4, 2):
            high = 2 ** (bits - 1) - 1
            seconds = in_turns(
                {"ours": lambda s=shaped, h=high: exact_scales(s, h), "sort": lambda s=shaped: s.abs().sort(-1)},
                min(options.rounds, MOST),
            )
            yield ratio(f"scales/{rows}/{bits}", seconds["ours"], seconds["sort"])
