"""Collect the evidence for advice on each grid: radial probes, RTN, and the lines along its Δw.

R           along uniform directions, once for all grids (``landscape.estimators.radius_search``)
ρ_prof      along directions with the per-tensor norms of this grid's Δw
ρ_Δ         along Δw itself
ΔL          at RTN, at RTN with its clipping undone, and at RTN on other grids, on all validation windows

Nothing is calibrated or trained. The test split is left for the point that comes of the advice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial

from landscape.advice.request import AdviceRequest
from landscape.advice.rules import Evidence
from landscape.anatomy.waterfall import Kind, families
from landscape.estimators.crossing import crossing
from landscape.estimators.intervals import Estimate, paired_ratio
from landscape.estimators.location import ratio
from landscape.estimators.radius_search import RadiusSearch, StoppingRule, fixed_design, search
from landscape.health.self_checks import SLOPE_DIRECTIONS, FinishedRun, examine, measure_slope, slope_plan
from landscape.positions.directions import Sphere
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER, At, Position, without_parts
from landscape.probing.plan import ProbePlan
from landscape.session.forecast import Forecast, forecast_of
from landscape.session.point_specs import PointSpec
from landscape.session.run_record import Check
from landscape.session.session import Session
from quant.scheme import QuantScheme

PRECISION = 0.1
"""Half width of R's interval over R; the rules compare ρ with a rim that is no sharper."""
DIRECTIONS = 4
"""Random directions for each ρ_prof."""
RATIO_WINDOWS = 8
"""Largest number of windows for ρ_prof and ρ_Δ."""
# Probes of a search, for the forecast: the pilot's distances, and those around R, of which one moves now and then.
PILOT_STEPS, BRACKET, RADIUS_WORK = 4, 3, 100


