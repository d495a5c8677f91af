"""The curvature of the basin's floor: trace and top eigenvalue of the Hessian, and what a quadratic would make of R.

Along a unit vector ê the loss starts as ``L(w) + ½ λ² êᵀHê`` (and a slope that ±ê pairs cancel). On the uniform
sphere ``D·êᵀHê`` has the mean Tr H, so the trace says how far the basin would reach if it were quadratic to the rim:
``R_quadratic = √(2τD/Tr H)`` with ``τ = ½(C − L(w))``. The index ``R/R_quadratic`` is 1 for a quadratic, above 1 where
the loss rises more slowly farther out, below 1 where it rises faster.

Two ways to Tr H, with nothing in common but the directions: exact second derivatives (``hutchinson_trace``; Girard
1989, Hutchinson 1990), and losses at ±λ (``trace_from_pairs``), which cost forward passes only. Both are means over
directions × windows and have the interval of that crossed design.

With ReLU they differ. Its derivative jumps, and what the jumps add to the loss's curvature is in the differences but
in no product: it scatters the differences, the more the smaller λ is, and on average shifts them. On opt-nano (OPT, R
about 61; 8 directions × 4 windows) a cell of the pairs is off from the product's by 60 % of the trace (standard
deviation) at λ = 0.375, 26 % at 3 and 10 % at 12, and their mean by −8 ± 2 % at 12. So λ of about R/10 and R/5 are
better than the smallest that rounding allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from landscape.basin import RadialProbes
from landscape.directions import Family, Sphere
from landscape.estimate import CONFIDENCE, Estimate, StandardError, crossed_error
from landscape.hessian_product import FlatVector, Hessian
from quant.errors import UsageError
from quant.space import dot, norm

ROUNDING_LIMIT = 0.01
"""Largest share of a second difference that may be rounding."""
ROUNDING_STEPS = 4
"""How many units of rounding a loss may be off. On opt-nano second differences of a window were off by up to 1.9 of its
loss's units, four losses together, against the same in float64."""


@dataclass(frozen=True)
class Trace:
    """Tr H of the token-mean NLL, as a sample of directions and windows shows it."""

    estimate: Estimate
    """The trace and its t interval."""
    error: StandardError
    """Its standard error over directions and windows."""
    directions: int
    """How many directions were averaged; a pair ±ê is one."""
    windows: int
    """How many windows were averaged."""


@dataclass(frozen=True)
class PairTrace:
    """Tr H from losses at ±λ, and what tells whether λ was well chosen."""

    trace: Trace
    """At the smallest distance that rounding leaves alone."""
    lam: float
    """That distance."""
    rounding: float
    """Largest share of the second difference there that may be rounding."""
    farther: float
    """The next distance, which the bias is read from."""
    change: Estimate
    """The trace seen from there over the trace, less 1. What the fourth derivative does to it grows as λ²: at ``lam``
    about ``change / ((farther/lam)² − 1)`` of the trace is due to it."""


@dataclass(frozen=True, eq=False)
class TopEigenvalue:
    """The largest eigenvalue of H on the given windows, with its eigenvector."""

    value: float
    """``vᵀHv``."""
    residual: float
    """``‖Hv − value·v‖``: an eigenvalue of H is at most this far from ``value``. No sampling error of the windows is in
    it."""
    vector: FlatVector
    """v, of norm 1; its largest coordinate is positive. A direction like any other:
    ``Ray(center, top.vector, lam)``."""
    products: int
    """Products with H that it took."""

    @property
    def estimate(self) -> Estimate:
        """The value, and the interval that surely holds an eigenvalue."""
        return Estimate(self.value, self.value - self.residual, self.value + self.residual)


