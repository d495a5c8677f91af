"""Estimate means with t intervals, over windows and over directions × windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

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
    """The standard error of a sample mean."""

    value: float
    """The standard error; ``inf`` where the design cannot estimate it, as with a single window."""
    df: float
    """Degrees of freedom of its t distribution."""

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Compute half the width of the two-sided t interval; infinite, never zero, for want of data."""
        if not 0 < confidence < 1:
            raise UsageError(f"expected a confidence between 0 and 1, got {confidence}")
        if not math.isfinite(self.value):
            return math.inf
        return self.value * float(special.stdtrit(self.df, (1 + confidence) / 2))

    def interval(self, mean: float, confidence: float = CONFIDENCE) -> Estimate:
        """Return the mean with its two-sided t interval."""
        half = self.half_width(confidence)
        return Estimate(mean, mean - half, mean + half)


UNKNOWN_ERROR = StandardError(math.inf, 1.0)


def honest_half_width(half: float, bias: float, confidence: float = CONFIDENCE) -> float:
    """Return half the width of an interval that keeps its level although the estimate may be off by up to a known bias.

    It is that quantile of ``|Z + bias/σ|·σ`` (Armstrong and Kolesár 2020, "Simple and honest confidence
    intervals in nonparametric regression"): a bias far below the noise adds next to nothing, one far above it adds
    itself. A t interval is widened by the same factor as a normal one.

    Args:
        half: Half the width of the interval without bias.
        bias: The largest bias.
        confidence: Confidence of the interval.
    """
    if bias == 0 or not 0 < half < math.inf:
        return half + bias
    both, one = (float(special.ndtri(p)) for p in ((1 + confidence) / 2, confidence))
    shift = both * bias / half

    def excess(width: float) -> float:
        return float(special.ndtr(width - shift) - special.ndtr(-width - shift)) - confidence

    # The quantile lies between the one-sided and the two-sided one; a margin keeps rounding from hiding the sign.
    return half * float(brentq(excess, shift + one - 1, shift + both + 1)) / both


def crossed_error(
    cells: NDArray[np.float64], tokens: NDArray | None = None, blocks: NDArray | None = None, fixed: bool = False
) -> StandardError:
    """Estimate the standard error of the grand mean of a crossed table: every direction sees the same windows.

    With ``x_dw = μ + δ_d + ω_w + ε_dw`` the grand mean has the variance ``σ²_d/n_d + σ²_w/n_w + σ²_ε/(n_d n_w)``, which
    ``V = (MS_d + MS_w − MS_dw)/(n_d n_w)`` estimates (two-way random effects, one observation a cell; the degrees of
    freedom are Satterthwaite's, 1946). To treat the cells as independent, or to resample one factor only, leaves out
    most of it.

    Windows of unequal length, and blocks of them, are columns of unequal size. The grand mean is then a ratio of sums
    over columns; a column's residual is its contribution beyond its share (``Columns``), and a cell's residual is its
    contribution beyond its row's share. V is the two-way clustered variance (Cameron, Gelbach and Miller 2011), exactly
    as above if the columns are equal.

    Args:
        cells: (n_d, n_w), finite: sums over a window divided by the mean token count, so that their plain mean is the
            token-weighted one. With one row or one column a component cannot be estimated and the error is infinite.
        tokens: (n_w,) scored tokens; None if all are alike.
        blocks: (n_w,) labels; windows with the same one are not independent. None if all are.
        fixed: Whether the directions are given ones, not a sample of a family: then windows alone are uncertain.
    """
    columns = Columns.of(np.ones(cells.shape[1]) if tokens is None else tokens, blocks)
    n_d, n_b = len(cells), len(columns.share)
    if n_b < 2 or (n_d < 2 and not fixed):
        return UNKNOWN_ERROR
    if fixed:
        table = columns.sums(cells)
        means = (table - table.mean() * n_b * columns.share).mean(0)
        return StandardError(math.sqrt(float((means**2 * columns.inflation).sum() / n_b)), columns.df)
    squares, df = mean_squares(cells, columns)
    # A main effect whose mean square is below the interaction's has a negative variance estimate: it counts as zero.
    share = np.array([squares[0] > squares[2], squares[1] > squares[2], 0.0])
    share[2] = 1 - share.sum()
    variance = float(share @ squares)
    if variance == 0:  # every cell alike: the interval has no width, whatever the degrees of freedom
        return StandardError(0.0, float(df.min()))
    return StandardError(math.sqrt(variance / (n_d * n_b)), variance**2 / float(((share * squares) ** 2 / df).sum()))


