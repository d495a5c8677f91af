"""Write the values that several JSON objects share: numbers, intervals, radii, the weight space.

JSON has neither NaN nor infinity: a number that is not finite is null.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, overload

from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.session.run_record import SubjectInfo
from quant.size import ModelSize

JSON_VERSION = 4
"""``schema_version`` of all objects. 3 had no perplexity, KL and sizes; 2 called a loss degraded that is inconclusive;
1 had no points of other tools."""


def finite_or_none(value: float | None) -> float | None:
    """Return the number, or None where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


@overload
def estimate_json(estimate: Estimate) -> dict[str, float | None]: ...
@overload
def estimate_json(estimate: None) -> None: ...
def estimate_json(estimate: Estimate | None) -> dict[str, float | None] | None:
    """Return ``{value, low, high}``, or None without a number."""
    if estimate is None:
        return None
    return {"value": finite_or_none(estimate.value)} | _ends(estimate)


def interval_json(estimate: Estimate | None) -> dict[str, float | None] | None:
    """Return ``{low, high}``, or None without a number."""
    return None if estimate is None else _ends(estimate)


def crossing_json(crossing: Crossing) -> dict[str, float | None]:
    """Return a radius as ``{value, low, high}``; where it is not reached, value is None and low a lower bound."""
    return {"value": crossing.value, "low": finite_or_none(crossing.low), "high": finite_or_none(crossing.high)}


def space_json(subject: SubjectInfo) -> dict[str, Any]:
    """Return the weight space: ``{dimension, norm, blocks, share, outside: [{kind, names, weights}]}``."""
    coverage = subject.coverage
    outside = [{"kind": each.kind, "names": list(each.names), "weights": each.weights} for each in coverage.outside]
    return {
        "dimension": subject.dimension,
        "norm": subject.norm,
        "blocks": coverage.total,
        "share": coverage.share,
        "outside": outside,
    }


def size_json(size: ModelSize | None) -> dict[str, float] | None:
    """Return ``{space_bits, model_bits, bytes}``, or None where they are not known."""
    return None if size is None else asdict(size)


def _ends(estimate: Estimate) -> dict[str, float | None]:
    return {"low": finite_or_none(estimate.low), "high": finite_or_none(estimate.high)}
