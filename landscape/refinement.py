"""Where along a segment the next probe tells most: adaptive refinement of α where the profile bends.

Between two neighbours a profile is known up to what linear interpolation misses, about ``h²·|L″|/8``. A position is
added where that is most, in nats, beside the ridge's top, the valley's bottom and the barriers' maxima first, and only
where it is more than noise, against the paired standard error of the loss there. All positions are from one dyadic
lattice, and each is the simplest dyadic fraction near the middle of its interval, so that every run asks for the same.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from landscape.connectivity import deepest_fall

FINEST = 6
"""Positions are multiples of 2⁻⁶: a ridge is found to a 64th of the segment at best."""
RESOLVED = 0.5
"""An interval is resolved when interpolation misses less than this many standard errors of the loss."""

LEAST = 1e-3
"""Nats per token, a tenth of a percent of perplexity: what is missed below that is not worth a probe."""

Array = NDArray[np.float64]


def next_alpha(alphas: Array, totals: Array, tokens: NDArray[np.int64]) -> float | None:
    """The position to add to a segment, or None where it is resolved to the noise or to the lattice.

    Args:
        alphas: (n_α,) strictly increasing, with 0 and 1 among them. Those beyond help to tell the curvature at the
            ends; nothing is added there.
        totals: (n_α, n_w) NLL sums in nats. Beside a position that is not finite nothing can be told in nats.
        tokens: (n_w,) scored tokens. One window alone tells no noise: then every bend counts.
    """
    missed = _missed(alphas, totals.sum(1) / tokens.sum())
    noise = _noise(alphas, totals, tokens)
    middles = [_dyadic(low, high) for low, high in pairwise(alphas.tolist())]
    inside = (alphas[:-1] >= 0) & (alphas[1:] <= 1)
    splits = np.array([middle is not None for middle in middles])
    wanted = inside & splits & (missed > np.maximum(LEAST, RESOLVED * noise))
    if not wanted.any():
        return None
    first = wanted & _beside_extremes(alphas, totals.sum(1) / tokens.sum())
    among = first if first.any() else wanted
    return middles[int(np.argmax(np.where(among, missed, -np.inf)))]


def _missed(alphas: Array, losses: Array) -> Array:
    """What linear interpolation may miss in each interval, (n_α − 1,): 0 where losses that are not finite hide it."""
    h = np.diff(alphas)
    with np.errstate(invalid="ignore"):
        slopes = np.diff(losses) / h
        bend = np.abs(np.diff(slopes)) * 2 / (h[:-1] + h[1:])  # |L″| at the inner positions
    bend = np.where(np.isfinite(bend), bend, 0.0)
    nearest = np.maximum(np.concatenate([[0.0], bend]), np.concatenate([bend, [0.0]]))
    known = np.isfinite(losses[:-1]) & np.isfinite(losses[1:])
    return np.where(known, nearest * h**2 / 8, 0.0)


def _noise(alphas: Array, totals: Array, tokens: NDArray[np.int64]) -> Array:
    """Standard error in each interval, (n_α − 1,), of the rise above the lower end, over paired windows."""
    n = len(tokens)
    if n < 2:
        return np.zeros(len(alphas) - 1)
    ends = [int(np.flatnonzero(alphas == end)[0]) for end in (0.0, 1.0)]
    low = min(ends, key=lambda i: totals[i].sum() if np.isfinite(totals[i]).all() else math.inf)
    with np.errstate(invalid="ignore"):
        rise = totals - totals[low]
        residuals = (rise - tokens * rise.sum(1, keepdims=True) / tokens.sum()) / tokens.mean()
    se = np.sqrt((residuals**2).sum(1) / (n * (n - 1)))
    return np.asarray(np.maximum(se[:-1], se[1:]))


def _beside_extremes(alphas: Array, losses: Array) -> NDArray[np.bool_]:
    """Whether an interval touches the top or the bottom of the deepest fall, or the maximum of a barrier."""
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
    for index in (*fall, int(np.argmax(above)), int(np.argmax(inner))):
        at = int(between[index])
        beside[max(0, at - 1) : at + 1] = True
    return beside


def _dyadic(low: float, high: float) -> float | None:
    """The simplest dyadic fraction in the middle half of an interval; None if the lattice has none."""
    quarter = (high - low) / 4
    for power in range(FINEST + 1):
        step = 2.0**-power
        nearest = round((low + high) / 2 / step) * step
        if low + quarter <= nearest <= high - quarter:
            return nearest
    return None
