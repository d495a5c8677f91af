"""Look for a ridge in the loss along the straight segment that joins two points.

Xu et al. 2024, §4.3: two points are *simply connected* if the loss along the segment between them is monotonic, without
a ridge in the middle.

The number reported is the largest of many differences along α, picked by the same windows that measure it: it is biased
upwards, and its own t interval covers too seldom. The intervals here are simultaneous: with q the 95 % quantile of the
largest |t| of all differences that could have been picked, all of them lie within q standard errors of their truth at
once, and so does the largest, in the data or in truth. They hold for the positions probed: a ridge between two of these
can be higher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landscape.estimators.intervals import Estimate
from landscape.estimators.max_t import PairedLosses, largest_quantile
from quant.errors import UsageError


@dataclass(frozen=True)
class Connectivity:
    """The shape of the loss from the low-loss end of a segment to the other; losses in nats per token."""

    prominence: float
    """``P = max_α [max_{α'≤α} L(α') − L(α)]``, α running from the low end: the deepest fall, 0 if the loss never falls.
    A dip right after the low end is a fall too: ``ridge_alpha`` is then the low end itself."""
    ridge_alpha: float
    """α' at the top of that fall; in the caller's α, not counted from the low end."""
    valley_alpha: float
    """α at the bottom of that fall; equal to ``ridge_alpha`` if P is 0."""
    low_end: float
    """α of the end with the lower loss, 0 or 1; 0 if they are equal."""
    dip: float
    """Largest fall of the loss below the low end anywhere on the segment, at least 0."""
    barrier: float
    """``max_α [L(α) − ((1−α)·L(a) + α·L(b))]``, above the straight line between the ends."""
    barrier_alpha: float
    """α of the barrier; an end if the loss is nowhere above the line."""
    barrier_max: float
    """``max_α L(α) − max(L(a), L(b))``, above the higher end: a ridge lower than that end does not show."""
    barrier_max_alpha: float
    """α of the highest loss; an end if no loss is above the ends'."""
    prominence_interval: Estimate
    """P with its 95 % interval over paired windows, which allows for the choice of both α (see the module). The low end
    belongs to the fall picked; the high end is the most that any fall may be. Unbounded with one window or article, or
    after an overflow."""
    barrier_interval: Estimate
    """``barrier`` with its 95 % interval, likewise."""
    barrier_max_interval: Estimate
    """``barrier_max`` with its 95 % interval, likewise."""
    noise: float | None
    """The largest P that the choice of windows alone would explain; None with one window or article, or an infinite P.
    This test is one-sided, so that a P just beyond it can have an interval that begins at 0."""
    monotonic: bool | None
    """Whether P is 0 or within the noise; None with one window or article, which leaves it open, or if the loss is
    finite at neither end."""


