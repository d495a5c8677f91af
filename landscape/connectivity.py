"""Is there a ridge between two points? The loss along the straight segment that joins them.

Xu et al. 2024, §4.3: two points are *simply connected* if the loss along the segment between them is monotonic, without
a ridge in the middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant.errors import UsageError

ONE_SIDED = 0.95
DRAWS = 5000  # of the largest fall that noise makes: the Monte-Carlo error of its 95 % quantile is then about 2 %


@dataclass(frozen=True)
class Connectivity:
    """What the loss does on the way from the low-loss end of a segment to the other. Losses in nats per token."""

    prominence: float
    """``P = max_α [max_{α'≤α} L(α') − L(α)]``, α running from the low end: the deepest fall, 0 if the loss never falls.
    A dip right after the low end is a fall too; then ``ridge_alpha`` is the low end itself."""
    ridge_alpha: float
    """α' of that fall, its top; in the caller's α, not counted from the low end."""
    valley_alpha: float
    """α of that fall, its bottom; equal to ``ridge_alpha`` if P is 0."""
    low_end: float
    """0 or 1: the α of the end with the lower loss, 0 if they are equal."""
    dip: float
    """How far the loss falls below the low end anywhere on the segment, at least 0."""
    barrier: float
    """``max_α [L(α) − ((1−α)·L(a) + α·L(b))]``, above the straight line between the ends."""
    barrier_max: float
    """``max_α L(α) − max(L(a), L(b))``, above the higher end: it misses a ridge lower than that."""
    noise: float | None
    """The largest P that the choice of windows alone would explain; None with one window, or an infinite P."""
    monotonic: bool | None
    """Whether P is 0 or within the noise; None if one window leaves that open, or the loss is finite at neither end."""


def connectivity(alphas: NDArray[np.float64], totals: NDArray[np.float64], tokens: NDArray[np.int64]) -> Connectivity:
    """Measure the ridge, the dip and the barriers of a segment ``(1−α)a + αb``.

    Args:
        alphas: (n_α,) strictly increasing, with 0 and 1 among them; those outside [0, 1] are ignored.
        totals: (n_α, n_w) NLL sums in nats. A position with a NaN or infinite sum overflowed: it counts as infinitely
            high, and as level with the others that did.
        tokens: (n_w,) scored tokens.

    Raises:
        UsageError: shapes do not fit, or an end is missing.
    """
    alphas, totals, tokens = np.asarray(alphas, np.float64), np.asarray(totals, np.float64), np.asarray(tokens)
    _check(alphas, totals, tokens)
    between = (alphas >= 0) & (alphas <= 1)
    alphas, totals = alphas[between], totals[between]
    totals = np.where(np.isfinite(totals).all(1, keepdims=True), totals, np.inf)
    losses = totals.sum(1) / tokens.sum()
    from_low = slice(None, None, -1 if losses[0] > losses[-1] else 1)
    alphas, totals, losses = alphas[from_low], totals[from_low], losses[from_low]
    low, high = losses[0], losses[-1]
    along = np.abs(alphas - alphas[0])
    straight = (1 - along) * low + along * high if np.isfinite(high) else np.full_like(losses, np.inf)
    top, bottom = _deepest_fall(losses)
    prominence = float(losses[top] - losses[bottom]) if top < bottom else 0.0
    noise = _noise(totals, tokens, top, bottom)
    return Connectivity(
        prominence=prominence,
        ridge_alpha=float(alphas[top]),
        valley_alpha=float(alphas[bottom]),
        low_end=float(alphas[0]),
        dip=float(_rise(losses, low).max()),
        barrier=float(_rise(straight, losses).max()),
        barrier_max=float(_rise(high, losses).max()),
        noise=noise,
        monotonic=_is_monotonic(prominence, noise) if np.isfinite(low) else None,
    )


def _check(alphas: NDArray[np.float64], totals: NDArray[np.float64], tokens: NDArray[np.int64]) -> None:
    if tokens.ndim != 1 or tokens.size == 0 or not (tokens > 0).all():
        raise UsageError(f"expected the number of scored tokens of each window, all above 0, got {tokens}")
    if alphas.ndim != 1 or totals.shape != (len(alphas), len(tokens)):
        raise UsageError(f"expected totals of shape {(alphas.size, len(tokens))}, got {totals.shape}")
    if not (np.diff(alphas) > 0).all() or not {0.0, 1.0} <= set(alphas.tolist()):
        raise UsageError(f"expected strictly increasing alphas with 0 and 1 among them, got {alphas}")


def _deepest_fall(losses: NDArray[np.float64]) -> tuple[int, int]:
    """Indices of the top and the bottom of the deepest fall; (0, 0) if the losses never fall."""
    bottom = int(np.argmax(_rise(losses, np.maximum.accumulate(losses))))
    return int(np.argmax(losses[: bottom + 1])), bottom


def _rise(start: ArrayLike, end: ArrayLike) -> NDArray[np.float64]:
    """``end − start``; nothing rises above infinity."""
    start, end = np.broadcast_arrays(np.asarray(start, np.float64), np.asarray(end, np.float64))
    return np.asarray(np.subtract(end, start, out=np.zeros(start.shape), where=np.isfinite(start)))


def _is_monotonic(prominence: float, noise: float | None) -> bool | None:
    if math.isinf(prominence):
        return False
    return None if noise is None else prominence <= noise


def _noise(totals: NDArray[np.float64], tokens: NDArray[np.int64], top: int, bottom: int) -> float | None:
    """How deep a fall from ``top`` to ``bottom`` windows alone can make, one-sided at 95 %: ``q × se``.

    ``se`` is the paired standard error over windows of the difference. P is the largest of many falls, so q is the
    quantile of the largest t of all pairs. That of one pair chosen beforehand called 3 % (smooth noise) to 75 % (rough)
    of simulated flat segments with 13 positions ridged; this one at most 7 %, with 2 or 4 windows 11 %.
    """
    if top == bottom:
        return 0.0
    finite = np.isfinite(totals[:, 0])  # a position that overflowed is infinite in every window
    if len(tokens) < 2 or not finite[top]:
        return None
    losses = totals.sum(1, keepdims=True) / tokens.sum()
    # Linearised residuals of the ratio of sums: their differences along α are the paired differences, centred.
    residuals = (totals[finite] - tokens * losses[finite]) / tokens.mean()
    fall = residuals[finite[:top].sum()] - residuals[finite[:bottom].sum()]
    se = math.sqrt(float(fall @ fall) / (len(tokens) * (len(tokens) - 1)))
    return se * _largest_t_quantile(residuals) if se > 0 else 0.0


def _largest_t_quantile(residuals: NDArray[np.float64]) -> float:
    """Quantile of the largest t among all falls of a flat line with the noise of these residuals, (n_α, n_w).

    The multivariate t with the covariance of the residuals (single-step max-t: Hothorn, Bretz and Westfall 2008), drawn
    with a fixed seed. For a single pair it is Student's t with n_w − 1 degrees of freedom.
    """
    n_w = residuals.shape[1]
    rng = np.random.default_rng(0)
    noise = residuals @ rng.standard_normal((n_w, DRAWS))  # (n_α, draws)
    scale = np.sqrt(rng.chisquare(n_w - 1, DRAWS) / (n_w - 1))
    largest = np.full(DRAWS, -np.inf)
    for i in range(1, len(residuals)):
        spread = np.linalg.norm(residuals[:i] - residuals[i], axis=1)
        differ = spread > 0
        if differ.any():
            falls = (noise[:i][differ] - noise[i]) / spread[differ, None]
            largest = np.maximum(largest, falls.max(0))
    return float(np.quantile(largest / scale, ONE_SIDED))
