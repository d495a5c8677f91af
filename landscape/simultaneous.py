"""How far the differences along a line may be off, all of them at once, when every position saw the same windows.

The largest of many differences is biased upwards if it is picked by the windows that measure it. With q the quantile of
the largest |t| of all that could have been picked, every one of them lies within q standard errors of its truth at
once: single-step max-t (Hothorn, Bretz and Westfall 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.estimate import CONFIDENCE

ONE_SIDED = 0.95
DRAWS = 5000  # of the largest fall that noise makes: the Monte-Carlo error of its 95 % quantile is then about 2 %


@dataclass(frozen=True, eq=False)
class PairedLosses:
    """The losses at the positions that did not overflow, with what the windows say of the errors of differences."""

    finite: NDArray[np.bool_]
    """(n_α,) which positions these are."""
    losses: NDArray[np.float64]
    """(m,) in nats per token."""
    residuals: NDArray[np.float64]
    """(m, n_w) of the ratio of sums, linearised: their differences along α are the paired differences, centred."""
    falls: tuple[float, float]
    """95 % quantiles of the largest t and of the largest |t| among all differences of two positions."""

    @classmethod
    def of(cls, totals: NDArray[np.float64], tokens: NDArray[np.int64]) -> PairedLosses:
        """From NLL sums, (n_α, n_w), those of an overflow not finite in any window, and scored tokens, (n_w,)."""
        finite = np.isfinite(totals[:, 0])  # a position that overflowed is infinite in every window
        losses = totals[finite].sum(1) / tokens.sum()
        residuals = (totals[finite] - tokens * losses[:, None]) / tokens.mean()
        return cls(finite, losses, residuals, _fall_quantiles(residuals))

    @property
    def windows(self) -> int:
        """n_w."""
        return int(self.residuals.shape[1])

    def se(self, contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard errors of differences whose residuals these are, (…, n_w)."""
        square = (contrasts**2).sum(-1) / (self.windows * (self.windows - 1))
        return np.asarray(np.sqrt(square))

    def index(self, position: int) -> int:
        """Where a position is among the finite ones."""
        return int(self.finite[:position].sum())


def _fall_quantiles(residuals: NDArray[np.float64]) -> tuple[float, float]:
    """Quantiles of the largest t and of the largest |t| among all falls of a flat line with this noise, (n_α, n_w).

    The multivariate t with the covariance of the residuals, drawn with a fixed seed. For a single pair it is Student's
    t with n_w − 1 degrees of freedom.
    """
    if residuals.shape[1] < 2:
        return math.inf, math.inf
    noise, scale = _draws(residuals)
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
    return float(np.quantile(largest / scale, ONE_SIDED)), float(np.quantile(absolute / scale, CONFIDENCE))


def largest_quantile(contrasts: NDArray[np.float64]) -> float:
    """Quantile of the largest |t| among differences whose residuals these are, (k, n_w)."""
    spread = np.linalg.norm(contrasts, axis=1)
    contrasts = contrasts[spread > 1e-9 * spread.max()]  # the ends are on the line, but for rounding
    if not contrasts.size:
        return 0.0
    noise, scale = _draws(contrasts)
    largest = np.abs(noise / np.linalg.norm(contrasts, axis=1)[:, None]).max(0)
    return float(np.quantile(largest / scale, CONFIDENCE))


def _draws(residuals: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal draws with the covariance of the residuals, (k, draws), and the factor that makes them t, (draws,)."""
    n_w = residuals.shape[1]
    rng = np.random.default_rng(0)
    noise = residuals @ rng.standard_normal((n_w, DRAWS))
    return noise, np.sqrt(rng.chisquare(n_w - 1, DRAWS) / (n_w - 1))
