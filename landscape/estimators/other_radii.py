"""Estimate alternative radii of a basin: loss threshold, inflection, quadratic fit, other reference level.

R is one of many radii that can be read from Figure 3 of Xu et al. 2024. These show how much depends on the choice: in a
basin with a sharp wall they agree; where the radius of the quadratic fit is far below R, the loss leaves the parabola
early.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from landscape.estimators.crossing import LOST, Crossing, crossing, first_reach
from landscape.estimators.intervals import CONFIDENCE, Estimate
from landscape.estimators.location import KEPT_LIMIT
from landscape.estimators.radial_losses import RadialProbes, excess, saturation
from quant.errors import UsageError

NEAR = 0.2  # u below which the rise is fitted by λ² and λ⁴: on a Gaussian well the λ⁶ term is then under 1 % of it
FLOAT32 = float(np.finfo(np.float32).eps)
ROUNDING_LIMIT = 0.01
"""Largest share of a rise near w that may be rounding."""
ROUNDING_STEPS = 4
"""Largest error of a loss, in units of rounding. On opt-nano second differences of a window, four losses together, were
off by up to 1.9 units of its loss, against the same in float64."""
_SCAN = 64  # positions between two probes at which a change of the curvature's sign is looked for


@dataclass(frozen=True)
class ReferenceRadius:
    """The radius at which the loss is halfway to a reference level other than chance."""

    reference: float
    """The loss at which u = 1, nats per token."""
    radius: Crossing
    """Where the mean loss is halfway from L(w) to it."""
    relative: float | None
    """The radius over R; None if one of the two is censored."""


@dataclass(frozen=True)
class OtherRadii:
    """Alternative definitions of the basin radius, estimated from the same losses."""

    kept: Crossing
    """Distance at which the perplexity is 5 % higher than at w."""
    inflection: Estimate | None
    """Distance at which the loss rises most steeply; None if that is not within the probes."""
    quadratic: Estimate | None
    """Distance at which the parabola fitted near w is halfway to chance; None if too few probes are near w."""
    unigram: ReferenceRadius | None
    """Distance halfway to the loss of a model that knows token frequencies alone; None if w is no better than that."""


def other_radii(probes: RadialProbes, unigram: float, confidence: float = CONFIDENCE) -> OtherRadii:
    """Estimate all alternative radii.

    Args:
        probes: The losses along the rays.
        unigram: Entropy of the single tokens of the text, nats per token.
        confidence: Confidence of the intervals.
    """
    beaten = unigram > probes.center_nll
    return OtherRadii(
        kept=threshold_radius(probes, KEPT_LIMIT, confidence),
        inflection=inflection(probes, confidence),
        quadratic=quadratic_radius(probes, confidence),
        unigram=reference_radius(probes, unigram, confidence) if beaten else None,
    )


def threshold_radius(probes: RadialProbes, tau: float, confidence: float = CONFIDENCE) -> Crossing:
    """Find ``r_τ``, the first λ at which the mean loss has risen by τ nats per token; ln 1.05 is 5 % of perplexity.

    Raises:
        UsageError: The rise τ is not above 0.
    """
    _check_rise(tau)
    return first_reach(probes, probes.center + tau * probes.tokens, tau, confidence)


def reference_radius(probes: RadialProbes, reference: float, confidence: float = CONFIDENCE) -> ReferenceRadius:
    """Find R for another reference loss than ln|V|, such as the unigram entropy of the text.

    Args:
        probes: The losses along the rays; those that overflowed count as chance whatever the reference.
        reference: The loss at which u = 1, nats per token.
        confidence: Confidence of the interval.

    Raises:
        UsageError: The reference is not above L(w).
    """
    saturation(probes.center_nll, probes.center_nll, reference)  # raises if it is no higher than L(w)
    radius, found = crossing(probes).value, crossing(probes, LOST, confidence, reference)
    relative = None if found.value is None or radius is None else found.value / radius
    return ReferenceRadius(reference, found, relative)


def inflection(probes: RadialProbes, confidence: float = CONFIDENCE) -> Estimate | None:
    """Find the λ at which the mean loss rises most steeply on its way to chance; σ on a Gaussian well.

    The mean profile is a cubic spline in λ². Its second derivative, zero there, is linear in the losses: its standard
    error is that of a crossed table, and divided by the third derivative it gives the interval. Noise shows in the
    curvature first, so this is the least certain of the radii.

    Returns:
        None if the loss is steepest at the first or the last probe considered, or there are fewer than four of them.
    """
    rise = excess(probes, probes.center)
    profile = rise.mean((0, 2))
    at_chance = np.flatnonzero(profile >= probes.chance - probes.center_nll)
    count = min(len(profile), int(at_chance[0]) + 2) if at_chance.size else len(profile)
    if count < 4:
        return None
    square = np.concatenate([[0.0], probes.lambdas[: count - 1]]) ** 2
    curve = CubicSpline(square, profile[:count])
    root = _steepest(curve)
    if root is None:
        return None
    cells = _curvature(CubicSpline(square, rise[:, :count].swapaxes(0, 1)), root)
    value = math.sqrt(root)
    third = 2 * value * float(6 * curve(root, 2) + 4 * root * curve(root, 3))
    half = probes.error(cells).half_width(confidence) / abs(third)
    return Estimate(value, max(0.0, value - half), value + half)


def _curvature(curve: CubicSpline, square: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Compute the second derivative in λ of a curve in λ²."""
    return np.asarray(2 * curve(square, 1) + 4 * np.asarray(square) * curve(square, 2))


