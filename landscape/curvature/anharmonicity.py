"""How far the quadratic at w reaches: the Hessian's trace and top, and R against the radius that they foretell.

R is found first, as by ``landscape radius`` and from the same cache; then Tr H in both ways of
``landscape.curvature.trace`` along the first of its directions, on the first of its windows; then the top eigenvalue.
Losses are cached, products with the Hessian are not.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from landscape.curvature.hessian import lent_hessian
from landscape.curvature.trace import TopEigenvalue, TraceEstimate, hutchinson_trace, top_eigenvalue, trace_from_pairs
from landscape.estimators.crossing import LOST
from landscape.estimators.intervals import Estimate
from landscape.estimators.other_radii import anharmonicity, quadratic_radius, radius_of_trace
from landscape.estimators.radial_losses import RadialProbes
from landscape.estimators.radius_search import STEPS_PER_OCTAVE, grid, table
from landscape.health.checks import Check
from landscape.positions.directions import Sphere
from landscape.radius import Ground, RadiusRequest, RadiusResult, concluded, ground, search_radius
from landscape.session.progress import Progress, Silent
from quant.errors import UsageError

NEAR = (-27, -19)
"""Where losses at ±λ are taken, in steps of the search's grid from R: R/10 and R/5. Nearer, ReLU scatters the second
differences (``landscape.curvature.trace``); farther out the well is no longer λ² and λ⁴ alone."""
_FLOAT = 4  # bytes of a float32
_PRODUCT = 4  # vectors of D: v, the gradient, one window's product and their sum
_LANCZOS = 15  # vectors of D beside these: see ``landscape.curvature.trace.top_eigenvalue``


@dataclass(frozen=True)
class CurvatureRequest:
    """What a user asks for."""

    radius: RadiusRequest = field(default_factory=RadiusRequest)
    """The model, the text and how precisely R is to be known."""
    directions: int = 8
    """Directions of Tr H."""
    windows: int = 4
    """Windows of Tr H and of the top eigenvalue."""
    top: bool = True
    """Whether the top eigenvalue is wanted."""

    def __post_init__(self) -> None:
        if min(self.directions, self.windows) < 2:
            raise UsageError(
                f"expected at least 2 directions and 2 windows, got {self.directions} and {self.windows}: fewer show "
                "no standard error"
            )
        if self.radius.dtype not in ("float32", "auto"):  # what auto is, is seen once the model is there
            raise UsageError(
                f"expected float32 for second derivatives, got {self.radius.dtype}, which rounds them away; "
                "leave --dtype out"
            )
        if self.radius.family != "sphere":
            raise UsageError(f"expected directions of the sphere, got {self.radius.family}: others show no trace")


@dataclass(frozen=True)
class Quadratic:
    """Tr H as one way shows it, and what a quadratic of that trace would make of the basin."""

    trace: TraceEstimate
    radius: Estimate | None
    """R_quadratic: where that quadratic is halfway to chance; None if the trace is not positive."""
    index: Estimate | None
    """R/R_quadratic; None if one of the two is not known."""


@dataclass(frozen=True, eq=False)
class CurvatureResult:
    """The curvature of a basin's floor, and what it took."""

    measured: RadiusResult
    """R; what it says of windows, time and health is of all the work, the curvature's with it."""
    products: Quadratic
    """By products with the Hessian."""
    pairs: Quadratic
    """By losses at ±λ."""
    lambdas: tuple[float, ...]
    """These λ."""
    center_nll: float
    """L(w) on the windows of Tr H."""
    top: TopEigenvalue | None
    """The top eigenvalue on the same windows; None if it was not wanted."""
    products_taken: int
    """Products of one window's Hessian with a vector."""

    @property
    def health(self) -> tuple[Check, ...]:
        """Whether the run was sound, checked when the products were done: they change how the model computes."""
        return self.measured.health


def measure_curvature(request: CurvatureRequest, progress: Progress | None = None) -> CurvatureResult:
    """Measure R, Tr H and the top eigenvalue of a model.

    Args:
        request: What to measure.
        progress: Hears what is going on.

    Raises:
        UsageError: the request cannot be met as it is, R is not known, or Lanczos does not converge.
        CheckpointError: the model cannot be had, is no better than chance, or its attention cannot be differentiated
            twice.
        CorpusError: the text cannot be had, or is too short.
        StoreError: the cache cannot be written; what was committed stays.
    """
    started, progress = time.monotonic(), progress or Silent()
    with ground(request.radius, progress) as here:
        found = search_radius(request.radius, here, progress, started)
        radius = found.radius.estimate
        if radius is None:
            raise UsageError("expected a basin with a radius, the loss never gets halfway to chance; no index to tell")
        progress.stage("losses at ±λ")
        probes = _pairs(request, here, found.radius.bracket[1])
        pairs = _quadratic(trace_from_pairs(probes, here.checkpoint.space.dimension), quadratic_radius(probes), radius)
        products, top = _second_derivatives(request, here, probes, radius, progress)
        by_trace = request.directions * request.windows
        return CurvatureResult(
            measured=concluded(request.radius, here, found, float(probes.lambdas[0]), progress, started),
            products=products,
            pairs=pairs,
            lambdas=tuple(float(lam) for lam in probes.lambdas),
            center_nll=probes.center_nll,
            top=top,
            products_taken=by_trace + (top.products * request.windows if top else 0),
        )


def product_memory(dimension: int, top: bool) -> int:
    """Bytes that products with the Hessian take beside the model and the activations of one window, twice derived."""
    return _FLOAT * dimension * (_PRODUCT + (_LANCZOS if top else 0))


def _pairs(request: CurvatureRequest, here: Ground, near_radius: float) -> RadialProbes:
    """Losses at ±λ along the directions of R, each row the mean of a pair."""
    if request.windows > len(here.windows):
        raise UsageError(f"expected at most the split's {len(here.windows)} windows, got {request.windows}")
    index = round(STEPS_PER_OCTAVE * math.log2(near_radius / here.norm))
    lambdas = [grid(index + step, here.norm) for step in NEAR]
    return table(here.losses.paired(), lambdas, request.directions, request.windows, here.chance)


def _second_derivatives(
    request: CurvatureRequest, here: Ground, probes: RadialProbes, radius: Estimate, progress: Progress
) -> tuple[Quadratic, TopEigenvalue | None]:
    checkpoint, windows = here.checkpoint, here.windows[: request.windows]
    dimension = checkpoint.space.dimension
    memory = product_memory(dimension, request.top) / 1e9
    progress.stage(f"products with the Hessian ({memory:.1f} GB, and the activations of a window)")
    with lent_hessian(checkpoint.model, checkpoint.space, windows, here.center) as hessian:
        trace = hutchinson_trace(hessian, Sphere(checkpoint.space, request.radius.seed), request.directions)
        if request.top:
            progress.stage("the top eigenvalue")
        top = top_eigenvalue(hessian, request.radius.seed) if request.top else None
    reach = radius_of_trace(trace.estimate, dimension, LOST * (here.chance - probes.center_nll))
    return _quadratic(trace, reach, radius), top


def _quadratic(trace: TraceEstimate, reach: Estimate | None, radius: Estimate) -> Quadratic:
    return Quadratic(trace, reach, anharmonicity(radius, reach) if reach else None)
