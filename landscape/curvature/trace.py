"""Estimate the curvature of the basin's floor: trace and top eigenvalue of the Hessian.

Along a unit vector ê the loss starts as ``L(w) + ½ λ² êᵀHê`` (and a slope that ±ê pairs cancel). On the uniform
sphere ``D·êᵀHê`` has the mean Tr H, so the trace says how far the basin would reach if it were quadratic to the rim:
the quadratic radius of ``landscape.estimators.other_radii``.

Tr H has two methods, with nothing in common but the directions: exact second derivatives (``hutchinson_trace``; Girard
1989, Hutchinson 1990), and losses at ±λ (``trace_from_pairs``), which cost forward passes only. Both are means over
directions × windows and have the interval of that crossed design.

With ReLU they differ. Its derivative jumps, and the curvature of these jumps is in the differences but in no product:
it scatters the differences, the more the smaller λ is, and on average shifts them. On opt-nano (OPT, R about 57;
8 directions × 4 windows of 512 tokens) the second difference at one λ differs from the product by 28 % of the trace
(standard deviation over cells) at λ = 1.4, 12 % at 5.6 and 9 % at 11, and on average by −14 ± 5 % at each of these, as
in the limit that the fit takes. So λ of about R/10 and R/5 are better than the smallest that rounding allows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from landscape.curvature.hessian import FlatVector, Hessian
from landscape.estimators.intervals import CONFIDENCE, Estimate, StandardError, article_count, crossed_error
from landscape.estimators.other_radii import FLOAT32, curvature_cells, fit_range
from landscape.estimators.radial_losses import RadialProbes
from landscape.positions.directions import Family, Sphere
from quant.errors import UsageError
from quant.space import dot, norm


@dataclass(frozen=True)
class TraceEstimate:
    """Tr H of the token-mean NLL, estimated from a sample of directions and windows."""

    estimate: Estimate
    """The trace and its t interval."""
    error: StandardError
    """Its standard error over directions and windows."""
    directions: int
    """Number of directions in the mean; a pair ±ê is one."""
    windows: int
    """Number of windows in the mean."""
    articles: int | None
    """How many articles the windows lie in; None if unknown, and each window then counts as independent."""


@dataclass(frozen=True, eq=False)
class TopEigenvalue:
    """The largest eigenvalue of H on the given windows, with its eigenvector."""

    value: float
    """``vᵀHv``."""
    residual: float
    """``‖Hv − value·v‖``: some eigenvalue of H is at most this far from ``value``. It holds no sampling error of the
    windows."""
    vector: FlatVector
    """v, with norm 1 and a positive largest coordinate. It is a direction like any other:
    ``Ray(center, top.vector, lam)``."""
    products: int
    """Number of products with H."""

    @property
    def estimate(self) -> Estimate:
        """The value, and the interval that surely holds an eigenvalue."""
        return Estimate(self.value, self.value - self.residual, self.value + self.residual)


def hutchinson_trace(hessian: Hessian, family: Family, count: int, confidence: float = CONFIDENCE) -> TraceEstimate:
    """Estimate Tr H from exact products along random directions: the mean of ``D·êᵀHê``.

    Args:
        hessian: From ``lent_hessian``.
        family: ``Sphere``. For a family that is not isotropic the result is D times the mean curvature along it: no
            trace, but the number that ``radius_of_trace`` takes for that family.
        count: Number of directions, the first of the family.
        confidence: Level of the interval, which is infinite with one direction or one window.

    Raises:
        UsageError: no direction, or a product that is not finite.
    """
    if count < 1:
        raise UsageError(f"expected at least one direction, got {count}")
    forms = np.stack([hessian.forms(family.draw(index, hessian.weights)) for index in range(count)])
    _check_finite(forms)
    cells = hessian.space.dimension * forms / hessian.tokens.mean()
    return _trace(cells, hessian.tokens, confidence, hessian.blocks)


def trace_from_pairs(
    probes: RadialProbes, dimension: int, confidence: float = CONFIDENCE, precision: float = FLOAT32
) -> TraceEstimate:
    """Estimate Tr H from losses at ±λ alone: D times the curvature fitted near w (``estimators.other_radii``).

    Args:
        probes: Losses on the sphere, at two or more distances that ``landscape.estimators.other_radii.fit_range``
            takes; each row is the mean of a pair ±ê. (Rows of single directions are allowed, but make the slope at w
            part of the noise.)
        dimension: D.
        confidence: Level of the interval.
        precision: Relative spacing of the floats that the losses were computed in.

    Raises:
        UsageError: fewer than two such distances, or losses that are not finite there.
    """
    near, cells = fit_range(probes, precision), curvature_cells(probes, precision)
    if near is None or cells is None:
        raise UsageError(
            "expected two distances at which the rise stands clear of rounding and is below a fifth of the way to "
            f"chance, got distances {', '.join(f'{lam:g}' for lam in probes.lambdas)}; probe others"
        )
    _check_finite(probes.totals[:, near])
    return _trace(dimension * cells, probes.tokens, confidence, probes.blocks, probes.fixed)


def top_eigenvalue(
    hessian: Hessian, seed: int = 0, tolerance: float = 1e-3, basis: int = 10, restarts: int = 30
) -> TopEigenvalue:
    """Find the largest (algebraic) eigenvalue by Lanczos with implicit restarts (ARPACK, Lehoucq et al. 1998).

    Memory: about ``basis`` + 5 vectors of D numbers (measured with a basis of 10) besides those of a product.

    Args:
        hessian: From ``lent_hessian``.
        seed: Seed of the start vector, a direction of the sphere.
        tolerance: The residual over the eigenvalue at which to stop; the eigenvalue itself is then far closer, since
            its error goes as the residual's square over the gap.
        basis: Number of Lanczos vectors kept. Fewer need more products.
        restarts: Largest number of restarts from the best vector, of at most ``basis`` products each.

    Raises:
        UsageError: Lanczos did not converge, or a product is not finite.
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
            f"expected Lanczos to converge to {tolerance:g}, got no convergence in {products} products; allow more "
            "restarts, a larger basis or tolerance"
        ) from error
    vector = _unit(torch.from_numpy(vectors[:, 0]))
    image = FlatVector(torch.from_numpy(multiply(vector.values.numpy())))
    value = dot(space, vector, image)
    residual = norm(space, FlatVector(image.values - value * vector.values))
    return TopEigenvalue(value, residual, vector, products)


def _trace(
    cells: NDArray[np.float64],
    tokens: NDArray,
    confidence: float,
    blocks: NDArray | None = None,
    fixed: bool = False,
) -> TraceEstimate:
    """Average the contributions of directions and windows to Tr H, (n_d, n_w), with their ``crossed_error``."""
    error = crossed_error(cells, tokens, blocks, fixed)
    value, half = float(cells.mean()), error.half_width(confidence)
    return TraceEstimate(
        Estimate(value, value - half, value + half), error, len(cells), cells.shape[1], article_count(blocks)
    )


def _check_finite(derivatives: NDArray) -> None:
    if not np.isfinite(derivatives).all():
        raise UsageError("expected finite second derivatives, got NaN or infinity: is the model's loss finite there?")


def _unit(values: torch.Tensor) -> FlatVector:
    """Scale v to norm 1, with the sign that makes its largest coordinate positive."""
    length = float(torch.linalg.vector_norm(values, dtype=torch.float64))
    sign = 1.0 if values[values.abs().argmax()] > 0 else -1.0
    return FlatVector(values * (sign / length))