def _steepest(curve: CubicSpline) -> float | None:
    """Find the λ² inside the range at which a curve in λ² rises fastest in λ; None if that is at an end."""
    knots = np.sqrt(curve.x)
    square = np.unique(np.concatenate([np.linspace(a, b, _SCAN) for a, b in pairwise(knots)])) ** 2
    speed = 2 * np.sqrt(square) * curve(square, 1)
    top = int(speed.argmax())
    if top in (0, len(square) - 1):
        return None
    low, high = square[top - 1], square[top + 1]
    bend = _curvature(curve, np.array([low, high]))
    return float(brentq(lambda s: float(_curvature(curve, s)), low, high)) if bend[0] > 0 > bend[1] else None


def curvature_cells(probes: RadialProbes, precision: float = FLOAT32) -> NDArray[np.float64] | None:
    """Compute the contribution of each direction and window to ``κ = Tr H/D``, the mean of êᵀHê.

    ``ΔL = κλ²/2 + bλ⁴`` is fitted near w (``fit_range``), by least squares of ``ΔL/λ²`` on λ², since directions and
    windows differ the more the loss rises. A row that is the mean of a pair ±ê has no odd term; over single directions
    the odd terms average to zero, and their scatter is in the standard error.

    Args:
        probes: The losses along the rays.
        precision: Relative spacing of the numbers that the losses were computed in.

    Returns:
        (n_d, n_w), of mean κ, in nats per token and unit of λ², for ``RadialProbes.error``; None with fewer than two
        probes that near.
    """
    near = fit_range(probes, precision)
    if near is None:
        return None
    rise = excess(probes, probes.center)[:, 1:][:, near]
    square = probes.lambdas[near] ** 2
    intercept = np.linalg.pinv(np.stack([np.ones(len(square)), square / square[-1]], axis=1))[0]
    return np.asarray(np.einsum("k,dkw->dw", 2 * intercept / square, rise))


