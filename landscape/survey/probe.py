"""Probe the landscape around a model, from its name to the result.

    checkpoint → weight space → points → plan → engine → store → analysis → result

All points and losses are in the store when ``probe`` returns, and nearly all of them when it is interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from landscape.estimators.basin import estimate_basin
from landscape.estimators.crossing import Crossing
from landscape.estimators.lambda_grid import PILOT_PROBES, pilot_radius, sweep_grid
from landscape.estimators.other_radii import other_radii
from landscape.health.self_checks import FinishedRun, examine, slope_at_w, slope_plan
from landscape.positions.directions import family_of
from landscape.positions.position import CENTER, OnRay
from landscape.probing.losses import Probes
from landscape.probing.plan import NotEvaluated, ProbePlan, Window, point_plan, ray_plan
from landscape.session.forecast import NO_WALKS, Forecast
from landscape.session.point_specs import AnySpec, MadeSpec, PointSpec, plane_pairs
from landscape.session.progress import Progress
from landscape.session.run_record import Check
from landscape.session.session import Session
from landscape.session.subject import unigram_entropy
from landscape.survey import analysis
from landscape.survey.along import radius_along
from landscape.survey.fidelity import KLRays
from landscape.survey.layer_results import layer_results
from landscape.survey.layer_walks import LayerWalks
from landscape.survey.layers import LayerResult
from landscape.survey.plane import PLANE_WINDOWS, SIDE, PlaneLattice
from landscape.survey.plans import REFINED, nominal_probes, plane_plan, segment_alphas, segment_plan
from landscape.survey.points import SurveyPoints
from landscape.survey.request import SurveyRequest
from landscape.survey.result import PlaneResult, SurveyResult
from landscape.survey.segments import AdaptiveSegments
from landscape.survey.watcher import Watcher
from quant.corpora.texts import SELF
from quant.errors import UsageError
from quant.size import model_size

PILOT_WINDOWS = 4
"""Largest number of validation windows of the pilot: few, hence cheap, and the same however many are requested."""


def probe(request: SurveyRequest, progress: Progress | None = None) -> SurveyResult:
    """Probe the landscape around a model.

    Args:
        request: Model, points, directions and numbers.
        progress: Receives reports.

    Raises:
        UsageError: if the request cannot be met as it is, or is for one shard, which ``probe_shard`` takes.
        CheckpointError: if the model is not available, or no better than chance on the data.
        CorpusError: if the text is not available, or too short.
        StoreError: if the cache cannot be written; what was committed stays.

    Example:
        >>> from dataclasses import replace
        >>> from landscape import PRESETS, SurveyRequest, probe
        >>> few = {"train_windows": 2, "validation_windows": 2, "test_windows": 2, "seq_len": 32, "alphas": 3}
        >>> small = replace(PRESETS["quick"], **few)
        >>> request = SurveyRequest("opt-nano", bits=(8, 2), methods=("rtn",), directions=2, preset=small)
        >>> [point.name for point in probe(request).points]
        ['rtn-int8-exact', 'rtn-int2-exact']
    """
    if request.shard is not None:
        raise UsageError(
            f"expected a whole survey in probe, got shard {request.shard}, which has no result; use probe_shard"
        )
    with Session.open(request, progress) as session:
        return SurveyRun(request, session).run()


class SurveyRun:
    """One survey under way."""

    def __init__(self, request: SurveyRequest, session: Session, watcher: Watcher | None = None) -> None:
        """Begin a survey.

        Args:
            request: Points, directions and numbers.
            session: The model, its text and its store.
            watcher: Receives what becomes of each point; without one, a point that cannot be made ends the survey.
        """
        self.request, self.session, self._watcher = request, session, watcher
        self.subject, self.runner, self.progress = session.subject, session.runner, session.progress
        self.family = family_of(request.family, self.subject.space, self.subject.center, request.seed)
        self.points = SurveyPoints(request.specs, session)
        self.layers = LayerWalks(session) if request.layers else None
        """Layer-wise errors, if asked for."""

    def run(self) -> SurveyResult:
        """Find and make the points, probe everything, and return the result."""
        session = self.session
        self.progress.forecast(self.forecast())
        self._run(point_plan([CENTER], self.subject.all_windows, fidelity=True))
        self.session.check_center(self.session.windows)
        radius = self._pilot()
        for spec in self.points.missing:
            self._make(spec)
        lambdas = self._lambdas(radius)
        self.progress.stage("probing")
        segments = self._segments()
        self._run(self._plan(lambdas, segments))
        while segments.grow(self.probes):
            self._run(segment_plan(segments.alphas, self.subject.radial_windows, self.request.by_kl))
        if self.layers:
            self.layers.measure({session.labels[spec]: session.points[spec] for spec in self.points.specs})
        return self._result(lambdas, segments)

    def forecast(self) -> Forecast:
        """Find the points that the store has, and forecast the cost of the rest."""
        for spec in self.points.specs:
            self.session.find(spec)
        return self._forecast()

    def _make(self, spec: MadeSpec) -> bool:
        """Make a point, and say whether there is one now; where a watcher takes the reason, a failure is left out."""
        started = time.monotonic()
        try:
            self.session.point(spec)
        except Exception as error:
            if self._watcher is None:
                raise
            self._watcher.failed(spec, error)
            self.points = SurveyPoints([each for each in self.points.specs if each != spec], self.session)
            return False
        if self._watcher is not None:
            self._watcher.made(spec, time.monotonic() - started)
        return True

    def _run(self, plan: ProbePlan) -> None:
        self.session.evaluate(plan, families=[self.family])

    @property
    def probes(self) -> Probes:
        """Probes known so far."""
        return self.session.probes

    def _pilot(self) -> float:
        """Return the radius that the grid of λ follows from; 0 where the user gives the λ."""
        if self.request.lambdas:
            return 0.0
        self.progress.stage("finding the range of λ")
        radius = pilot_radius(self._pilot_u, self.subject.norm)
        if radius is None:
            self.progress.warn("the loss never rises halfway to chance along the first direction: R will be censored")
        return radius or self.subject.norm

    def _plan(self, lambdas: Sequence[float], segments: AdaptiveSegments) -> ProbePlan:
        """Plan all probes, given the points made and the positions on segments chosen so far."""
        subject, request, labels = self.subject, self.request, self.session.labels
        radial, by_kl = subject.radial_windows, request.by_kl
        plan = (
            point_plan([CENTER, *(labels[spec] for spec in self.points.made)], subject.all_windows, fidelity=True)
            + slope_plan(self.family, request.directions, subject.norm, self.session.windows)
            + ray_plan(self.family, request.directions, lambdas, radial, request.pairs, by_kl)
            + segment_plan(segments.alphas, radial, by_kl)
        )
        for (a, b), lattice in self._lattices().items():
            plan += plane_plan(labels[a], labels[b], lattice, self._plane_windows)
        return plan

    def _segments(self) -> AdaptiveSegments:
        """Return the segments between the points made so far, refined as far as known losses allow."""
        preset = self.request.preset
        segments = AdaptiveSegments(self.points.segments, segment_alphas(preset.alphas), preset.refinements)
        while segments.grow(self.probes):
            pass
        return segments

    @property
    def _plane_windows(self) -> tuple[Window, ...]:
        return self.session.windows[:PLANE_WINDOWS]

    def _lattices(self) -> dict[tuple[PointSpec, PointSpec], PlaneLattice]:
        """Return the planes to probe, by their two points."""
        return self.points.lattices if self.request.plane else {}

    # ---- the range of λ -----------------------------------------------------------------------------------------

    @property
    def _pilot_windows(self) -> tuple[Window, ...]:
        return self.session.windows[:PILOT_WINDOWS]

    def _pilot_u(self, lam: float) -> float:
        windows = self._pilot_windows
        self._run(ray_plan(self.family, 1, [lam], windows))
        center_nll = self.runner.nll(CENTER, windows)
        nll = self.runner.nll(str(OnRay(self.family.name, 0, lam)), windows)
        return (nll - center_nll) / (self.subject.chance - center_nll)

    def _lambdas(self, radius: float) -> tuple[float, ...]:
        if self.request.lambdas:
            return tuple(sorted(set(self.request.lambdas)))
        return sweep_grid(radius, self.request.preset.lambdas, reach=1.05 * self.points.farthest)

    def _known_radius(self) -> float:
        """Return what ``_pilot`` would, from known losses alone.

        Raises:
            NotEvaluated: if the pilot would have to evaluate some.
        """
        if self.request.lambdas:
            return 0.0
        with self.runner.rehearsal():
            return pilot_radius(self._pilot_u, self.subject.norm) or self.subject.norm

    # ---- forecast -----------------------------------------------------------------------------------------------

    def _forecast(self) -> Forecast:
        """Forecast the cost of the work; one forward pass is measured if there is work to do.

        Distances added to the grid because a new point lies beyond it are not counted.
        """
        subject, preset = self.subject, self.request.preset
        new = self.points.missing
        n_radial_windows, n_windows = len(subject.radial_windows), len(subject.all_windows)
        segments = self._segments()
        try:  # with a cached pilot the grid is known, and missing probes are counted exactly
            plan, n_rays = self._plan(self._lambdas(self._known_radius()), segments), 0
        except NotEvaluated:
            plan = self._plan([], segments)
            n_rays = self.request.directions * (1 + self.request.pairs) * preset.lambdas
        probes = len(plan.missing(self.runner.known)) + round(REFINED * segments.left * n_radial_windows)
        probes += nominal_probes(
            self.points.specs, new, n_rays, preset.alphas, preset.refinements, n_radial_windows, n_windows
        )
        probes += PILOT_PROBES * len(self._pilot_windows) if n_rays else 0
        if self.request.plane:
            planes = sum(1 for a, b in plane_pairs(self.points.specs) if a in new or b in new)
            probes += planes * SIDE**2 * len(self._plane_windows)
        labels = [self.session.labels[spec] for spec in self.points.made]
        walks = self.layers.ahead(labels, len(new)) if self.layers else NO_WALKS
        return self.session.forecast(preset, new, plan, probes, walks)

    # ---- the result ---------------------------------------------------------------------------------------------

    def _result(self, lambdas: Sequence[float], segments: AdaptiveSegments) -> SurveyResult:
        session, request, probes, geometry = self.session, self.request, self.probes, self.points.geometry
        subject = self.subject
        radial = analysis.radial_by_split(
            probes, self.family.name, request.directions, lambdas, subject.chance, request.pairs
        )
        basins = {split: estimate_basin(losses) for split, losses in radial.items()}
        unigram = unigram_entropy(subject.corpus.windows("train")[:, -subject.seq_len :])
        labels = {spec: session.labels[spec] for spec in self.points.specs}
        rays, sizes = analysis.ray_profiles(radial), self.points.sizes
        kl_rays, planes, health = self._kl_rays(lambdas), self._planes(), self._health(lambdas[0])
        record = session.record(self._settings(), health)
        return SurveyResult(
            subject=session.info(subject.windows),
            center={split: probes.nll(CENTER, split) for split in subject.windows},
            basins=basins,
            split=session.split,
            radii={split: other_radii(losses, unigram) for split, losses in radial.items()},
            rays=kl_rays.added(rays) if kl_rays else rays,
            points=analysis.point_results(
                probes,
                labels,
                geometry,
                basins[session.split],
                self.points.experts,
                sizes=sizes,
                training=self.points.training,
                along=self._along(segments),
                layers=self._layers(),
                stored=self.points.stored,
            ),
            segments=analysis.segment_results(probes, labels, geometry, segments.alphas, request.by_kl),
            run=record,
            planes=planes,
            misalignments=analysis.misalignments(probes, labels),
            gaps=analysis.method_gaps(probes, labels),
            kl_radii=kl_rays.radii if kl_rays else {},
            center_size=model_size(subject.model, subject.space, None),
            slots=subject.space.slots,
        )

    def _along(self, segments: AdaptiveSegments) -> dict[AnySpec, Crossing | None]:
        """Find R along the Δw of each point."""
        session, distance, chance = self.session, self.points.geometry.distance, self.subject.chance
        alphas = {spec: segments.alphas[CENTER, session.labels[spec]] for spec in self.points.specs}
        return {
            spec: radius_along(self.probes, session.labels[spec], distance(spec), each, session.split, chance)
            for spec, each in alphas.items()
        }

    def _layers(self) -> dict[AnySpec, tuple[LayerResult, ...]]:
        """Measure the change of each matrix of each point, if asked for."""
        session, subject = self.session, self.subject
        if self.layers is None:
            return {}
        return {
            spec: layer_results(
                subject.space, subject.center, session.points[spec], self.layers.errors(session.labels[spec])
            )
            for spec in self.points.specs
        }

    def _kl_rays(self, lambdas: Sequence[float]) -> KLRays | None:
        """Return KL along the random directions, if it was asked for."""
        request, chance = self.request, self.subject.chance
        if not request.by_kl:
            return None
        return KLRays(self.probes, self.family.name, request.directions, lambdas, chance, request.pairs)

    def _planes(self) -> tuple[PlaneResult, ...]:
        lattices = self._lattices()
        for a, b in plane_pairs(self.points.specs) if self.request.plane else ():
            if (a, b) not in lattices:
                self.progress.warn(f"w, {a.name} and {b.name} lie on one line: they span no plane")
        return tuple(
            analysis.plane_result(self.probes, self.session.labels, a, b, lattice)
            for (a, b), lattice in lattices.items()
        )

    def _health(self, lam: float) -> tuple[Check, ...]:
        """Make the checks of the run."""
        session, family, count = self.session, self.family, self.request.directions
        own_text = self.request.corpus == SELF
        slope = slope_at_w(self.runner, family, count, self.subject.norm, session.windows, own_text)
        return examine(FinishedRun.of(session, family, count, lam, slope), self.progress)

    def _settings(self) -> dict[str, object]:
        request = self.request
        return {
            "directions": request.directions,
            "family": self.family.name,
            "both ways, ±ê": request.pairs,
            "loss": request.loss,
            "preset": request.preset.name,
            "positions per segment": f"{request.preset.alphas} at first, {request.preset.refinements} more at most",
            "methods": ", ".join(request.methods),
            "scales": ", ".join(request.scales),
            "granularities": ", ".join(request.granularities),
            **{f"GPTQ {name}": value for name, value in request.gptq.changed.items()},
            **(self.layers.settings if self.layers else {}),
            **{f"point {e.name}": f"{e.path.name}, gauge {e.gauge}" for e in request.external},
        }
