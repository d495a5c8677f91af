"""Estimate the rank correlation of two samples, with a permutation test that is right for few pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEAST = 4
"""Least number of pairs: of three, even the strictest order has p = 1/3."""
RESAMPLES = 9999
"""Permutations that are drawn where all of them are more; p is known to about 0.005 at 0.05."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of some pairs."""

    value: float
    """Correlation of the ranks, −1 to 1; pairs that tie share their mean rank."""
    p: float
    """Probability of one as far from 0 if the pairing is random, two-sided."""
    pairs: int
    """Number of pairs."""


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation | None:
    """Estimate Spearman's rank correlation with the p of a permutation test.

    All pairings are tried where they are at most ``RESAMPLES``, else as many random ones, the same in every call.
    The test takes the pairs as exchangeable: it does not know that points of one model resemble each other.

    Args:
        x: (n,) finite values.
        y: (n,) finite values.

    Returns:
        None with fewer than ``LEAST`` pairs, or if all x or all y are alike: there is no order then.
    """
    if len(x) < LEAST or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    first, second = (stats.rankdata(values) for values in (x, y))
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))

    def statistic(order: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray((order * second).sum(axis) / scale)

    test = stats.permutation_test(
        (first,), statistic, permutation_type="pairings", n_resamples=RESAMPLES, vectorized=True,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return RankCorrelation(float(test.statistic), float(test.pvalue), len(x))


def matched_rank_correlation(x: ArrayLike, y: ArrayLike) -> RankCorrelation | None:
    """Estimate the rank correlation of units under the same conditions, with the p of dealing whole units.

    Units are ranked under each condition apart, so that a condition which raises both values is no correlation; and all
    values of a unit are dealt together, since they are not independent of each other. With one condition it is
    ``rank_correlation``.

    Args:
        x: (n_units, n_conditions) finite values.
        y: (n_units, n_conditions) finite values.

    Returns:
        None with fewer than ``LEAST`` units, or if no condition has an order of both.
    """
    first, second = (_centred_ranks(np.asarray(values, np.float64)) for values in (x, y))
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    if len(first) < LEAST or scale == 0:
        return None

    def statistic(order: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray((first[order] * second).sum((-2, -1)) / scale)

    test = stats.permutation_test(
        (np.arange(len(first)),), statistic, permutation_type="pairings", n_resamples=RESAMPLES, vectorized=True,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return RankCorrelation(float(test.statistic), float(test.pvalue), first.size)


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    ranks = np.asarray(stats.rankdata(values, axis=0), np.float64)
    return np.asarray(ranks - ranks.mean(0))
