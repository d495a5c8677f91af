"""Compute simultaneous confidence intervals for paired losses along a segment (single-step max-t).

Every position saw the same windows; windows of one article count together, as one independent unit.

The largest of many differences is biased upwards if it is picked by the windows that measure it. With q the quantile of
the largest |t| of all that could have been picked, every one of them lies within q standard errors of its truth at
once (Hothorn, Bretz and Westfall 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.intervals import CONFIDENCE, Columns

DRAWS = 5000  # simulated largest falls: the Monte-Carlo error of their 95 % quantile is then about 2 %


@dataclass(frozen=True, eq=False)
class PairedLosses:
    """The losses at the positions that did not overflow, with the residuals that give the errors of differences."""

    finite: NDArray[np.bool_]
    """(n_α,) whether each position is one of these."""
    losses: NDArray[np.float64]
    """(m,) in nats per token."""
    residuals: NDArray[np.float64]
    """(m, n) linearised residuals of the ratio of sums, one for each of n windows or articles: their differences along
    α are the paired differences, centred. Articles of unequal size are scaled so that the same sum of squares is
    unbiased (``landscape.estimators.intervals.Columns``)."""
    df: float
    """Degrees of freedom of a standard error made of them; 0 with one window or article, which gives none."""
    falls: tuple[float, float]
    """95 % quantiles of the largest t and of the largest |t| among all differences of two positions."""

    @classmethod
    def of(cls, totals: NDArray[np.float64], tokens: NDArray[np.int64], blocks: NDArray | None = None) -> PairedLosses:
        """Build from NLL sums and scored tokens.

        Args:
            totals: (n_α, n_w) NLL sums; a position that overflowed is not finite in any window.
            tokens: (n_w,) scored tokens.
            blocks: (n_w,) labels; windows with the same one are not independent. None if all are.
        """
        finite = np.isfinite(totals[:, 0])  # a position that overflowed is infinite in every window
        losses = totals[finite].sum(1) / tokens.sum()
        residuals = (totals[finite] - tokens * losses[:, None]) / tokens.mean()
        residuals, df = _of_columns(residuals, Columns.of(tokens, blocks))
        return cls(finite, losses, residuals, df, _fall_quantiles(residuals, df))

    @property
    def bounded(self) -> bool:
        """Whether there are two windows, or articles, as a standard error needs."""
        return self.df > 0

    def se(self, contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the standard errors of differences with these residuals, (…, n)."""
        n = self.residuals.shape[1]
        return np.asarray(np.sqrt((contrasts**2).sum(-1) / (n * (n - 1))))

    def index(self, position: int) -> int:
        """Return the index of a position among the finite ones."""
        return int(self.finite[:position].sum())


def _of_columns(residuals: NDArray[np.float64], columns: Columns) -> tuple[NDArray[np.float64], float]:
    """Sum the residuals of windows, (m, n_w), to those of independent columns, (m, n); return their df too."""
    n = len(columns.share)
    if n < 2:
        return columns.sums(residuals), 0.0
    if columns.alone:
        return residuals, n - 1
    return columns.sums(residuals) * np.sqrt((n - 1) * columns.inflation), columns.df


def _fall_quantiles(residuals: NDArray[np.float64], df: float) -> tuple[float, float]:
    """Simulate the quantiles of the largest t and the largest |t| among all falls of a flat line with this noise.

    The draws are of the multivariate t with the covariance of the residuals, (n_α, n), with a fixed seed. For a single
    pair this is Student's t.
    """
    if not df > 0:
        return math.inf, math.inf
    noise, scale = _draws(residuals, df)
    largest, absolute = np.full(DRAWS, -np.inf), np.zeros(DRAWS)
    for i in range(1, len(residuals)):
        spread = np.linalg.norm(residuals[:i] - residuals[i], axis=1)
        differ = spread > 0
        if differ.any():
            falls = (noise[:i][differ] - noise[i]) / spread[differ, None]
            high, low = falls.max(0), falls.min(0)
            largest, absolute = np.maximum(largest, high), np.maximum(absolute, np.maximum(high, -low))
    if not absolute.any():  # every position alike in every window: nothing is uncertain
        return 0.0, 0.0
    return float(np.quantile(largest / scale, CONFIDENCE)), float(np.quantile(absolute / scale, CONFIDENCE))


def largest_quantile(contrasts: NDArray[np.float64], df: float) -> float:
    """Simulate the quantile of the largest |t| among differences with these residuals, (k, n)."""
    spread = np.linalg.norm(contrasts, axis=1)
    contrasts = contrasts[spread > 1e-9 * spread.max()]  # the ends are on the line, but for rounding
    if not contrasts.size:
        return 0.0
    noise, scale = _draws(contrasts, df)
    largest = np.abs(noise / np.linalg.norm(contrasts, axis=1)[:, None]).max(0)
    return float(np.quantile(largest / scale, CONFIDENCE))


def _draws(residuals: NDArray[np.float64], df: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw normals with the covariance of the residuals, (k, draws), and the divisors that make them t, (draws,)."""
    rng = np.random.default_rng(0)
    noise = residuals @ rng.standard_normal((residuals.shape[1], DRAWS))
    return noise, np.sqrt(rng.chisquare(df, DRAWS) / df)
