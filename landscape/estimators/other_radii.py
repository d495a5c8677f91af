"""Other radii of the same basin: of a rise in nats, of the steepest place, of the parabola, of another reference level.

R is one of many radii that can be read from Figure 3 of Xu et al. 2024. These say how much of it is the choice: a basin
whose radii agree has a sharp wall, one whose parabola is far shorter than R bends away from it early.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
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

NEAR = 0.2  # u below which the rise is fitted by λ² and λ⁴: on a Gaussian well the λ⁶ beyond is then under 1 % of it
FLOAT32 = float(np.finfo(np.float32).eps)
ROUNDING_LIMIT = 0.01
"""Largest share of a rise near w that may be rounding."""
ROUNDING_STEPS = 4
"""How many units of rounding a loss may be off. On opt-nano second differences of a window were off by up to 1.9 of its
loss's units, four losses together, against the same in float64."""
_SCAN = 64  # positions between two probes at which a change of the curvature's sign is looked for


@dataclass(frozen=True)
class ReferenceRadius:
    """The radius at which the loss is halfway to a reference level that need not be chance."""

    reference: float
    """The loss that u = 1 stands for, nats per token."""
    radius: Crossing
    """Where the mean loss is halfway from L(w) to it."""
    relative: float | None
    """That radius over R; None if one of the two is censored."""


@dataclass(frozen=True)
class OtherRadii:
    """What else of the same losses might be called the radius of the basin."""

    kept: Crossing
    """Where the perplexity is 5 % higher than at w."""
    inflection: Estimate | None
    """Where the loss rises most steeply; None if that is not within the probes."""
    quadratic: Estimate | None
    """Where the parabola that fits near w is halfway to chance; None if too few probes are near."""
    unigram: ReferenceRadius | None
    """Halfway to the loss of a guess that knows token frequencies alone; None if w is no better than that."""


def other_radii(probes: RadialProbes, unigram: float, confidence: float = CONFIDENCE) -> OtherRadii:
    """All of them.

    Args:
        probes: The losses along the rays.
        unigram: Entropy of the single tokens of the text, nats per token.
        confidence: Of the intervals.
    """
    beaten = unigram > probes.center_nll
    return OtherRadii(
        kept=threshold_radius(probes, KEPT_LIMIT, confidence),
        inflection=inflection(probes, confidence),
        quadratic=quadratic_radius(probes, confidence=confidence),
        unigram=reference_radii(probes, [unigram], confidence)[0] if beaten else None,
    )


def threshold_radius(probes: RadialProbes, tau: float, confidence: float = CONFIDENCE) -> Crossing:
    """``r_τ``: the first λ at which the mean loss has risen by τ nats per token; ln 1.05 is a perplexity 5 % higher.

    Raises:
        UsageError: τ is not above 0.
    """
    _check_rise(tau)
    return first_reach(probes, probes.center + tau * probes.tokens, tau, confidence)


def reference_radii(
    probes: RadialProbes, references: Iterable[float], confidence: float = CONFIDENCE
) -> tuple[ReferenceRadius, ...]:
    """How R depends on what counts as knowing nothing: the unigram entropy of the text, say, in place of ln|V|.

    Args:
        probes: The losses along the rays; those that overflowed count as chance whatever the reference.
        references: Losses in nats per token.
        confidence: Of the intervals.

    Raises:
        UsageError: a reference is not above L(w).
    """
    radius = crossing(probes, confidence=confidence).value

    def at(reference: float) -> ReferenceRadius:
        saturation(probes.center_nll, probes.center_nll, reference)  # refuses one that is no higher than L(w)
        found = crossing(probes, LOST, confidence, reference)
        relative = None if found.value is None or radius is None else found.value / radius
        return ReferenceRadius(reference, found, relative)

    return tuple(at(float(reference)) for reference in references)


