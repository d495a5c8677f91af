"""Evaluate one shard of a survey into the store that all shards share.

    points      the most expensive first, dealt one by one: a shard makes its points and evaluates them
    w           its windows are dealt
    rays        directions are dealt, each with all its λ, so that it is drawn on one machine
    segments    dealt after the directions, each with the positions that its own losses call for
    planes      their positions are dealt

Every shard runs the pilot, which the λ of all follow from, and makes the points that its own start from, unless the
store has them. Work on a point that another shard makes is taken when the store has the point, else left for the run
without ``--shard``; so are the λ that only a point far out calls for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from landscape.estimators.lambda_grid import PILOT_PROBES
from landscape.health.checks import SLOPE, unchecked
from landscape.health.self_checks import FinishedRun, examine, slope_plan
from landscape.positions.position import CENTER, OnPlane, OnRay, OnSegment
from landscape.probing.plan import NotEvaluated, PlanStep, ProbePlan, Window, point_plan, ray_plan
from landscape.session.forecast import Forecast
from landscape.session.point_specs import AnySpec, ExternalSpec, MadeSpec, plane_pairs
from landscape.session.progress import Progress
from landscape.session.run_record import Check
from landscape.session.session import Session
from landscape.session.work_shard import WorkShard
from landscape.survey.plane import SIDE
from landscape.survey.plans import (
    REFINED,
    plane_plan,
    positions_along,
    segment_alphas,
    segment_ends,
    segment_plan,
)
from landscape.survey.probe import SurveyRun
from landscape.survey.request import SurveyRequest
from landscape.survey.result import ShardResult
from landscape.survey.segments import AdaptiveSegments
from landscape.survey.watcher import Watcher
from quant.errors import UsageError


def probe_shard(request: SurveyRequest, progress: Progress | None = None) -> ShardResult:
    """Evaluate one shard of a survey; ``probe`` then finds its losses and points in the store.

    Args:
        request: Model, points, directions and numbers, the same for all shards, and the shard.
        progress: Receives reports.

    Raises:
        UsageError: if the request names no shard, or cannot be met as it is.
        CheckpointError: if the model is not available, or no better than chance on the data.
        CorpusError: if the text is not available, or too short.
        StoreError: if the cache cannot be written; what was committed stays.
    """
    if request.shard is None:
        raise UsageError("expected a shard such as WorkShard(1, 8) in probe_shard, got none; use probe")
    with Session.open(request, progress) as session:
        return ShardRun(request, session, request.shard).run_shard()


class ShardRun(SurveyRun):
    """One shard under way."""

    def __init__(
        self, request: SurveyRequest, session: Session, shard: WorkShard, watcher: Watcher | None = None
    ) -> None:
        """Begin a shard; see ``SurveyRun``."""
        super().__init__(request, session, watcher)
        self.shard = shard
        made = [spec for spec in request.specs if not isinstance(spec, ExternalSpec)]
        made.sort(key=session.point_work, reverse=True)  # in the order of the request, one shard would get all QAFT
        specs: list[AnySpec] = [*made, *request.external]
        self.own = [spec for place, spec in enumerate(specs) if shard.takes(place)]
        """Points of this shard, the most expensive first."""

    def run_shard(self) -> ShardResult:
        """Make and evaluate what is in the shard, as far as the store then has what it needs."""
        self._look()
        self.progress.forecast(self._shard_forecast())
        self._run(point_plan([CENTER], self._pilot_windows, fidelity=True))
        self.session.check_center(self._pilot_windows)
        radius = self._pilot()
        new = [spec.name for spec in self._own_missing if self._make_new(spec)]
        self.progress.stage(f"probing shard {self.shard}")
        missing = True
        while missing:
            plan = self._own_plan(self._lambdas(radius))
            missing = bool(plan.missing(self.runner.known).steps)
            self._run(plan)
            self._look()
        record = self.session.record(self._settings(), self._shard_health(self._lambdas(radius)[0]))
        return ShardResult(self.shard, self.session.info(self.subject.windows), tuple(new), record)

    def _look(self) -> None:
        """Take what other shards have added to the store."""
        self.runner.refresh()
        for spec in self.points.specs:
            self.session.find(spec)

    def _make_new(self, spec: MadeSpec) -> bool:
        """Make a point, and say whether it was new: another shard may have needed it as a start."""
        new = self.session.find(spec) is None
        return self._make(spec) and new

    @property
    def _own_missing(self) -> list[MadeSpec]:
        missing = self.points.missing
        return [spec for spec in self.own if not isinstance(spec, ExternalSpec) and spec in missing]

    # ---- the shard's part of the plan ---------------------------------------------------------------------------

    def _own_plan(self, lambdas: Iterable[float]) -> ProbePlan:
        """Plan what is in the shard, with the points and losses known so far."""
        subject, request, labels = self.subject, self.request, self.session.labels
        radial, by_kl = subject.radial_windows, request.by_kl
        center = point_plan([CENTER], self._own_windows, fidelity=True)
        own = point_plan([labels[spec] for spec in self.own if spec in labels], subject.all_windows, fidelity=True)
        slope = slope_plan(self.family, request.directions, subject.norm, self.session.windows)
        rays = ray_plan(self.family, request.directions, tuple(lambdas), radial, request.pairs, by_kl)
        segments = segment_plan(self._own_segments.alphas, radial, by_kl)
        plan = center + own + self._own_rays(slope + rays) + _only(OnSegment, segments)
        for (a, b), lattice in self._lattices().items():
            plane = plane_plan(labels[a], labels[b], lattice, self._plane_windows)
            dealt = (step for place, step in enumerate(plane.steps) if self.shard.takes(place))
            plan += _only(OnPlane, ProbePlan(tuple(dealt)))
        return plan

    @property
    def _own_windows(self) -> tuple[Window, ...]:
        """Windows on which the shard evaluates w."""
        return tuple(w for place, w in enumerate(self.subject.all_windows) if self.shard.takes(place))

    def _own_rays(self, plan: ProbePlan) -> ProbePlan:
        def own(step: PlanStep) -> bool:
            return isinstance(step.position, OnRay) and self.shard.takes(step.position.index)

        return ProbePlan(tuple(step for step in plan.steps if own(step)))

    @property
    def _own_ends(self) -> list[tuple[AnySpec | None, AnySpec]]:
        """Points at the ends of the shard's segments; None for w."""
        first = self.request.directions  # the shards that got one direction more are not the first ones here too
        pairs = enumerate(segment_ends(self.points.specs))
        return [pair for place, pair in pairs if self.shard.takes(first + place)]

    @property
    def _own_segments(self) -> AdaptiveSegments:
        """The shard's segments between points made so far, refined as far as known losses allow."""
        preset, labels = self.request.preset, self.session.labels
        pairs = ((CENTER if a is None else labels.get(a), labels.get(b)) for a, b in self._own_ends)
        ends = [(a, b) for a, b in pairs if a is not None and b is not None]
        segments = AdaptiveSegments(ends, segment_alphas(preset.alphas), preset.refinements)
        while segments.grow(self.probes):
            pass
        return segments

    # ---- forecast and checks ------------------------------------------------------------------------------------

    def _shard_forecast(self) -> Forecast:
        """Forecast the cost of the shard, with the work on segments to points that other shards have still to make."""
        subject, preset, new = self.subject, self.request.preset, self._own_missing
        try:
            lambdas, unknown_rays, pilot = self._lambdas(self._known_radius()), 0, 0
        except NotEvaluated:
            directions = sum(map(self.shard.takes, range(self.request.directions)))
            lambdas, pilot = (), PILOT_PROBES * len(self._pilot_windows)
            unknown_rays = directions * (1 + self.request.pairs) * preset.lambdas
        plan = self._own_plan(lambdas)
        unmade = sum(1 for pair in self._own_ends if any(spec in self.points.missing for spec in pair))
        along = unmade * positions_along(preset.alphas, preset.refinements) + REFINED * self._own_segments.left
        probes = len(plan.missing(self.runner.known)) + round((unknown_rays + along) * len(subject.radial_windows))
        probes += pilot + len(new) * len(subject.all_windows)
        if self.request.plane:
            planes = sum(1 for pair in plane_pairs(self.points.specs) if any(p in self.points.missing for p in pair))
            probes += planes * SIDE**2 * len(self._plane_windows) // self.shard.count
        return self.session.forecast(preset, new, plan, probes)

    def _shard_health(self, lam: float) -> tuple[Check, ...]:
        """Make the checks of the run but for the slope at w, whose probes all shards share."""
        slope = unchecked(SLOPE, "The run without --shard judges the slope at w.")
        return examine(FinishedRun.of(self.session, self.family, self.request.directions, lam, slope), self.progress)


def _only(kind: type[Any], plan: ProbePlan) -> ProbePlan:
    """Keep positions of one kind: the points at the ends of segments and planes are dealt as points."""
    return ProbePlan(tuple(step for step in plan.steps if isinstance(step.position, kind)))