def connectivity(
    alphas: NDArray[np.float64], totals: NDArray[np.float64], tokens: NDArray[np.int64], blocks: NDArray | None = None
) -> Connectivity:
    """Measure the ridge, the dip and the barriers of a segment ``(1−α)a + αb``.

    Args:
        alphas: (n_α,) strictly increasing, with 0 and 1 among them; those outside [0, 1] are ignored.
        totals: (n_α, n_w) NLL sums in nats. A position with a NaN or infinite sum overflowed: it counts as infinitely
            high, and as level with the others that did.
        tokens: (n_w,) scored tokens.
        blocks: (n_w,) labels; windows with the same one, as those of one article, are not independent. None if all are.

    Raises:
        UsageError: The shapes do not fit, or an end is missing.
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
    top, bottom = deepest_fall(losses)
    prominence = float(losses[top] - losses[bottom]) if top < bottom else 0.0
    above_line, above_ends = _rise(straight, losses), _rise(high, losses)
    over_line, over_ends = int(np.argmax(above_line)), int(np.argmax(above_ends))
    paired = PairedLosses.of(totals, tokens, blocks)
    noise = _noise(paired, top, bottom)
    return Connectivity(
        prominence=prominence,
        ridge_alpha=float(alphas[top]),
        valley_alpha=float(alphas[bottom]),
        low_end=float(alphas[0]),
        dip=float(_rise(losses, low).max()),
        barrier=float(above_line.max()),
        barrier_alpha=float(alphas[over_line]),
        barrier_max=float(above_ends.max()),
        barrier_max_alpha=float(alphas[over_ends]),
        prominence_interval=_fall_interval(prominence, paired, top, bottom),
        barrier_interval=_barrier_interval(float(above_line.max()), paired, along, over_line),
        barrier_max_interval=_barrier_max_interval(float(above_ends.max()), paired, over_ends),
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


def deepest_fall(losses: NDArray[np.float64]) -> tuple[int, int]:
    """Find the indices of the top and the bottom of the deepest fall; (0, 0) if the losses never fall."""
    bottom = int(np.argmax(_rise(losses, np.maximum.accumulate(losses))))
    return int(np.argmax(losses[: bottom + 1])), bottom


def _rise(start: ArrayLike, end: ArrayLike) -> NDArray[np.float64]:
    """Compute ``end − start``; nothing rises above infinity."""
    start, end = np.broadcast_arrays(np.asarray(start, np.float64), np.asarray(end, np.float64))
    return np.asarray(np.subtract(end, start, out=np.zeros(start.shape), where=np.isfinite(start)))


def _is_monotonic(prominence: float, noise: float | None) -> bool | None:
    if math.isinf(prominence):
        return False
    return None if noise is None else prominence <= noise


# ---- noise and intervals over paired windows ------------------------------------------------------------------------


def _noise(paired: PairedLosses, top: int, bottom: int) -> float | None:
    """Bound the fall from ``top`` to ``bottom`` that windows alone can make, one-sided at 95 %: ``q × se``.

    ``se`` is the paired standard error over windows of the difference. P is the largest of many falls, so q is the
    quantile of the largest t of all pairs. The quantile for one pair chosen beforehand called 3 % (smooth noise) to
    75 % (rough) of simulated flat segments with 13 positions ridged; this one at most 7 %, with 2 or 4 windows 11 %.
    """
    if top == bottom:
        return 0.0
    if not paired.bounded or not paired.finite[top]:
        return None
    fall = paired.residuals[paired.index(top)] - paired.residuals[paired.index(bottom)]
    se = float(paired.se(fall))
    return se * paired.falls[0] if se > 0 else 0.0


def _fall_interval(value: float, paired: PairedLosses, top: int, bottom: int) -> Estimate:
    """Bound P: at least the fall picked less q se, at most the largest of ``fall + q se`` over all falls."""
    if not paired.bounded or not math.isfinite(value):
        return _unbounded(value)
    low = high = 0.0
    for i in range(1, len(paired.losses)):
        falls = paired.losses[:i] - paired.losses[i]
        wide = paired.falls[1] * paired.se(paired.residuals[:i] - paired.residuals[i])
        high = max(high, float((falls + wide).max()))
        if top < bottom and i == paired.index(bottom):
            low = max(0.0, float((falls - wide)[paired.index(top)]))
    return Estimate(value, low, high)


def _barrier_interval(value: float, paired: PairedLosses, along: NDArray[np.float64], picked: int) -> Estimate:
    """Bound the barrier over the straight line; ``along`` runs from 0 at the low end to 1."""
    if not paired.bounded or not (math.isfinite(value) and paired.finite[[0, -1]].all()):
        return _unbounded(value)
    share = along[paired.finite]
    above, residuals = (
        values - np.multiply.outer(1 - share, values[0]) - np.multiply.outer(share, values[-1])
        for values in (paired.losses, paired.residuals)
    )
    wide = largest_quantile(residuals, paired.df) * paired.se(residuals)
    low = float((above - wide)[paired.index(picked)])
    return Estimate(value, max(0.0, low), max(0.0, float((above + wide).max())))


def _barrier_max_interval(value: float, paired: PairedLosses, picked: int) -> Estimate:
    """Bound the barrier over the higher end: at each position, the lesser of the rises over the two ends."""
    if not paired.bounded or not (math.isfinite(value) and paired.finite[[0, -1]].all()):
        return _unbounded(value)
    above = np.stack([paired.losses - paired.losses[end] for end in (0, -1)])  # (2, m)
    wide = np.stack([paired.falls[1] * paired.se(paired.residuals - paired.residuals[end]) for end in (0, -1)])
    low = float((above - wide).min(0)[paired.index(picked)])
    return Estimate(value, max(0.0, low), max(0.0, float((above + wide).min(0).max())))


def _unbounded(value: float) -> Estimate:
    return Estimate(value, 0.0 if math.isfinite(value) else -math.inf, math.inf)
