"""Explain a loss by geometry: what clipping costs, and R along directions that resemble Δw.

ρ_prof      ‖Δw‖ over R along random directions that move each tensor as far as Δw does
unclipped   ΔL at RTN with its clipping undone

They say why a point lies where it lies. No verdict follows from them: see ``benchmarks/advice/README.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

from landscape.anatomy.waterfall import families
from landscape.estimators.crossing import crossing
from landscape.estimators.intervals import Estimate, paired_ratio
from landscape.estimators.location import ratio
from landscape.estimators.radius_search import fixed_design
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER, At, without_parts
from landscape.probing.losses import Probes
from landscape.probing.plan import ProbePlan
from landscape.session.point_specs import PointSpec
from landscape.session.session import Session
from quant.scheme import QuantScheme

DIRECTIONS, WINDOWS = 4, 8
"""Random directions for each ρ_prof, and the largest number of windows."""


@dataclass(frozen=True)
class Explanation:
    """Numbers that say why RTN on a grid costs what it costs."""

    clipped: float
    """Share of the weights that are clipped."""
    remaining: Estimate | None
    """Share of ΔL that is left with the clipping undone; None where ΔL is not above 0, or nothing is clipped."""
    rho_prof: Estimate | None
    """ρ_prof; None if R along these directions is censored."""


def explain(session: Session, scheme: QuantScheme, seed: int) -> Explanation:
    """Measure why RTN on a grid costs what it costs.

    Args:
        session: The session, on whose first windows it is measured.
        scheme: The grid.
        seed: Seed of the random directions.

    Raises:
        NotEvaluated: in a rehearsal, if some of it is not known.
    """
    subject, windows = session.subject, session.windows[:WINDOWS]
    spec = PointSpec("rtn", scheme)
    point, label = session.point(spec), session.label(spec)
    session.stage(f"explaining {spec.name}")
    perturbation = Perturbation(subject.space, subject.center, point, label)
    clipped = perturbation.total.clipped / perturbation.total.weights
    bare = without_parts(label, ["clip"])
    session.evaluate(ProbePlan.of([At(CENTER), At(label), bare], windows))
    probes = Probes(session.runner.known, {"": windows})
    losses = session.radial(families(perturbation, seed)["profile"], windows)
    design = fixed_design(losses, subject.norm, subject.chance, DIRECTIONS, len(windows))
    totals, whole, center = (probes.totals(at, "") for at in (bare, label, CENTER))
    left = paired_ratio(totals, whole, center, probes.tokens(""), blocks=probes.blocks("")) if clipped else None
    return Explanation(clipped, left, ratio(perturbation.distance, crossing(design)))


def work_of(windows: int) -> int:
    """Return the probes that one explanation takes, about: two points, a pilot, and the directions around R."""
    some = min(WINDOWS, windows)
    return (3 + 4 + 3 * DIRECTIONS) * some
