"""Measure how much of the variance of some values a grouping explains, and whether a random one would."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
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


def variance_share(
    values: Sequence[float], groups: Sequence[Hashable], units: Sequence[Hashable] | None = None
) -> VarianceShare | None:
    """Estimate η² of a grouping with the p of a permutation test.

    Random groups explain (k − 1)/(n − 1) of the variance in the mean, so that η² alone says little; p does. Values that
    were measured on one unit resemble each other: as independent ones they would make chance look like a pattern.

    Args:
        values: (n,) finite values.
        groups: (n,) label of the group of each.
        units: (n,) what each was measured on. If all values of a unit are in one group, whole units are dealt to the
            groups at random; otherwise the values are dealt within their unit. None if each is a unit of its own.

    Returns:
        None if all values are alike, or if there is one group, or as many as units that are dealt: nothing to explain
        with.
    """
    y, index = np.asarray(values, np.float64), _numbered(groups)
    unit = np.arange(len(y)) if units is None else _numbered(units)
    if len(y) < 2 or np.ptp(y) == 0:
        return None
    y, k = y - y.mean(), int(index.max()) + 1
    whole = len({*zip(unit.tolist(), index.tolist(), strict=True)}) == unit.max() + 1
    if k < 2 or k == (unit.max() + 1 if whole else len(y)):
        return None
    rng, found, total = np.random.default_rng(0), _between(y, index, k), float((y**2).sum())
    dealt = _whole_units(y, index, unit, rng) if whole else _within_units(y, index, unit, rng)
    least = found - 1e-12 * total  # deals that are alike but for rounding are as large, also about 0
    reached = sum(next(dealt) >= least for _ in range(RESAMPLES))
    return VarianceShare(found / total, (1 + reached) / (1 + RESAMPLES), k)


def _numbered(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    """Map labels to numbers, in the order of their first appearance."""
    numbers = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return np.array([numbers[label] for label in labels], np.int64)


def _between(sums: NDArray, index: NDArray, k: int, counts: NDArray | None = None) -> float:
    """Return the sum of squares between groups, of values about 0 or of the sums of as many values as ``counts``."""
    return float((np.bincount(index, sums, k) ** 2 / np.bincount(index, counts, k)).sum())


def _whole_units(
    y: NDArray[np.float64], index: NDArray[np.int64], unit: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[float]:
    """Yield the sum of squares between groups with the groups dealt to whole units at random."""
    sums, counts, k = np.bincount(unit, y), np.bincount(unit), int(index.max()) + 1
    own = np.zeros(len(sums), np.int64)
    own[unit] = index
    while True:
        yield _between(sums, rng.permutation(own), k, counts)


def _within_units(
    y: NDArray[np.float64], index: NDArray[np.int64], unit: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[float]:
    """Yield the sum of squares between groups with the values of each unit dealt among its own groups at random."""
    order, k = np.argsort(unit, kind="stable"), int(index.max()) + 1
    y, index, unit = y[order], index[order], unit[order]
    while True:
        yield _between(y[np.argsort(unit + rng.random(len(y)))], index, k)
