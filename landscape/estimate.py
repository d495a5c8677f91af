"""Numbers with an interval: the t intervals of means over windows, and of means over directions × windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from quant.errors import UsageError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A measured value and its confidence interval."""

    value: float
    """The estimate itself; ``inf`` for the loss of a model whose output overflowed."""
    low: float
    """Lower end of the interval, ``-inf`` where the data cannot bound it."""
    high: float
    """Upper end of the interval, ``inf`` where the data cannot bound it."""


@dataclass(frozen=True)
class StandardError:
    """How uncertain a sample mean is."""

    value: float
    """Standard error of the mean; ``inf`` where the design cannot tell it, as with a single window."""
    df: float
    """Degrees of freedom of its t distribution."""

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Half the width of the two-sided t interval, never zero for want of data."""
        if not 0 < confidence < 1:
            raise UsageError(f"expected a confidence between 0 and 1, got {confidence}")
        if not math.isfinite(self.value):
            return math.inf
        return self.value * float(stats.t.ppf((1 + confidence) / 2, self.df))


UNKNOWN_ERROR = StandardError(math.inf, 1.0)


def mean_error(values: NDArray[np.float64]) -> StandardError:
    """Standard error of the mean of n independent values, shape (n,)."""
    n = len(values)
    if n < 2:
        return UNKNOWN_ERROR
    return StandardError(float(values.std(ddof=1)) / math.sqrt(n), n - 1)


def crossed_error(cells: NDArray[np.float64]) -> StandardError:
    """Standard error of the grand mean of a crossed table: every direction sees the same windows.

    With ``x_dw = μ + δ_d + ω_w + ε_dw`` the grand mean has the variance ``σ²_d/n_d + σ²_w/n_w + σ²_ε/(n_d n_w)``, which
    ``V = (MS_d + MS_w − MS_dw)/(n_d n_w)`` estimates (two-way random effects, one observation a cell; the degrees of
    freedom are Satterthwaite's, 1946). Taking the cells for independent, or resampling one factor only, leaves out
    most of it.

    Args:
        cells: (n_d, n_w), finite. With one row or one column a component cannot be estimated and the error is infinite.
    """
    n_d, n_w = cells.shape
    if min(n_d, n_w) < 2:
        return UNKNOWN_ERROR
    rows, columns, mean = cells.mean(1, keepdims=True), cells.mean(0, keepdims=True), cells.mean()
    df = np.array([n_d - 1, n_w - 1, (n_d - 1) * (n_w - 1)], dtype=np.float64)
    sums = (
        ((rows - mean) ** 2).sum() * n_w,
        ((columns - mean) ** 2).sum() * n_d,
        ((cells - rows - columns + mean) ** 2).sum(),
    )
    squares = np.array(sums) / df  # MS_d, MS_w, MS_dw
    # A main effect whose mean square is below the interaction's has a negative variance estimate: it counts as zero.
    share = np.array([squares[0] > squares[2], squares[1] > squares[2], 0.0])
    share[2] = 1 - share.sum()
    variance = float(share @ squares)
    if variance == 0:  # every cell alike: the interval has no width, whatever the degrees of freedom
        return StandardError(0.0, float(df.min()))
    return StandardError(math.sqrt(variance / (n_d * n_w)), variance**2 / float(((share * squares) ** 2 / df).sum()))


def paired_error(totals: NDArray[np.float64], reference: NDArray[np.float64], tokens: NDArray) -> StandardError:
    """Standard error over windows of the token-weighted difference of two losses on the same windows.

    The difference is a ratio of two sums over windows, linearised: a window contributes ``(ΔT_w − n_w·ΔL)/n̄``.

    Args:
        totals: (n_w,) NLL sums, finite.
        reference: (n_w,) NLL sums of the other point, finite.
        tokens: (n_w,) scored tokens.
    """
    difference = totals - reference
    return mean_error((difference - tokens * difference.sum() / tokens.sum()) / tokens.mean())


def paired_difference(
    totals: NDArray[np.float64], center: NDArray[np.float64], tokens: NDArray, confidence: float = CONFIDENCE
) -> Estimate:
    """``ΔL``, the loss of a point less the loss at w, in nats per token, with a t interval over the windows.

    Args:
        totals: (n_w,) NLL sums of the point. One that is not finite is an overflow: ΔL is ``inf``, unbounded.
        center: (n_w,) NLL sums at w, over the same windows; finite.
        tokens: (n_w,) scored tokens.
        confidence: Of the two-sided interval. One window gives an infinite one.

    Raises:
        UsageError: the arrays do not fit each other, or the reference is not finite.
    """
    totals, center, tokens = np.asarray(totals, np.float64), np.asarray(center, np.float64), np.asarray(tokens)
    if not totals.shape == center.shape == tokens.shape or totals.ndim != 1 or totals.size == 0:
        shapes = f"{totals.shape}, {center.shape}, {tokens.shape}"
        raise UsageError(f"expected totals, center and tokens of the same windows, got shapes {shapes}")
    if not np.isfinite(center).all():
        raise UsageError("expected finite losses at w, got NaN or infinity: evaluate w in a wider dtype")
    if not np.isfinite(totals).all():
        return Estimate(math.inf, -math.inf, math.inf)
    value = float((totals - center).sum() / tokens.sum())
    half = paired_error(totals, center, tokens).half_width(confidence)
    return Estimate(value, value - half, value + half)
