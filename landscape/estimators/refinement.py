"""Choose where along a segment to probe next: refine α adaptively where the profile bends.

Between two neighbours linear interpolation misses about ``h²·|L″|/8`` of a profile. A position is added where this
error is largest, in nats: first beside the ridge's top, the valley's bottom and the barriers' maxima, and only where it
is more than noise. The bend must stand out of its own paired standard error, and the error must count beside the
standard error of the loss. All positions are from one dyadic lattice, each the simplest dyadic fraction near the middle
of its interval, so that every run asks for the same. The standard errors here treat every window as independent,
whatever its article: they choose where to look, and are reported nowhere.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.connectivity import deepest_fall

FINEST = 6
"""Positions are multiples of 2⁻⁶: a ridge is found to a 64th of the segment at best."""
RESOLVED = 0.5
"""An interval is resolved when interpolation misses less than this many standard errors of the loss."""
CLEAR = 3.0
"""A bend of fewer than this many of its own standard errors over paired windows is not followed."""
LEAST = 1e-3
"""Nats per token, a tenth of a percent of perplexity: a smaller error is not worth a probe."""

Array = NDArray[np.float64]


def next_alpha(alphas: Array, totals: Array, tokens: NDArray[np.int64]) -> float | None:
    """Choose the position to add to a segment; None where it is resolved to the noise or to the lattice.

    Args:
        alphas: (n_α,) strictly increasing, with 0 and 1 among them. Positions outside [0, 1] help to estimate the
            curvature at the ends; none is added there.
        totals: (n_α, n_w) NLL sums in nats. None is added beside a position that is not finite.
        tokens: (n_w,) scored tokens. One window alone shows no noise: every bend counts then.
    """
    losses = totals.sum(1) / tokens.sum()
    residuals = _residuals(alphas, totals, tokens)
    missed = _missed(alphas, losses, residuals)
    noise = _standard_errors(residuals)
    middles = [_dyadic(low, high) for low, high in pairwise(alphas.tolist())]
    inside = (alphas[:-1] >= 0) & (alphas[1:] <= 1)
    splits = np.array([middle is not None for middle in middles])
    wanted = inside & splits & (missed > np.maximum(LEAST, RESOLVED * np.maximum(noise[:-1], noise[1:])))
    if not wanted.any():
        return None
    first = wanted & _beside_extremes(alphas, losses)
    among = first if first.any() else wanted
    return middles[int(np.argmax(np.where(among, missed, -np.inf)))]


def _missed(alphas: Array, losses: Array, residuals: Array) -> Array:
    """Estimate the error of linear interpolation in each interval, (n_α − 1,), where the windows agree on a bend.

    It is 0 elsewhere, and beside losses that are not finite.
    """
    h = np.diff(alphas)

    def bends(values: Array) -> Array:
        """Estimate L″ at the inner positions, from (n_α, …)."""
        slopes = (np.diff(values, axis=0).T / h).T
        return np.asarray((np.diff(slopes, axis=0).T * 2 / (h[:-1] + h[1:])).T)

    with np.errstate(invalid="ignore"):
        bend = np.abs(bends(losses))
        clear = np.isfinite(bend) & (bend > CLEAR * _standard_errors(bends(residuals)))
    bend = np.where(clear, bend, 0.0)
    nearest = np.maximum(np.concatenate([[0.0], bend]), np.concatenate([bend, [0.0]]))
    known = np.isfinite(losses[:-1]) & np.isfinite(losses[1:])
    return np.where(known, nearest * h**2 / 8, 0.0)


def _residuals(alphas: Array, totals: Array, tokens: NDArray[np.int64]) -> Array:
    """Compute each window's part in the error of the rise above the lower end, a ratio of sums: (n_α, n_w)."""
    ends = [int(np.flatnonzero(alphas == end)[0]) for end in (0.0, 1.0)]
    low = min(ends, key=lambda i: totals[i].sum() if np.isfinite(totals[i]).all() else math.inf)
    with np.errstate(invalid="ignore"):
        rise = totals - totals[low]
        return np.asarray((rise - tokens * rise.sum(1, keepdims=True) / tokens.sum()) / tokens.mean())


def _standard_errors(residuals: Array) -> Array:
    """Compute the paired standard errors of values with these residuals, (n, n_w); 0 with one window."""
    n = residuals.shape[1]
    return np.asarray(np.sqrt((residuals**2).sum(1) / (n * max(1, n - 1))))


def _beside_extremes(alphas: Array, losses: Array) -> NDArray[np.bool_]:
    """Mark the intervals that touch the top or the bottom of the deepest fall, or the maximum of a barrier."""
    beside = np.zeros(len(alphas) - 1, bool)
    between = np.flatnonzero((alphas >= 0) & (alphas <= 1))
    inner = losses[between]
    if not np.isfinite(inner).all():
        return beside
    along = alphas[between]
    backwards = inner[0] > inner[-1]
    top, bottom = deepest_fall(inner[::-1] if backwards else inner)
    fall = [len(inner) - 1 - i if backwards else i for i in (top, bottom)] if top < bottom else []
    above = inner - ((1 - along) * inner[0] + along * inner[-1])
    peaks = [peak for peak in (int(np.argmax(above)), int(np.argmax(inner))) if 0 < peak < len(inner) - 1]
    for index in (*fall, *peaks):
        at = int(between[index])
        beside[max(0, at - 1) : at + 1] = True
    return beside


def _dyadic(low: float, high: float) -> float | None:
    """Find the simplest dyadic fraction in the middle half of an interval; None if the lattice has none."""
    quarter = (high - low) / 4
    for power in range(FINEST + 1):
        step = 2.0**-power
        nearest = round((low + high) / 2 / step) * step
        if low + quarter <= nearest <= high - quarter:
            return nearest
    return None
