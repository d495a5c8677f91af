"""Measure reading a store of 100,000 probes, and planning against it, beside parsing the same rows as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row
from benchmarks.speed.models import Options, random_llama
from benchmarks.speed.turns import in_turns, ratio
from landscape.positions.directions import Sphere
from landscape.probing.plan import ProbePlan, ProbeResult, identified, ray_plan
from landscape.probing.store import Store
from quant.space import WeightSpace

DIRECTIONS, LAMBDAS, WINDOWS = 100, 10, 100


def results(plan: ProbePlan) -> list[ProbeResult]:
    """Make up a result for every probe of a plan."""
    totals = np.random.default_rng(0).normal(1500, 100, len(plan)).tolist()
    return [ProbeResult(probe, total, 511) for probe, total in zip(plan.probes(), totals, strict=True)]


def as_json(rows: list[ProbeResult]) -> str:
    """Write the rows as a list of lists."""
    return json.dumps([[row.probe.position, row.probe.window, row.total, row.tokens] for row in rows])


def bench_store(options: Options) -> Iterator[Row]:
    """Read 100,000 probes, then plan as many of which half are known."""
    family = Sphere(WeightSpace.of(random_llama(vocabulary=8, blocks=1, width=8, inner=8, heads=1, groups=1)))
    windows = identified(torch.arange(WINDOWS * 8).view(WINDOWS, 8))
    lambdas = [0.1 * (k + 1) for k in range(LAMBDAS)]
    rows = results(ray_plan(family, DIRECTIONS, lambdas, windows))
    text, shifted = as_json(rows), [lam + 0.05 for lam in lambdas[: LAMBDAS // 2]]
    with tempfile.TemporaryDirectory() as folder:
        Store(Path(folder), "0" * 64, "float32").commit(rows, {})

        def read() -> dict:
            return Store(Path(folder), "0" * 64, "float32").probes()

        known = read()
        asked = sorted([*lambdas[: LAMBDAS // 2], *shifted])

        def plan() -> ProbePlan:
            return ray_plan(family, DIRECTIONS, asked, windows).missing(known)

        missing = len(plan())
        if (len(known), missing) != (len(rows), len(rows) // 2):
            raise SystemExit(f"expected {len(rows)} probes and half of them missing, got {len(known)} and {missing}")
        seconds = in_turns({"read": read, "plan": plan, "json": lambda: json.loads(text)}, options.rounds)
    yield ratio("store/read", seconds["read"], seconds["json"], probes=len(rows))
    yield ratio("store/plan", seconds["plan"], seconds["json"], probes=len(rows))
