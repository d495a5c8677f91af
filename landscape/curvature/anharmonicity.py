"""Measure how far the quadratic at w reaches: Tr H, the top eigenvalue, and R against the radius that Tr H predicts.

Find R first, as ``landscape radius`` does and from the same cache; then Tr H by both methods of
``landscape.curvature.trace``, along the first of R's directions and on the first of its windows; then the top
eigenvalue. Losses are cached, products with the Hessian are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from landscape.curvature.hessian import lent_hessian
from landscape.curvature.request import CurvatureRequest
from landscape.curvature.trace import TopEigenvalue, TraceEstimate, hutchinson_trace, top_eigenvalue, trace_from_pairs
from landscape.estimators.crossing import LOST
from landscape.estimators.intervals import Estimate
from landscape.estimators.other_radii import anharmonicity, quadratic_radius, radius_of_trace
from landscape.estimators.radial_losses import RadialProbes
from landscape.estimators.radius_search import STEPS_PER_OCTAVE, grid, table
from landscape.positions.directions import Sphere
from landscape.probing.losses import RadialLosses
from landscape.radius import RadiusResult, radial_health, search_radius
from landscape.session.memory import check_run, product_need
from landscape.session.progress import Progress
from landscape.session.session import Session
from quant.errors import UsageError

NEAR = (-27, -19)
"""The λ of the losses at ±λ, in steps of the search's grid from R: R/10 and R/5. Nearer, ReLU scatters the second
differences (``landscape.curvature.trace``); farther out the loss is no longer λ² and λ⁴ alone."""
_PRODUCT = 4  # vectors of D: v, the gradient, one window's product and their sum
_LANCZOS = 15  # vectors of D besides these: see ``landscape.curvature.trace.top_eigenvalue``


@dataclass(frozen=True)
class Quadratic:
    """Tr H by one method, and the radius of a quadratic with that trace."""

    trace: TraceEstimate
    radius: Estimate | None
    """R_quadratic, at which that quadratic is halfway to chance; None if the trace is not positive."""
    index: Estimate | None
    """R/R_quadratic; None if either is not known."""


@dataclass(frozen=True, eq=False)
class CurvatureResult:
    """The curvature of a basin's floor, and the work it took."""

    radius: RadiusResult
    """R, and the run: it counts all of the work, and its checks were made after the products, which change how the
    model computes."""
    products: Quadratic
    """Tr H by products with the Hessian."""
    pairs: Quadratic
    """Tr H by losses at ±λ."""
    lambdas: tuple[float, ...]
    """The λ of ``pairs``."""
    center_nll: float
    """L(w) on the windows of Tr H."""
    top: TopEigenvalue | None
    """The top eigenvalue on the same windows; None if not requested."""
    products_taken: int
    """Number of products of one window's Hessian with a vector."""


def measure_curvature(request: CurvatureRequest, progress: Progress | None = None) -> CurvatureResult:
    """Measure R, Tr H and the top eigenvalue of a model.

    Args:
        request: The model, the text, and the numbers of directions and windows.
        progress: Receives stages and warnings.

    Raises:
        UsageError: the request cannot be met as it is, R is not known, or Lanczos does not converge.
        CheckpointError: the model is not available, is no better than chance, or its attention cannot be
            differentiated twice.
        CorpusError: the text is not available, or too short.
        StoreError: the cache cannot be written; what was committed stays.

    Example:
        >>> from landscape import CurvatureRequest, measure_curvature
        >>> request = CurvatureRequest("opt-nano", seq_len=32, precision=0.3, directions=2, windows=2, top=False)
        >>> measure_curvature(request).products.trace.directions
        2
    """
    with Session.open(request, progress) as session:
        check_run(product_need(session.subject, held_vectors(request.top)), session.subject.checkpoint)
        sphere = Sphere(session.subject.space, request.seed)
        losses = session.radial(sphere)
        found = search_radius(session, losses, request.precision)
        radius = found.radius.estimate
        if radius is None:
            raise UsageError(
                "expected a basin with a radius, but the loss never gets halfway to chance; there is no index"
            )
        session.stage("losses at ±λ")
        probes = _pairs(request, session, losses, found.radius.bracket[1])
        pairs = _quadratic(trace_from_pairs(probes, sphere.space.dimension), quadratic_radius(probes), radius)
        products, top = _second_derivatives(request, session, probes, radius)
        health = radial_health(session, sphere, found, float(probes.lambdas[0]))
        settings = {"precision": request.precision, "directions": request.directions, "windows": request.windows}
        by_trace = request.directions * request.windows
        return CurvatureResult(
            radius=RadiusResult(
                subject=session.info([request.split]),
                split=request.split,
                family=sphere.name,
                pairs=False,
                search=found,
                run=session.record(settings, health),
            ),
            products=products,
            pairs=pairs,
            lambdas=tuple(float(lam) for lam in probes.lambdas),
            center_nll=probes.center_nll,
            top=top,
            products_taken=by_trace + (top.products * request.windows if top else 0),
        )


def held_vectors(top: bool) -> int:
    """Return the number of vectors of D coordinates that products with the Hessian hold besides the model."""
    return _PRODUCT + (_LANCZOS if top else 0)


def _pairs(request: CurvatureRequest, session: Session, losses: RadialLosses, near_radius: float) -> RadialProbes:
    """Evaluate losses at ±λ along the directions of R; each row is the mean of a pair."""
    if request.windows > len(session.windows):
        raise UsageError(f"expected at most the split's {len(session.windows)} windows, got {request.windows}")
    norm = session.subject.norm
    index = round(STEPS_PER_OCTAVE * math.log2(near_radius / norm))
    lambdas = [grid(index + step, norm) for step in NEAR]
    return table(losses.paired(), lambdas, request.directions, request.windows, session.subject.chance)


def _second_derivatives(
    request: CurvatureRequest, session: Session, probes: RadialProbes, radius: Estimate
) -> tuple[Quadratic, TopEigenvalue | None]:
    subject, windows = session.subject, session.windows[: request.windows]
    space, dimension = subject.space, subject.space.dimension
    session.stage("products with the Hessian")
    session.directions.release()  # these draw their own
    with lent_hessian(subject.model, space, windows, subject.center) as hessian:
        trace = hutchinson_trace(hessian, Sphere(space, request.seed), request.directions)
        if request.top:
            session.stage("the top eigenvalue")
        top = top_eigenvalue(hessian, request.seed) if request.top else None
    reach = radius_of_trace(trace.estimate, dimension, LOST * (subject.chance - probes.center_nll))
    return _quadratic(trace, reach, radius), top


def _quadratic(trace: TraceEstimate, reach: Estimate | None, radius: Estimate) -> Quadratic:
    return Quadratic(trace, reach, anharmonicity(radius, reach) if reach else None)