def fit_range(probes: RadialProbes, precision: float = FLOAT32) -> slice | None:
    """Select the probes for the parabola near w: from where the rise stands clear of rounding to u = 0.2.

    Args:
        probes: The losses along the rays.
        precision: Relative spacing of the numbers that the losses were computed in.

    Returns:
        None if they are fewer than two.
    """
    rise = excess(probes, probes.center)[:, 1:].mean((0, 2))
    beyond = rise >= NEAR * (probes.chance - probes.center_nll)
    end = int(beyond.argmax()) if beyond.any() else len(beyond)
    # A rise is half a second difference, of four losses together.
    clear = 4 * ROUNDING_STEPS * precision * abs(probes.center_nll) <= ROUNDING_LIMIT * 2 * abs(rise[:end])
    start = int(clear.argmax()) if clear.any() else end
    return slice(start, end) if end - start >= 2 else None


def quadratic_radius(probes: RadialProbes, confidence: float = CONFIDENCE) -> Estimate | None:
    """Find ``√(2τ D/Tr H)``, where the parabola fitted near w is halfway to chance: ``τ = (C − L(w))/2``.

    R over it shows how anharmonic the well is.

    Args:
        probes: The losses along the rays.
        confidence: Confidence of the interval, which is symmetric in the logarithm.

    Returns:
        None if no curvature can be fitted, or it is not positive.
    """
    cells = curvature_cells(probes)
    if cells is None or cells.mean() <= 0:
        return None
    rise = LOST * (probes.chance * probes.tokens - probes.center)
    rise = rise / probes.tokens.mean()  # (n_w,), its plain mean is τ
    value = _parabola(float(cells.mean()), float(rise.mean()))
    relative = 0.5 * (rise / rise.mean() - cells / cells.mean())  # ln r, linearised
    stretch = math.exp(probes.error(relative).half_width(confidence))
    return Estimate(value, value / stretch, value * stretch)


def radius_of_trace(trace: Estimate, dimension: int, tau: float) -> Estimate | None:
    """Compute the quadratic radius from a Tr H that does not come from losses along rays.

    Args:
        trace: Tr H of the token-mean NLL.
        dimension: D.
        tau: τ in nats per token; for R it is ``½(C − L(w))``, taken as known.

    Returns:
        None if the trace is not positive: then no quadratic gets there. The upper end is ``inf`` if the trace may be 0.

    Raises:
        UsageError: The rise τ is not above 0.
    """
    if not tau > 0:
        raise UsageError(f"expected an excess loss above 0, got {tau}: w is no better than chance")
    if not trace.value > 0:
        return None
    value, low, high = (_parabola(t / dimension, tau) for t in (trace.value, trace.high, trace.low))
    return Estimate(value, low, high)


def anharmonicity(radius: Estimate, quadratic: Estimate) -> Estimate:
    """Compute ``R / R_quadratic``, with an interval made of both.

    The ratio is 1 for a quadratic, above 1 where the loss rises more slowly farther out, below 1 where it rises faster.
    The relative errors below and above are added in quadrature on the logarithm (MOVER; Zou and Donner 2008), as if the
    two were independent. Measured on the same windows they are correlated, and the interval is rather too wide.

    Raises:
        UsageError: A radius is not above 0.
    """
    if not (radius.value > 0 and quadratic.value > 0):
        raise UsageError(f"expected radii above 0, got {radius.value} and {quadratic.value}")
    value = radius.value / quadratic.value
    down = math.hypot(_log_ratio(radius.value, radius.low), _log_ratio(quadratic.high, quadratic.value))
    up = math.hypot(_log_ratio(radius.high, radius.value), _log_ratio(quadratic.value, quadratic.low))
    return Estimate(value, value * math.exp(-down), value * math.exp(up))


def _parabola(curvature: float, rise: float) -> float:
    """Find the λ at which ½κλ² reaches a rise; infinite if κ is not positive."""
    return math.sqrt(2 * rise / curvature) if curvature > 0 else math.inf


def _log_ratio(larger: float, smaller: float) -> float:
    return math.inf if math.isinf(larger) or smaller <= 0 else math.log(larger / smaller)


def _check_rise(tau: float) -> None:
    if not 0 < tau < math.inf:
        raise UsageError(f"expected a rise of the loss above 0 nats per token, got {tau}")
