"""Find where the mean loss along rays first reaches a level, with an interval over directions and windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from landscape.estimators.intervals import CONFIDENCE, UNKNOWN_ERROR, Estimate, StandardError, honest_half_width
from landscape.estimators.radial_losses import RadialProbes, excess, level_target
from quant.errors import UsageError

LOST = 0.5  # the level of u that defines R
_BEYOND = 2  # probes beyond a crossing that shape the curve: with one the errors of R are about threefold
_COARSE = 2.5
"""Ratio of two neighbouring distances above which neither says anything of the slope at the other."""
_ORDER = 4
"""Power of the unevenness by which a curve may leave its crossing open between two probes. It bounds what 30 wells
without noise showed (Gaussian, steep, saturating, logistic, stepped, cut off; opt-nano's): on grids of every spacing up
to a factor 2.2, with a probe behind R, R was never outside by more than 0.3 %. A third power costs a survey of ten
distances twice the width, a fifth lets R of opt-nano out by 0.6 %."""


@dataclass(frozen=True)
class Crossing:
    """The first distance at which the mean loss reaches a level."""

    level: float
    """The level: a value of u, between 0 and 1; for a threshold radius the rise of the loss in nats per token."""
    value: float | None
    """The distance; None if the profile never reaches the level (censored): only ``low`` is known then."""
    low: float
    """Lower end of the interval, at least 0. Censored: the largest λ up to which all probes are surely below it."""
    high: float
    """Upper end of the interval; ``inf`` if censored, or with one direction or one window."""
    bracket: tuple[float, float]
    """The neighbouring probes below and at or above the level; (the largest λ probed, ``inf``) if censored."""
    reentry: bool
    """Whether the loss comes back below the level farther out."""
    error: StandardError = UNKNOWN_ERROR
    """Standard error of the distance over directions and windows. The interval is wider than it says where the probes
    leave open how the loss rises between them."""

    @property
    def estimate(self) -> Estimate | None:
        """Value and interval; None if censored."""
        return None if self.value is None else Estimate(self.value, self.low, self.high)


def crossing(
    probes: RadialProbes, level: float = LOST, confidence: float = CONFIDENCE, reference: float | None = None
) -> Crossing:
    """Find the first λ with ``u(λ) = level``, with its interval over directions and windows.

    The interval is ``λ* ± t·√V/L̄′(λ*)``, V being the variance of ``L̄(λ*) − (1 − level)·L(w) − level·C`` in the
    crossed design of directions × windows. V includes the sampling noise of L(w), which shares the windows. The less
    evenly the loss rises around the crossing, the less is known of it between the probes below and above the level:
    the interval is wider by that (``honest_half_width``), and holds both probes where they are far apart, or the loss
    jumps. ``benchmarks/radius/README.md`` says how often the interval covers.

    Args:
        probes: The losses along the rays.
        level: The value of u.
        confidence: Confidence of the interval.
        reference: The loss at which u = 1, in nats per token; None is chance.

    Raises:
        UsageError: The level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise UsageError(f"expected a level of u between 0 and 1, got {level}")
    return first_reach(probes, level_target(probes, level, reference), level, confidence)


def first_reach(
    probes: RadialProbes, target: NDArray[np.float64], level: float, confidence: float = CONFIDENCE
) -> Crossing:
    """Find the first λ at which the mean NLL reaches a target.

    Args:
        probes: The losses along the rays.
        target: (n_w,) NLL sums.
        level: Number by which the result names the target.
        confidence: Confidence of the interval.
    """
    lambdas = np.concatenate([[0.0], probes.lambdas])
    cells = excess(probes, target)
    profile = cells.mean((0, 2))
    found = first_zero(lambdas, profile)
    if found is None:
        low = _surely_below(probes, cells, confidence)
        return Crossing(level, None, low, math.inf, (float(lambdas[-1]), math.inf), reentry=False)
    i, value, slope = found
    error = probes.error(_at_zero(cells, i))
    error = StandardError(error.value / slope, error.df) if slope > 0 else UNKNOWN_ERROR
    half = error.half_width(confidence)
    low, high, left, right = value - half, value + half, float(lambdas[i - 1]), float(lambdas[i])
    outer = min(low, left), max(high, right)  # beyond these two probes sampling alone leaves open where the level is
    low, high = outer
    if (uneven := _unevenness(probes, lambdas, profile, i)) < 1:
        half = honest_half_width(half, uneven**_ORDER * max(value - left, right - value), confidence)
        low, high = max(outer[0], value - half), min(outer[1], value + half)
    return Crossing(
        level,
        value,
        low=max(0.0, low),
        high=high,
        bracket=(left, right),
        reentry=bool((profile[i:] < 0).any()),
        error=error,
    )


def relative_radii(probes: RadialProbes, level: float = LOST) -> NDArray[np.float64] | None:
    """Estimate how much farther out than the mean profile each direction and window crosses a level.

    To first order: the loss that a cell lacks where the mean crosses, over the slope there, relative to the radius.

    Returns:
        (n_d, n_w), of mean 0; None if the mean profile never reaches the level, or is flat there.
    """
    cells = excess(probes, level_target(probes, level))
    found = first_zero(np.concatenate([[0.0], probes.lambdas]), cells.mean((0, 2)))
    if found is None or not found[2] > 0:
        return None
    i, value, slope = found
    return np.asarray(-_at_zero(cells, i) / (slope * value))


def _unevenness(probes: RadialProbes, lambdas: NDArray[np.float64], profile: NDArray[np.float64], i: int) -> float:
    """Compute how unevenly a profile rises around probes i − 1 and i: 0 for a straight line in λ², 1 at a jump.

    It is the part by which the secants before and behind these two differ from the one between, or 1 where the two are
    far apart. Where no secant shows the slope to one side:

    - Before the first probe the profile starts as a parabola, as long as that probe lies in the basin. The part is that
      of the way to R which the loss has risen there; a probe beyond R does not say how far beyond.
    - Behind the last probe the slope may change by as much as λ² does between the two. This is little for neighbours of
      a search's grid, and all from a ratio of √2 on.
    """
    if _far_apart(lambdas, i):
        return 1.0
    square, seen = lambdas**2, bool(_beyond(lambdas[i : i + 2]))
    first, last = max(0, i - 2), i + 1 + seen
    secants = np.diff(profile[first:last]) / np.diff(square[first:last])
    sides = [_departure(float(secant / secants[i - 1 - first])) for secant in secants]
    if i == 1:
        risen = float(excess(probes, probes.center)[:, 1].mean())
        sides.append(risen / (LOST * (probes.chance - probes.center_nll)))
    if not seen:
        sides.append(float(square[i] / square[i - 1]) - 1 if i > 1 else 1.0)
    return min(1.0, max(sides))


def _departure(ratio: float) -> float:
    """Return how far a ratio of two slopes is from 1, either way; 1 if one of them is flat, or falls."""
    return 1 - min(ratio, 1 / ratio) if ratio > 0 else 1.0


def _at_zero(cells: NDArray[np.float64], i: int) -> NDArray[np.float64]:
    """Mix probes i − 1 and i to a mean of zero: exactly linear, as the analysis of variance needs it."""
    before, after = float(cells[:, i - 1].mean()), float(cells[:, i].mean())
    t = before / (before - after)
    return np.asarray((1 - t) * cells[:, i - 1] + t * cells[:, i])


def first_zero(lambdas: NDArray[np.float64], profile: NDArray[np.float64]) -> tuple[int, float, float] | None:
    """Find where a profile first reaches 0.

    Between probes the profile is a monotone cubic in λ², not in λ: it starts as a quadratic, and crossings of a
    quadratic then come out exactly. Probes far beyond the crossing, where losses can be wild, have no influence; nor
    have those beyond a gap, on either side, but for the last one below it: the slope from there on is a mean over the
    gap, where that of probes next to w is their rounding over a tiny λ².

    Args:
        lambdas: (n,) distances, strictly increasing from 0.
        profile: (n,) the mean loss less its target.

    Returns:
        Index of the first probe at or above 0, the λ at which the profile reaches 0, and the slope in λ there; None if
        the profile stays below.
    """
    above = np.flatnonzero(profile >= 0)
    if above.size == 0:
        return None
    i = int(above[0])
    near = slice(i - 1, i + 1)
    if not _far_apart(lambdas, i):
        near = slice(_last_gap(lambdas[:i]), i + 1 + _beyond(lambdas[i : i + 1 + _BEYOND]))
    slopes = _monotone_slopes(lambdas[near] ** 2, profile[near])[i - 1 - near.start :]
    left, right = float(lambdas[i - 1] ** 2), float(lambdas[i] ** 2)
    width = right - left
    start, end = float(profile[i - 1]), float(profile[i])
    # The cubic with these values and slopes at its ends, in t = (λ² − left)/width.
    a, b = float(slopes[0]) * width, float(slopes[1]) * width
    c, d = 3 * (end - start) - 2 * a - b, 2 * (start - end) + a + b
    rounded_end = start + (a + (c + d))
    t = float(brentq(lambda t: start + t * (a + t * (c + t * d)), 0.0, 1.0)) if rounded_end > 0 else 1.0
    root = math.sqrt(left + t * width)
    return i, root, 2 * root * (a + t * (2 * c + 3 * t * d)) / width


def _far_apart(lambdas: NDArray[np.float64], i: int) -> bool:
    """Return whether probe i − 1, which is not w, and probe i are too far apart to know the loss between them."""
    return i > 1 and bool(lambdas[i] > _COARSE * lambdas[i - 1])


def _last_gap(lambdas: NDArray[np.float64]) -> int:
    """Return the index of the last distance that is far from the next one; w is far from any."""
    gaps = np.flatnonzero(lambdas[1:] > _COARSE * lambdas[:-1])
    return int(gaps[-1]) if gaps.size else 0


def _beyond(lambdas: NDArray[np.float64]) -> int:
    """Count the probes beyond the first that follow each other closely enough to shape a curve."""
    return int(np.cumprod(lambdas[1:] <= _COARSE * lambdas[:-1]).sum())


def _monotone_slopes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Limit the slopes of the cubic spline so that it is monotone wherever the data are (Hyman 1983).

    On the wells of the calibration and 14 distances, eleven of them up to 1.5 R, the errors of R and of the slope there
    are at most 0.01 and 0.3 %, for PCHIP 0.04 and 2.3 %; at r90, where that grid widens, 0.5 and 7 % against 1.2 and
    31 %. (The grid of a survey no longer widens there.)
    """
    secants = np.diff(y) / np.diff(x)
    before, after = np.concatenate([secants[:1], secants]), np.concatenate([secants, secants[-1:]])
    limit = 3 * np.minimum(np.abs(before), np.abs(after)) * (before * after > 0)
    sign = np.sign(after)
    return np.asarray(sign * np.clip(sign * CubicSpline(x, y)(x, 1), 0, limit))


def _surely_below(probes: RadialProbes, cells: NDArray[np.float64], confidence: float) -> float:
    """Find the largest λ up to which every probe's upper confidence limit is below the level; 0 if there is none."""
    upper = [at.mean() + probes.error(at).half_width(confidence) for at in cells.swapaxes(0, 1)[1:]]
    clear = int(np.cumprod(np.array(upper) < 0).sum())
    return float(probes.lambdas[clear - 1]) if clear else 0.0