class EvidenceCollector:
    """Collector of the evidence of one model, grid by grid; every loss goes to the store."""

    def __init__(self, request: AdviceRequest, session: Session) -> None:
        """Bind to a session of the request."""
        self.request, self.session, self.subject = request, session, session.subject
        self._collected: dict[PointSpec, Evidence] = {}
        self._sphere = Sphere(session.subject.space, request.seed)

    def forecast(self, specs: Sequence[PointSpec]) -> Forecast:
        """Forecast the cost of the evidence; one forward pass is measured if there is work to do.

        Everything is rehearsed on the known results: evidence for which they are enough costs nothing.
        """
        session, runner, windows = self.session, self.session.runner, self.session.windows
        slope = slope_plan(self._sphere, SLOPE_DIRECTIONS, self.subject.norm, windows)
        with runner.rehearsal():
            session.evaluate(slope)
        probes = len(ProbePlan.of([At(CENTER)], windows).missing(runner.known)) + len(slope.missing(runner.known))
        probes += 0 if runner.knows(lambda: self.found) else RADIUS_WORK
        probes += sum(0 if runner.knows(partial(self.evidence, spec)) else self._cost(spec) for spec in specs)
        points = dict.fromkeys(point for spec in specs for point in (spec, *_others(spec)))
        new = [spec for spec in points if session.find(spec) is None]
        return forecast_of(
            self.subject,
            self.request.preset,
            new,
            session.maker.searched(new),
            probes=probes,
            batch=session.batch,
            needed=runner.asked,
            known=runner.known,
        )

    def _cost(self, spec: PointSpec) -> int:
        """Count the probes that the evidence of a grid takes, about: at points, and along lines."""
        windows = min(RATIO_WINDOWS, len(self.session.windows))
        lines = sum(PILOT_STEPS * windows + BRACKET * directions * windows for directions in (1, DIRECTIONS))
        return (2 + len(_others(spec))) * len(self.session.windows) + lines

    @cached_property
    def found(self) -> RadiusSearch:
        """R along uniform directions, and the search for it."""
        self.session.stage("searching for R")
        rule = StoppingRule(PRECISION, windows=len(self.session.windows))
        return search(self.session.radial(self._sphere), self.subject.norm, self.subject.chance, rule)

    def health(self) -> tuple[Check, ...]:
        """Check that the run was sound, once all evidence is collected, and warn of each check that failed."""
        slope = measure_slope(self.session, self._sphere)
        directions, lam = self.found.rounds[-1].directions, float(self.found.probes.lambdas[0])
        done = FinishedRun.of(self.session, self._sphere, directions, lam, slope)
        return examine(done, self.session.progress)

    def evidence(self, spec: PointSpec) -> Evidence:
        """Collect the evidence on one grid.

        Raises:
            NotEvaluated: in a rehearsal, if some of it is not known.
        """
        if spec not in self._collected:
            self._collected[spec] = self._collect(spec)
        return self._collected[spec]

    def _collect(self, spec: PointSpec) -> Evidence:
        subject, session = self.subject, self.session
        point, radius = session.point(spec), self.found.radius
        session.stage(f"following {spec.name}")
        label = session.label(spec)
        bare = without_parts(label, ["clip"])
        session.evaluate(ProbePlan.of([At(label), bare], session.windows))
        others = {other.scheme: self._measured(other) for other in _others(spec)}
        rises = {scheme: self.rise(other) for scheme, other in others.items()}
        best = min(rises, key=lambda scheme: rises[scheme].value)
        perturbation = Perturbation(subject.space, subject.center, point, label)
        away, parts = perturbation.distance, perturbation.total
        return Evidence(
            scheme=spec.scheme,
            distance=away,
            rise=self.rise(label),
            unclipped=self.rise(bare),
            remaining=self._share(bare, label),
            clipped=parts.clipped / parts.weights,
            others=rises,
            over_here=self._share(others[best], label),
            rho=ratio(away, radius),
            rho_prof=self.ratio(perturbation, "profile"),
            rho_along=self.ratio(perturbation, "along"),
        )

    def rise(self, position: Position | str) -> Estimate:
        """Estimate ΔL at a position that was evaluated."""
        return self.session.probes.rise(position, self.session.split)

    def ratio(self, perturbation: Perturbation, kind: Kind) -> Estimate | None:
        """Estimate ‖Δw‖ over R along one of the point's families of directions; None if R is censored."""
        subject, fixed = self.subject, kind == "along"
        family = families(perturbation, self.request.seed)[kind]
        windows = self.session.windows[:RATIO_WINDOWS]
        losses, directions = self.session.radial(family, windows), 1 if fixed else DIRECTIONS
        found = crossing(fixed_design(losses, subject.norm, subject.chance, directions, len(windows), fixed))
        return ratio(perturbation.distance, found)

    def _measured(self, spec: PointSpec) -> str:
        """Evaluate a point, and return its label."""
        label = self.session.label(spec)
        self.session.evaluate(ProbePlan.of([At(CENTER), At(label)], self.session.windows))
        return label

    def _share(self, position: Position | str, label: str) -> Estimate | None:
        """Estimate ΔL at a position over ΔL at a point."""
        probes, split = self.session.probes, self.session.split
        totals, whole, center = (probes.totals(at, split) for at in (position, label, CENTER))
        return paired_ratio(totals, whole, center, probes.tokens(split), blocks=probes.blocks(split))


def _others(spec: PointSpec) -> tuple[PointSpec, ...]:
    """Return RTN on other grids of as many bits."""
    return tuple(PointSpec("rtn", scheme) for scheme in other_grids(spec.scheme))


def other_grids(scheme: QuantScheme) -> tuple[QuantScheme, ...]:
    """Return further grids for RTN: up to the largest weight, at the least squared error, and with more scales."""
    finer = "channel" if scheme.granularity == "tensor" else "group:32"
    grids = (
        replace(scheme, scale="absmax"),
        replace(scheme, scale="exact" if scheme.granularity == "tensor" else "mse", symmetric=True),
        replace(scheme, scale="absmax", granularity=finer),
    )
    least = {"exact", "mse"}  # of squared error, one as good as the other
    return tuple(grid for grid in dict.fromkeys(grids) if grid != scheme and {grid.scale, scheme.scale} != least)