def mean_squares(cells: NDArray[np.float64], columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the mean squares ``MS_d``, ``MS_w`` and ``MS_dw`` of a crossed table, and their degrees of freedom.

    Args:
        cells: (n_d, n_w), as ``crossed_error`` takes them; at least two rows.
        columns: The independent columns of the table, at least two.
    """
    n_d, n_b = len(cells), len(columns.share)
    table = columns.sums(cells)
    table = table - table.mean() * n_b * columns.share
    rows, means = table.mean(1, keepdims=True), table.mean(0)
    rest = table - rows * n_b * columns.share - means
    squares = [
        (rows**2).sum() * n_b / (n_d - 1),
        (means**2 * columns.inflation).sum() * n_d,
        (rest**2 * columns.inflation).sum() / (n_d - 1),
    ]
    return np.array(squares), np.array([n_d - 1, columns.df, (n_d - 1) * columns.df])


def article_count(blocks: NDArray | None) -> int | None:
    """Count the articles among these labels; None if they are not known."""
    return None if blocks is None else len(np.unique(blocks))


@dataclass(frozen=True, eq=False)
class Columns:
    """The independent columns of a table, of unequal size: windows, or blocks of windows that depend on each other.

    If a column's sum has a variance proportional to its size, its residual from the ratio of sums, ``y_b − p_b·Σy``,
    has lost the part ``p_b`` of this variance: a large column pulls the mean towards itself. Each square is therefore
    divided by ``1 − p_b``, and the sum of squares has the degrees of freedom that match its first two moments,
    ``1/[Σp_b² + Σ_{b≠c} p_b²p_c²/((1−p_b)(1−p_c))]`` (Bell and McCaffrey 2002; Imbens and Kolesár 2016, for a mean).
    With n equal columns these are the usual n/(n − 1) and n − 1.
    """

    index: NDArray[np.int64]
    """(n_w,) index of the column that each window belongs to."""
    share: NDArray[np.float64]
    """(n_b,) p_b, the share of all tokens."""

    @classmethod
    def of(cls, tokens: NDArray, blocks: NDArray | None = None) -> Columns:
        """Group windows with these token counts and block labels, both (n_w,), into columns."""
        index = np.arange(len(tokens)) if blocks is None else _numbered(blocks)
        return cls(index, np.bincount(index, weights=tokens) / tokens.sum())

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over the windows of each column, scaled to have the mean of the values: (…, n_w) to (…, n_b)."""
        n_b = len(self.share)
        return np.asarray(values @ (self.index[:, None] == np.arange(n_b)) * (n_b / len(self.index)))

    @property
    def alone(self) -> bool:
        """Whether every window is a column of its own."""
        return len(self.share) == len(self.index)

    @property
    def inflation(self) -> NDArray[np.float64]:
        """(n_b,) factor ``1/(n_b·(1 − p_b))`` by which a squared residual enters the variance."""
        return np.asarray(1 / (len(self.share) * (1 - self.share)))

    @property
    def df(self) -> float:
        """Degrees of freedom of the residuals' sum of squares."""
        pull = self.share**2 / (1 - self.share)
        return float(1 / ((self.share**2).sum() + pull.sum() ** 2 - (pull**2).sum()))


def _numbered(labels: NDArray) -> NDArray[np.int64]:
    """Map labels to numbers, in the order of their first appearance: windows that are all alone keep their order."""
    _, first, index = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[index])


def paired_error(
    totals: NDArray[np.float64], reference: NDArray[np.float64], tokens: NDArray, blocks: NDArray | None = None
) -> StandardError:
    """Estimate the standard error over windows of the token-weighted difference of two losses on the same windows.

    The difference is a ratio of two sums over windows, linearised: a window contributes ``(ΔT_w − n_w·ΔL)/n̄``.

    Args:
        totals: (n_w,) NLL sums, finite.
        reference: (n_w,) NLL sums of the other point, finite.
        tokens: (n_w,) scored tokens.
        blocks: (n_w,) labels; windows with the same one are not independent. None if all are.
    """
    columns = Columns.of(tokens, blocks)
    n_b = len(columns.share)
    if n_b < 2:
        return UNKNOWN_ERROR
    difference = totals - reference
    residuals = columns.sums((difference - tokens * difference.sum() / tokens.sum()) / tokens.mean())
    return StandardError(math.sqrt(float((residuals**2 * columns.inflation).sum() / n_b)), columns.df)


def paired_difference(
    totals: NDArray[np.float64],
    center: NDArray[np.float64],
    tokens: NDArray,
    confidence: float = CONFIDENCE,
    blocks: NDArray | None = None,
) -> Estimate:
    """Estimate ``ΔL``, the loss of a point less the loss at w, in nats per token, with a t interval over the windows.

    Args:
        totals: (n_w,) NLL sums of the point. One that is not finite is an overflow: ΔL is ``inf``, unbounded.
        center: (n_w,) NLL sums at w, over the same windows; finite.
        tokens: (n_w,) scored tokens.
        confidence: Confidence of the two-sided interval. One window, or one block, gives an infinite interval.
        blocks: (n_w,) labels; windows with the same one are not independent. None if all are.

    Raises:
        UsageError: The arrays do not fit each other, or the reference is not finite.
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
    return paired_error(totals, center, tokens, blocks).interval(value, confidence)


def paired_ratio(
    totals: NDArray[np.float64],
    reference: NDArray[np.float64],
    center: NDArray[np.float64],
    tokens: NDArray,
    confidence: float = CONFIDENCE,
    blocks: NDArray | None = None,
) -> Estimate | None:
    """Estimate ``ΔL / ΔL'``, the rise of the loss at one point over that at another, with a t interval over windows.

    Both rises are ratios of sums over the same windows. Their ratio is linearised: a window contributes
    ``ΔT_w − r·ΔT'_w``.

    Args:
        totals: (n_w,) NLL sums of the point.
        reference: (n_w,) NLL sums of the other point.
        center: (n_w,) NLL sums at w, finite.
        tokens: (n_w,) scored tokens.
        confidence: Confidence of the two-sided interval.
        blocks: (n_w,) labels; windows with the same one are not independent. None if all are.

    Returns:
        None if the other point's loss is not above that at w, or not finite: there is nothing to divide. ``inf``,
        unbounded, where the point's own loss is not finite.
    """
    whole = float((reference - center).sum())
    if not 0 < whole < math.inf:
        return None
    if not np.isfinite(totals).all():
        return Estimate(math.inf, -math.inf, math.inf)
    value = float((totals - center).sum()) / whole
    scale = float(tokens.sum()) / whole  # residuals are per token of ΔL'
    mix = (totals - center) - value * (reference - center)
    return paired_error(scale * mix, np.zeros_like(mix), tokens, blocks).interval(value, confidence)
