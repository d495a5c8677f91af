"""The evidence that advice rests on, for each grid: radial probes, RTN, and the lines along its Δw. No GPTQ, no QAFT.

R           along uniform directions, once for all grids (``landscape.estimators.radius_search``)
ρ_prof      along directions with the per-tensor norms of this grid's Δw
ρ_Δ         along Δw itself
ΔL          at RTN, at RTN with its clipping undone, and at RTN on other grids, on all validation windows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

from landscape.advice.rules import Evidence
from landscape.anatomy.waterfall import Kind, families
from landscape.estimators.crossing import crossing
from landscape.estimators.intervals import Estimate, paired_ratio
from landscape.estimators.location import ratio
from landscape.estimators.radius_search import RadiusSearch, StoppingRule, fixed_design, search
from landscape.health.checks import Check
from landscape.health.self_checks import SLOPE_DIRECTIONS, Examined, examine, measured_slope, slope_plan
from landscape.positions.atlas import Atlas
from landscape.positions.directions import Family, Sphere
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER, At, Position, without_parts
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.losses import Probes, RadialLosses
from landscape.probing.plan import ProbePlan, Window, require
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from landscape.session.forecast import Forecast, forecast_of
from landscape.session.point_maker import PointMaker, point_label
from landscape.session.point_specs import PointSpec
from landscape.session.presets import Preset
from landscape.session.progress import Progress
from landscape.session.session import run_record
from landscape.session.subject import Subject, check_center
from quant.corpora.texts import SELF
from quant.point import WeightPoint
from quant.scheme import QuantScheme

SPLIT = "validation"
"""The split that advice is made on; the test split stays for what comes of it."""
PRECISION = 0.1
"""Of R: half width over R. Rules compare ρ with a rim that is no sharper."""
DIRECTIONS = 4
"""Random directions for each ρ_prof."""
RATIO_WINDOWS = 8
"""Windows on which ρ_prof and ρ_Δ are measured at most."""
# What a search costs, for the forecast: the pilot's distances, and those around R, of which one moves now and then.
PILOT_STEPS, BRACKET, RADIUS_WORK = 4, 3, 100


class EvidenceCollector:
    """Gathers the evidence of one model, grid by grid; whatever was evaluated is in the store."""

    def __init__(
        self, subject: Subject, store: Store, preset: Preset, seed: int, device: str, progress: Progress
    ) -> None:
        """Bind to a model at its pretrained weights and its store."""
        self.subject, self.seed, self.progress = subject, seed, progress
        self.windows = subject.windows[SPLIT]
        self.runner = Runner(store, run_record(device), progress.advance)
        self.probes = Probes(self.runner.known, {SPLIT: self.windows})
        self._preset, self._maker = preset, PointMaker(subject, store, preset, seed)
        self._points: dict[PointSpec, WeightPoint] = {}
        self._gathered: dict[PointSpec, Evidence] = {}

    def check(self, data: str) -> None:
        """See that w beats chance, before anything else is done.

        Raises:
            CheckpointError: if it does not.
        """
        self._run({}, [At(CENTER)])
        check_center(self.probes.nll(CENTER, SPLIT), self.subject.chance, data, self.subject.checkpoint.dtype)

    def forecast(self, wanted: Sequence[PointSpec]) -> Forecast:
        """What gathering will cost; one forward pass is measured if there is work to do.

        Everything is tried on what is known alone: where that is enough, it is gathered, and nothing is left to do.
        """
        slope = slope_plan(self._sphere.family, SLOPE_DIRECTIONS, self.subject.norm, self.windows)
        runner = self.runner
        with runner.rehearsal():
            self._sphere.run(slope)
        probes = len(ProbePlan.of([At(CENTER)], self.windows).missing(runner.known)) + len(slope.missing(runner.known))
        probes += 0 if runner.knows(lambda: self.found) else RADIUS_WORK
        probes += sum(0 if runner.knows(partial(self.evidence, made)) else self._cost(made) for made in wanted)
        points = dict.fromkeys(point for made in wanted for point in (made, *_others(made)))
        new = [made for made in points if self._find(made) is None]
        searched, asked = self._maker.searched(new), runner.asked
        return forecast_of(self.subject, self._preset, new, searched, probes=probes, needed=asked, known=runner.known)

    def _cost(self, made: PointSpec) -> int:
        """How many probes the evidence of a grid takes, about: at points, and along lines."""
        windows = min(RATIO_WINDOWS, len(self.windows))
        lines = sum(PILOT_STEPS * windows + BRACKET * directions * windows for directions in (1, DIRECTIONS))
        return (2 + len(_others(made))) * len(self.windows) + lines

    @cached_property
    def found(self) -> RadiusSearch:
        """R along uniform directions, and how it was found."""
        self._stage("searching for R")
        limits = StoppingRule(PRECISION, windows=len(self.windows))
        return search(self._sphere, self.subject.norm, self.subject.chance, limits)

    def health(self, data: str) -> tuple[Check, ...]:
        """Whether the run was sound, all evidence being there; what was not is told at once."""
        subject, runner, losses, found = self.subject, self.runner, self._sphere, self.found
        slope = measured_slope(losses.run, runner, losses.family, subject.norm, self.windows, data == SELF)
        directions, lam = found.rounds[-1].directions, float(found.probes.lambdas[0])
        return examine(Examined.of(subject, runner, losses.family, directions, lam, slope), self.progress)

    def point(self, made: PointSpec) -> WeightPoint:
        """RTN on a grid, from the store if it is there.

        Raises:
            NotEvaluated: if it is not, in a rehearsal.
        """
        found = self._find(made)
        if found is None:
            if self.runner.rehearsing:
                return require(self._points, made)
            found = self._points[made] = self._maker.make(made, lambda share: None)
        return found

    def _find(self, made: PointSpec) -> WeightPoint | None:
        """The point, if it is in the store; it stays there, and is read as it is asked for."""
        if made not in self._points and (stored := self._maker.find(made)) is not None:
            self._points[made] = stored
        return self._points.get(made)

    def label(self, point: WeightPoint) -> str:
        """What the store calls it."""
        return point_label(point, self.subject.space)

    def evidence(self, made: PointSpec) -> Evidence:
        """All that the rules ask of one grid.

        Raises:
            NotEvaluated: if some of it is not known, in a rehearsal.
        """
        if made not in self._gathered:
            self._gathered[made] = self._gather(made)
        return self._gathered[made]

    def _gather(self, made: PointSpec) -> Evidence:
        subject, point, radius = self.subject, self.point(made), self.found.radius
        self._stage(f"following {made.name}")
        label = self.label(point)
        bare = without_parts(label, ["clip"])
        self._run({label: point}, [At(label), bare])
        others = {other.scheme: self._measured(other) for other in _others(made)}
        rises = {scheme: self.rise(other) for scheme, other in others.items()}
        best = min(rises, key=lambda scheme: rises[scheme].value)
        perturbation = Perturbation(subject.space, subject.center, point, label)
        away, parts = perturbation.distance, perturbation.total
        return Evidence(
            scheme=made.scheme,
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
        """ΔL at a position that was evaluated."""
        return self.probes.rise(position, SPLIT)

    def ratio(self, perturbation: Perturbation, kind: Kind) -> Estimate | None:
        """‖Δw‖ over R along a family of directions that belongs to the point; None if that is censored."""
        subject, fixed = self.subject, kind == "along"
        family = families(perturbation, self.seed)[kind]
        windows = min(RATIO_WINDOWS, len(self.windows))
        losses, directions = self._losses(family, windows), 1 if fixed else DIRECTIONS
        found = crossing(fixed_design(losses, subject.norm, subject.chance, directions, windows, fixed))
        return ratio(perturbation.distance, found)

    def _stage(self, name: str) -> None:
        if not self.runner.rehearsing:
            self.progress.stage(name)

    def _measured(self, made: PointSpec) -> str:
        """The label of a point whose loss is known afterwards."""
        point = self.point(made)
        self.run(point, self.windows)
        return self.label(point)

    def _share(self, position: Position | str, label: str) -> Estimate | None:
        """ΔL at a position over ΔL at a point."""
        probes = self.probes
        totals, whole, center = (probes.totals(at, SPLIT) for at in (position, label, CENTER))
        return paired_ratio(totals, whole, center, probes.tokens(SPLIT), blocks=probes.blocks(SPLIT))

    @property
    def _sphere(self) -> RadialLosses:
        """The landscape along uniform directions."""
        return self._losses(Sphere(self.subject.space, self.seed), len(self.windows))

    def _losses(self, family: Family, windows: int) -> RadialLosses:
        subject = self.subject
        engine = InlineEngine(subject.model, subject.space, Atlas(subject.center, {}, {family.name: family}))
        return RadialLosses(self.runner, engine, family, self.windows[:windows], pairs=False)

    def run(self, point: WeightPoint, windows: tuple[Window, ...]) -> None:
        """Evaluate w and a point on some windows."""
        self._run({self.label(point): point}, [At(CENTER), At(self.label(point))], windows)

    def _run(
        self,
        points: Mapping[str, WeightPoint],
        positions: Sequence[Position],
        windows: tuple[Window, ...] | None = None,
    ) -> None:
        subject = self.subject
        engine = InlineEngine(subject.model, subject.space, Atlas(subject.center, points, {}))
        self.runner.run(ProbePlan.of(positions, self.windows if windows is None else windows), engine)


def _others(made: PointSpec) -> tuple[PointSpec, ...]:
    """RTN on other grids of as many bits."""
    return tuple(PointSpec("rtn", scheme) for scheme in other_grids(made.scheme))


def other_grids(scheme: QuantScheme) -> tuple[QuantScheme, ...]:
    """What RTN is also tried on: up to the largest weight, at the least squared error, and with more scales."""
    finer = "channel" if scheme.granularity == "tensor" else "group:32"
    grids = (
        replace(scheme, scale="absmax"),
        replace(scheme, scale="exact", symmetric=True),
        replace(scheme, scale="absmax", granularity=finer),
    )
    return tuple(grid for grid in dict.fromkeys(grids) if grid != scheme)
