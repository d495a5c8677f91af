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

from landscape.crossing import LOST, Crossing, crossing, first_reach
from landscape.estimate import CONFIDENCE, Estimate, crossed_error
from landscape.radial import RadialProbes, excess, saturation
from quant.errors import UsageError

NEAR = 0.2  # u below which the rise is fitted by λ² and λ⁴: on a Gaussian well the λ⁶ beyond is then under 1 % of it
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
    half = crossed_error(cells, probes.tokens, probes.blocks, probes.fixed).half_width(confidence) / abs(third)
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


def curvature(probes: RadialProbes, confidence: float = CONFIDENCE) -> Estimate | None:
    """``Tr H/D``, the mean of êᵀHê, from the rise near w: ``ΔL = κλ²/2 + bλ⁴``, fitted where u is below 0.2.

    Least squares of ``ΔL/λ²`` on λ², since what directions and windows differ by grows with the rise. A row that is the
    mean of a pair ±ê has no odd term; of single directions the odd terms average to zero, and their scatter is in the
    interval.

    Returns:
        Nats per token and unit of λ²; None with fewer than two probes that near.
    """
    cells = curvature_cells(probes)
    if cells is None:
        return None
    half = crossed_error(cells, probes.tokens, probes.blocks, probes.fixed).half_width(confidence)
    return Estimate(float(cells.mean()), float(cells.mean()) - half, float(cells.mean()) + half)


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
    value = math.sqrt(2 * rise.mean() / cells.mean())
    relative = 0.5 * (rise / rise.mean() - cells / cells.mean())  # ln r, linearised
    stretch = math.exp(crossed_error(relative, probes.tokens, probes.blocks, probes.fixed).half_width(confidence))
    return Estimate(value, value / stretch, value * stretch)


def curvature_cells(probes: RadialProbes) -> NDArray[np.float64] | None:
    """What each direction and window contributes to the fitted κ, (n_d, n_w); None with fewer than two probes."""
    rise = excess(probes, probes.center)[:, 1:]
    beyond = rise.mean((0, 2)) >= NEAR * (probes.chance - probes.center_nll)
    near = int(beyond.argmax()) if beyond.any() else len(beyond)
    if near < 2:
        return None
    square = probes.lambdas[:near] ** 2
    intercept = np.linalg.pinv(np.stack([np.ones(near), square / square[-1]], axis=1))[0]
    return np.asarray(np.einsum("k,dkw->dw", 2 * intercept / square, rise[:, :near]))


def _check_rise(tau: float) -> None:
    if not 0 < tau < math.inf:
        raise UsageError(f"expected a rise of the loss above 0 nats per token, got {tau}")