def hutchinson_trace(hessian: Hessian, family: Family, count: int, confidence: float = CONFIDENCE) -> Trace:
    """Tr H from exact products along random directions: the mean of ``D·êᵀHê``.

    Args:
        hessian: From ``lent_hessian``.
        family: ``Sphere``. Of a family that is not isotropic the result is D times the mean curvature along it: no
            trace, but what ``radius_of_trace`` along that family takes.
        count: How many directions, the first of the family.
        confidence: Of the interval, which is infinite with one direction or one window.

    Raises:
        UsageError: no direction, or a product that is not finite.
    """
    if count < 1:
        raise UsageError(f"expected at least one direction, got {count}")
    forms = np.stack([hessian.forms(family.draw(index)) for index in range(count)])
    return _trace(forms, hessian.tokens, hessian.space.dimension, confidence)


def trace_from_pairs(
    probes: RadialProbes,
    dimension: int,
    confidence: float = CONFIDENCE,
    precision: float = float(np.finfo(np.float32).eps),
) -> PairTrace:
    """Tr H from losses at ±λ: the mean of ``D·(L(+λ) + L(−λ) − 2L(0))/λ²``.

    λ is the smallest distance at which the second difference is well above rounding: four losses that are each off by
    ``ROUNDING_STEPS`` units make at most ``ROUNDING_LIMIT`` of it.

    Args:
        probes: At two distances or more, on the sphere; each row is the mean of a pair ±ê. (Rows of single directions
            are no error but make the slope at w part of the noise.)
        dimension: D.
        confidence: Of the intervals.
        precision: Relative spacing of the numbers that the losses were computed in.

    Raises:
        UsageError: fewer than two distances, losses that are not finite at those needed, or every distance too small.
    """
    if len(probes.lambdas) < 2:
        raise UsageError(f"expected losses at two distances or more, got {len(probes.lambdas)}; one shows no bias")
    forms = 2 * (probes.totals - probes.center) / probes.lambdas[:, None] ** 2  # (n_d, n_λ, n_w)
    off = 4 * ROUNDING_STEPS * precision * abs(probes.center_nll) / probes.lambdas**2
    means = forms.sum(2).mean(0) / probes.tokens.sum()  # the mean êᵀHê seen from each distance
    clear = np.flatnonzero(off[:-1] <= ROUNDING_LIMIT * abs(means[:-1]))
    _check_finite(forms[:, : (clear[0] if clear.size else 0) + 2])
    if clear.size == 0:
        raise UsageError(
            f"expected second differences above rounding, got distances up to {probes.lambdas[-2]:g}, where rounding "
            f"may be {off[-2] / abs(means[-2]):.0%} of them; probe farther out"
        )
    i = int(clear[0])
    trace = _trace(forms[:, i], probes.tokens, dimension, confidence)
    change = means[i + 1] / means[i] - 1
    # The ratio of two means over the same cells, linearised.
    cells = (forms[:, i + 1] - (1 + change) * forms[:, i]) / (means[i] * probes.tokens.mean())
    half = crossed_error(cells).half_width(confidence)
    return PairTrace(
        trace=trace,
        lam=float(probes.lambdas[i]),
        rounding=float(off[i] / abs(means[i])),
        farther=float(probes.lambdas[i + 1]),
        change=Estimate(float(change), float(change - half), float(change + half)),
    )


