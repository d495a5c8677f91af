"""Measure how much of the variance of some values a grouping explains, and whether a random one would."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 9999


@dataclass(frozen=True)
class VarianceShare:
    """Share of a variance that lies between groups."""

    value: float
    """η² = sum of squares between groups / total, 0 to 1."""
    p: float
    """Probability of one as large if values were dealt to the groups at random."""
    groups: int
    """Number of groups."""


def variance_share(values: Sequence[float], groups: Sequence[Hashable]) -> VarianceShare | None:
    """Estimate η² of a grouping with the p of a permutation test.

    Random groups explain (k − 1)/(n − 1) of the variance in the mean, so that η² alone says little; p does.

    Args:
        values: (n,) finite values.
        groups: (n,) label of the group of each.

    Returns:
        None if all values are alike, or if there is one group, or as many as values: nothing to explain with.
    """
    y, labels = np.asarray(values, np.float64), list(dict.fromkeys(groups))
    if len(y) < 2 or not 1 < len(labels) < len(y) or np.ptp(y) == 0:
        return None
    index = np.array([labels.index(label) for label in groups])
    counts = np.bincount(index)
    y = y - y.mean()

    def between(order: NDArray[np.float64]) -> float:
        return float((np.bincount(index, weights=order) ** 2 / counts).sum())

    rng, found, total = np.random.default_rng(0), between(y), float((y**2).sum())
    reached = sum(between(rng.permutation(y)) >= found * (1 - 1e-12) for _ in range(RESAMPLES))
    return VarianceShare(found / total, (1 + reached) / (1 + RESAMPLES), len(labels))
