"""The landscape as one JSON object: documented, versioned, and strict (no NaN, no infinity).

    schema_version  2                           (1 had no points of other tools, and ``scale`` for ``grid``)
    model, data     names as the user gave them
    space           {dimension, norm}            D and ‖w‖
    center          {split: NLL}                 L(w), nats per token
    chance          ln|V|
    basin           {split, radius, band: {r10, r90}}; each radius {value, low, high}, 95 % interval;
                    value is null if the profile never gets there (then low is a lower bound), high is null if unbounded
    points          [{name, method, bits, grid, distance, rho, rho_interval: {low, high}, nll: {split}, location,
                    loss}]; rho is null if R is censored, bits and grid are for a point that another tool made
    segments        [{a, b, bits, split, monotonic, prominence, barrier}]
                    barrier is the largest excess over the straight line between the ends' losses
    probes          {total, cached, evaluated}
    seconds, store, page

A number that is not finite (a model whose output overflowed) is null.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from landscape.basin import Crossing
from landscape.estimate import Estimate
from landscape.radius import Measured
from landscape.result import Landscape, PointResult, SegmentResult

SCHEMA_VERSION = 2


def to_json(landscape: Landscape, page: Path | None = None) -> dict[str, Any]:
    """The JSON object of a landscape, ready for ``json.dumps(…, allow_nan=False)``."""
    subject, basin = landscape.subject, landscape.basin
    return {
        "schema_version": SCHEMA_VERSION,
        "model": subject.model,
        "space": {"dimension": subject.dimension, "norm": subject.norm},
        "data": subject.data,
        "center": {split: finite(nll) for split, nll in landscape.center.items()},
        "chance": subject.chance,
        "basin": {
            "split": landscape.verdict_split,
            "radius": _crossing(basin.radius),
            "band": {"r10": _crossing(basin.r10), "r90": _crossing(basin.r90)},
        },
        "points": [_point(point) for point in landscape.points],
        "segments": [_segment(segment) for segment in landscape.segments],
        "probes": {
            "total": landscape.probes.total,
            "cached": landscape.probes.cached,
            "evaluated": landscape.probes.evaluated,
        },
        "seconds": round(landscape.seconds, 3),
        "store": landscape.store,
        "page": None if page is None else str(page),
    }


def radius_json(measured: Measured) -> dict[str, Any]:
    """The JSON object of ``landscape radius``.

    ``{schema_version, model, data, split, seq_len, space: {dimension, norm}, family, pairs, center, chance, radius:
    {value, low, high}, precise, rounds: [{directions, windows, radius}], evaluated, cached, tokens, seconds, store}``
    """
    found = measured.found
    return {
        "schema_version": SCHEMA_VERSION,
        "model": measured.model,
        "data": measured.data,
        "split": measured.split,
        "seq_len": measured.seq_len,
        "space": {"dimension": measured.dimension, "norm": measured.norm},
        "family": measured.family,
        "pairs": measured.pairs,
        "center": found.probes.center_nll,
        "chance": found.probes.chance,
        "radius": _crossing(found.radius),
        "precise": found.precise,
        "rounds": [
            {"directions": each.directions, "windows": each.windows, "radius": _crossing(each.crossing)}
            for each in found.rounds
        ],
        "evaluated": measured.evaluated,
        "cached": measured.cached,
        "tokens": measured.tokens,
        "seconds": round(measured.seconds, 3),
        "store": measured.store,
    }


def finite(value: float | None) -> float | None:
    """The number, or None where it is not finite: JSON knows neither NaN nor infinity."""
    return value if value is not None and math.isfinite(value) else None


def _crossing(crossing: Crossing) -> dict[str, float | None]:
    return {"value": crossing.value, "low": finite(crossing.low), "high": finite(crossing.high)}


def _interval(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {"low": finite(estimate.low), "high": finite(estimate.high)}


def _point(point: PointResult) -> dict[str, Any]:
    return {
        "name": point.name,
        "method": point.method,
        "bits": point.bits,
        "grid": point.grid,
        "distance": point.distance,
        "rho": None if point.rho is None else finite(point.rho.value),
        "rho_interval": _interval(point.rho),
        "nll": {split: finite(nll) for split, nll in point.nll.items()},
        "location": point.location,
        "loss": point.loss,
    }


def _segment(segment: SegmentResult) -> dict[str, Any]:
    shape = segment.connectivity
    return {
        "a": segment.a,
        "b": segment.b,
        "bits": segment.bits,
        "split": segment.split,
        "monotonic": shape.monotonic,
        "prominence": finite(shape.prominence),
        "barrier": finite(shape.barrier),
    }