def top_eigenvalue(
    hessian: Hessian, seed: int = 0, tolerance: float = 1e-3, basis: int = 10, restarts: int = 30
) -> TopEigenvalue:
    """The largest (algebraic) eigenvalue by Lanczos with implicit restarts (ARPACK, Lehoucq et al. 1998).

    Memory: about ``basis`` + 5 vectors of D numbers (measured with a basis of 10) beside those of a product.

    Args:
        hessian: From ``lent_hessian``.
        seed: Of the start, a direction of the sphere.
        tolerance: The residual over the eigenvalue at which to stop; the eigenvalue itself is then far closer, since
            its error goes as the residual's square over the gap.
        basis: How many Lanczos vectors are kept. Fewer need more products.
        restarts: How often to start again from the best vector; at most ``basis`` products each.

    Raises:
        UsageError: it did not converge, or a product is not finite.
    """
    space, products = hessian.space, 0

    def multiply(x: NDArray) -> NDArray:
        nonlocal products
        products += 1
        image = hessian.product(FlatVector(torch.from_numpy(x.reshape(-1)))).values.cpu().numpy()
        _check_finite(image)
        return image

    start = FlatVector.of(space, Sphere(space, seed).draw(0), hessian.dtype).values.numpy()
    operator = LinearOperator((space.dimension, space.dimension), matvec=multiply, dtype=start.dtype)
    try:
        _, vectors = eigsh(
            operator, k=1, which="LA", v0=start, ncv=min(basis, space.dimension), maxiter=restarts, tol=tolerance
        )
    except ArpackNoConvergence as error:
        raise UsageError(
            f"expected Lanczos to converge to {tolerance:g}, it did not in {products} products; allow more restarts, a "
            "larger basis or tolerance"
        ) from error
    vector = _unit(torch.from_numpy(vectors[:, 0]))
    image = FlatVector(torch.from_numpy(multiply(vector.values.numpy())))
    value = dot(space, vector, image)
    residual = norm(space, FlatVector(image.values - value * vector.values))
    return TopEigenvalue(value, residual, vector, products)


def radius_of_trace(trace: Estimate, dimension: int, excess: float) -> Estimate | None:
    """Where a quadratic of this trace reaches the excess loss: ``√(2τD/Tr H)``.

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

    def radius(t: float) -> float:
        return math.sqrt(2 * excess * dimension / t) if t > 0 else math.inf

    return Estimate(radius(trace.value), radius(trace.high), radius(trace.low))


def anharmonicity(radius: Estimate, quadratic: Estimate) -> Estimate:
    """``R / R_quadratic``, with an interval made of both.

    The relative errors below and above are added in quadrature on the logarithm (MOVER; Zou and Donner 2008), as if the
    two were independent. Measured on the same windows they are correlated, and the interval is rather too wide.

    Raises:
        UsageError: a radius that is not above 0.
    """
    if not (radius.value > 0 and quadratic.value > 0):
        raise UsageError(f"expected radii above 0, got {radius.value} and {quadratic.value}")
    value = radius.value / quadratic.value
    down = math.hypot(_log_ratio(radius.value, radius.low), _log_ratio(quadratic.high, quadratic.value))
    up = math.hypot(_log_ratio(radius.high, radius.value), _log_ratio(quadratic.value, quadratic.low))
    return Estimate(value, value * math.exp(-down), value * math.exp(up))


def _trace(forms: NDArray[np.float64], tokens: NDArray, dimension: int, confidence: float) -> Trace:
    """From ``êᵀ∇²T_w ê`` of NLL sums, (n_d, n_w): a ratio of sums over windows, linearised for its error."""
    _check_finite(forms)
    value = dimension * float(forms.mean() / tokens.mean())
    error = crossed_error((dimension * forms - value * tokens) / tokens.mean())
    half = error.half_width(confidence)
    return Trace(Estimate(value, value - half, value + half), error, *forms.shape)


def _check_finite(derivatives: NDArray) -> None:
    if not np.isfinite(derivatives).all():
        raise UsageError("expected finite second derivatives, got NaN or infinity: is the model's loss finite there?")


def _unit(values: torch.Tensor) -> FlatVector:
    """Norm 1, and of v and −v the one whose largest coordinate is positive."""
    length = float(torch.linalg.vector_norm(values, dtype=torch.float64))
    sign = 1.0 if values[values.abs().argmax()] > 0 else -1.0
    return FlatVector(values * (sign / length))


def _log_ratio(larger: float, smaller: float) -> float:
    return math.inf if math.isinf(larger) or smaller <= 0 else math.log(larger / smaller)