def inflection(probes: RadialProbes, confidence: float = CONFIDENCE) -> Estimate | None:
    """The λ at which the mean loss rises most steeply on its way to chance; σ on a Gaussian well.

    The mean profile is a cubic spline in λ². The second derivative that is zero there is linear in the losses, so that
    its variance is that of a crossed table, and the interval is it over the third derivative. Curvature is what noise
    shows in first: this is the least certain of the radii.

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
    """The second derivative in λ of a curve in λ²."""
    return np.asarray(2 * curve(square, 1) + 4 * np.asarray(square) * curve(square, 2))


def _steepest(curve: CubicSpline) -> float | None:
    """The λ² inside the range at which a curve in λ² rises fastest in λ; None if that is at an end."""
    knots = np.sqrt(curve.x)
    square = np.unique(np.concatenate([np.linspace(a, b, _SCAN) for a, b in pairwise(knots)])) ** 2
    speed = 2 * np.sqrt(square) * curve(square, 1)
    top = int(speed.argmax())
    if top in (0, len(square) - 1):
        return None
    low, high = square[top - 1], square[top + 1]
    bend = _curvature(curve, np.array([low, high]))
    return float(brentq(lambda s: float(_curvature(curve, s)), low, high)) if bend[0] > 0 > bend[1] else None


def curvature(probes: RadialProbes, confidence: float = CONFIDENCE, precision: float = FLOAT32) -> Estimate | None:
    """``Tr H/D``, the mean of êᵀHê, from the rise near w: ``ΔL = κλ²/2 + bλ⁴``, fitted where ``fitted`` says.

    Least squares of ``ΔL/λ²`` on λ², since what directions and windows differ by grows with the rise. A row that is the
    mean of a pair ±ê has no odd term; of single directions the odd terms average to zero, and their scatter is in the
    interval.

    Returns:
        Nats per token and unit of λ²; None with fewer than two probes that near.
    """
    cells = curvature_cells(probes, precision)
    if cells is None:
        return None
    return probes.error(cells).interval(float(cells.mean()), confidence)


def curvature_cells(probes: RadialProbes, precision: float = FLOAT32) -> NDArray[np.float64] | None:
    """What each direction and window contributes to the fitted κ, (n_d, n_w), as ``crossed_error`` takes it."""
    near = fitted(probes, precision)
    if near is None:
        return None
    rise = excess(probes, probes.center)[:, 1:][:, near]
    square = probes.lambdas[near] ** 2
    intercept = np.linalg.pinv(np.stack([np.ones(len(square)), square / square[-1]], axis=1))[0]
    return np.asarray(np.einsum("k,dkw->dw", 2 * intercept / square, rise))


def fitted(probes: RadialProbes, precision: float = FLOAT32) -> slice | None:
    """Which probes the parabola near w is fitted to: from where the rise stands clear of rounding to u = 0.2.

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


def quadratic_radius(probes: RadialProbes, tau: float | None = None, confidence: float = CONFIDENCE) -> Estimate | None:
    """``√(2τ D/Tr H)``: where the parabola that fits near w has risen by τ. R over it says how anharmonic the well is.

    Args:
        probes: The losses along the rays.
        tau: Nats per token; None is half the way to chance, ``(C − L(w))/2``, as at R.
        confidence: Of the interval, which is symmetric in the logarithm.

    Returns:
        None if no curvature can be fitted, or it is not positive.

    Raises:
        UsageError: τ is not above 0.
    """
    if tau is not None:
        _check_rise(tau)
    cells = curvature_cells(probes)
    if cells is None or cells.mean() <= 0:
        return None
    rise = LOST * (probes.chance * probes.tokens - probes.center) if tau is None else tau * probes.tokens
    rise = rise / probes.tokens.mean()  # (n_w,), its plain mean is τ
    value = _parabola(float(cells.mean()), float(rise.mean()))
    relative = 0.5 * (rise / rise.mean() - cells / cells.mean())  # ln r, linearised
    stretch = math.exp(probes.error(relative).half_width(confidence))
    return Estimate(value, value / stretch, value * stretch)


def radius_of_trace(trace: Estimate, dimension: int, excess: float) -> Estimate | None:
    """The quadratic radius of a Tr H that is known otherwise than from losses along rays.

    Args:
        trace: Tr H of the token-mean NLL.
        dimension: D.
        excess: τ in nats per token; for R it is ``½(C − L(w))``, taken as known.

    Returns:
        None if the trace is not positive: then no quadratic gets there. The upper end is ``inf`` if the trace may be 0.

    Raises:
        UsageError: an excess that is not above 0.
    """
    if not excess > 0:
        raise UsageError(f"expected an excess loss above 0, got {excess}: w is no better than chance")
    if not trace.value > 0:
        return None
    value, low, high = (_parabola(t / dimension, excess) for t in (trace.value, trace.high, trace.low))
    return Estimate(value, low, high)


def anharmonicity(radius: Estimate, quadratic: Estimate) -> Estimate:
    """``R / R_quadratic``, with an interval made of both.

    1 for a quadratic, above 1 where the loss rises more slowly farther out, below 1 where it rises faster. The relative
    errors below and above are added in quadrature on the logarithm (MOVER; Zou and Donner 2008), as if the two were
    independent. Measured on the same windows they are correlated, and the interval is rather too wide.

    Raises:
        UsageError: a radius that is not above 0.
    """
    if not (radius.value > 0 and quadratic.value > 0):
        raise UsageError(f"expected radii above 0, got {radius.value} and {quadratic.value}")
    value = radius.value / quadratic.value
    down = math.hypot(_log_ratio(radius.value, radius.low), _log_ratio(quadratic.high, quadratic.value))
    up = math.hypot(_log_ratio(radius.high, radius.value), _log_ratio(quadratic.value, quadratic.low))
    return Estimate(value, value * math.exp(-down), value * math.exp(up))


def _parabola(curvature: float, rise: float) -> float:
    """Where ½κλ² reaches a rise; never, if κ is not positive."""
    return math.sqrt(2 * rise / curvature) if curvature > 0 else math.inf


def _log_ratio(larger: float, smaller: float) -> float:
    return math.inf if math.isinf(larger) or smaller <= 0 else math.log(larger / smaller)


def _check_rise(tau: float) -> None:
    if not 0 < tau < math.inf:
        raise UsageError(f"expected a rise of the loss above 0 nats per token, got {tau}")
