"""Convert losses to what practitioners compare: perplexity, and its change in per cent."""

from __future__ import annotations

import math

from landscape.estimators.intervals import Estimate


def perplexity(nll: float) -> float:
    """Return exp(NLL); infinite where that exceeds the largest float, NaN for NaN."""
    try:
        return math.exp(nll)
    except OverflowError:
        return math.inf


def perplexity_change(rise: Estimate) -> Estimate:
    """Return the change of the perplexity in per cent, ``100 (exp ΔL − 1)``, with the interval of the rise ΔL."""
    return Estimate(*(100 * _expm1(each) for each in (rise.value, rise.low, rise.high)))


def _expm1(value: float) -> float:
    try:
        return math.expm1(value)
    except OverflowError:
        return math.inf
