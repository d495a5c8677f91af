"""Score the advice against the outcomes: hits and misses, the fit of the thresholds, and advisers that know less."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np

from benchmarks.advice.cells import LIMITS, Cell, right
from landscape.advice.rules import RECOMMENDATIONS, RESCUE, RIM, WORTH_CHANGING, Evidence, Recommendation, decide, rules
from landscape.estimators.loss_limit import Limit

GUESSED = (5.0, 1.0)
"""RESCUE and RIM before anything was measured."""
TRIED = tuple(float(2.0 ** (k / 4)) for k in range(-16, 33))
"""Thresholds to choose from: 1/16 to 256."""


def hits(
    found: list[Cell],
    rescue: float = RESCUE,
    rim: float = RIM,
    worth: float = WORTH_CHANGING,
    limits: Iterable[Limit] = LIMITS,
) -> int:
    """Count the pieces of advice that were right."""
    tried, pairs = rules(rescue, rim, worth), product(found, limits)
    return sum(decide(cell.evidence, limit, tried).verdict == right(cell.options, limit) for cell, limit in pairs)


def fit(found: list[Cell]) -> tuple[float, float, int]:
    """Return the thresholds with the most hits, and their number; among equals the nearest to the first guesses."""

    def quality(pair: tuple[float, float]) -> tuple[int, float]:
        return hits(found, *pair), -float(np.abs(np.log(np.divide(pair, GUESSED))).sum())

    best = max(product(TRIED, TRIED), key=quality)
    return *best, hits(found, *best)


def verdict_word(advised: Recommendation, true: Recommendation) -> str:
    """Return whether the advice hit, or named too cheap or too expensive an option."""
    if advised == true:
        return "hit"
    cheap = RECOMMENDATIONS.index(advised) < RECOMMENDATIONS.index(true)
    return "**miss, too cheap**" if cheap else "**miss, too expensive**"


def kept(cell: Cell, option: Recommendation, limit: Limit) -> bool:
    """Return whether an option was within the limit on the test split."""
    return cell.options[option] <= limit.nats


def by_rise_alone(evidence: Evidence, limit: Limit) -> Recommendation:
    """Advise RTN within the limit, GPTQ within RESCUE limits, else QAFT."""
    if evidence.rise.value <= limit.nats:
        return "rtn"
    return "gptq" if evidence.rise.value <= RESCUE * limit.nats else "qaft"


def by_rho_alone(evidence: Evidence, limit: Limit) -> Recommendation:
    """Advise as the paper does: RTN within the limit, GPTQ inside the basin, QAFT outside."""
    if evidence.rise.value <= limit.nats:
        return "rtn"
    return "gptq" if evidence.rho is not None and evidence.rho.value < 1 else "qaft"
