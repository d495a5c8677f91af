"""Allocate the next design of a search for R: how many directions and windows should make its interval narrow enough.

The components of variance of the losses around R say how much of the interval's width comes from directions, from
windows, and from both together. They predict the width of any larger design, and the cheapest one that should be
precise enough is approached.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from landscape.estimators.crossing import LOST, first_zero
from landscape.estimators.intervals import CONFIDENCE, Columns, article_count, mean_squares
from landscape.estimators.radial_losses import RadialProbes, excess, level_target

Array = NDArray[np.float64]

_GROWTH = 2  # how much more of either a round may ask for: its components of variance are no better known than that
_AIM = 0.9  # of the precision, so that a prediction that is a little too good does not cost another round


def next_design(
    probes: RadialProbes, precision: float, most: tuple[int, int], blocks: NDArray | None
) -> tuple[int, int] | None:
    """Choose the next design: towards the cheapest that should be precise enough, at most doubling either number.

    Args:
        probes: The losses around R so far.
        precision: Half width of R's interval over R that the search aims at.
        most: The most directions and the most windows.
        blocks: (n,) articles of all windows; None if each window is independent.

    Returns:
        Numbers of directions and windows; None if none are left to add.
    """
    lambdas, cells = np.concatenate([[0.0], probes.lambdas]), excess(probes, level_target(probes, LOST))
    crossed = first_zero(lambdas, cells.mean((0, 2)))
    n_d, _, n_w = cells.shape
    directions, windows = np.arange(n_d, most[0] + 1), np.arange(n_w, most[1] + 1)
    if crossed is None or len(directions) * len(windows) == 1:
        return None
    if article_count(probes.blocks) == 1:  # no component can be estimated
        return n_d, min(_GROWTH * n_w, most[1])
    i, radius, slope = crossed
    independent = independent_articles(blocks, most[1])
    components = VarianceComponents.of(cells[:, i], probes.blocks, float(independent[n_w - 1]))
    width = components.half_width(directions[:, None], independent[n_w - 1 :]) / slope / radius
    width[0, 0] = math.inf  # this design is not precise enough, whatever is predicted for it
    enough, cost = width <= _AIM * precision, np.multiply.outer(directions, windows)
    best = np.where(enough, cost, math.inf).argmin() if enough.any() else width.argmin()
    to_d, to_w = np.unravel_index(best, cost.shape)
    return min(int(directions[to_d]), _GROWTH * n_d), min(int(windows[to_w]), _GROWTH * n_w)


def independent_articles(blocks: NDArray | None, most: int) -> Array:
    """Count the articles of equal size that the first 1, 2, … windows are worth, (most,): ``n²/Σc²``, c windows each.

    They are worth as many as the windows if no two share an article. This takes windows of one article to add nothing
    to the first, which errs on the careful side; the interval itself, which ends the search, does not assume it.
    """
    if blocks is None:
        return np.arange(1.0, most + 1)
    squares, seen, total = [], Counter[object](), 0
    for label in blocks[:most].tolist():
        seen[label] += 1
        total += 2 * seen[label] - 1
        squares.append(total)
    return np.asarray(np.arange(1.0, most + 1) ** 2 / np.array(squares))


@dataclass(frozen=True)
class VarianceComponents:
    """Components of variance of a table of directions × articles: from one design they predict another."""

    directions: float
    """σ²_d, 0 where the estimate is negative."""
    windows: float
    """σ²_w of an article, or of a window where each is its own; 0 where the estimate is negative."""
    interaction: float
    """σ²_ε."""

    @classmethod
    def of(cls, cells: Array, blocks: NDArray | None, independent: float) -> VarianceComponents:
        """Estimate them from a table: two-way random effects, one observation a cell.

        Args:
            cells: (n_d, n_w), with at least two directions and two articles.
            blocks: (n_w,) articles; None if each window is independent.
            independent: Number of articles of equal size that these windows are worth.
        """
        columns = Columns.of(np.ones(cells.shape[1]), blocks)
        (of_d, of_w, rest), _ = mean_squares(cells, columns)
        n_d, n_b = len(cells), len(columns.share)
        size = independent / n_b  # 1 if the articles are of equal size
        return cls(max(0.0, (of_d - rest) / n_b), max(0.0, (of_w - rest) / n_d) * size, rest * size)

    def half_width(self, n_d: NDArray[np.int64], n_w: Array) -> Array:
        """Predict the half width of the grand mean's interval in other designs.

        Args:
            n_d: Numbers of directions.
            n_w: Numbers of articles of equal size, broadcast against the directions.
        """
        of_d, of_w, rest = self.directions / n_d, self.windows / n_w, self.interaction / (n_d * n_w)
        variance = of_d + of_w + rest
        # Satterthwaite's degrees of freedom, from the mean squares that ``crossed_error`` would meet on average.
        of_rest = 1 - (self.directions > 0) - (self.windows > 0)
        squares = (
            (self.directions > 0) * (of_d + rest) ** 2 / (n_d - 1)
            + (self.windows > 0) * (of_w + rest) ** 2 / (n_w - 1)
            + (of_rest * rest) ** 2 / ((n_d - 1) * (n_w - 1))
        )
        df = variance**2 / np.maximum(squares, np.finfo(np.float64).tiny)
        return np.asarray(np.sqrt(variance) * stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(df, 1)))
