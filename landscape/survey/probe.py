"""The main job: from a model's name to the landscape around it.

    checkpoint → weight space → points → plan → engine → store → analysis → Landscape

Everything that was made or evaluated is in the store when this returns, and nearly all of it when it does not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

from landscape.estimators.basin import estimate_basin
from landscape.estimators.lambda_grid import PILOT_PROBES, pilot_radius, sweep_grid
from landscape.estimators.other_radii import other_radii
from landscape.health.checks import Check
from landscape.health.self_checks import Examined, examine, slope_at_w, slope_plan
from landscape.positions.atlas import Atlas
from landscape.positions.directions import family_of
from landscape.positions.position import CENTER, OnRay
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.losses import Probes
from landscape.probing.plan import NotEvaluated, ProbePlan, Window, point_plan, ray_plan
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from landscape.session.forecast import Forecast, forecast_of, point_work
from landscape.session.point_maker import PointMaker
from landscape.session.point_specs import PointSpec
from landscape.session.progress import Progress, Silent
from landscape.session.reference import unigram_entropy
from landscape.session.session import opened, run_record
from landscape.session.subject import Subject, check_center
from landscape.survey import analysis
from landscape.survey.plane import PLANE_WINDOWS, SIDE, PlaneLattice
from landscape.survey.plans import nominal_probes, plane_plan, plane_points, segment_alphas, segment_plan
from landscape.survey.points import SurveyPoints
from landscape.survey.request import SurveyRequest
from landscape.survey.result import PlaneResult, ProbeCount, SurveyResult
from landscape.survey.segments import AdaptiveSegments
from quant.corpora.texts import SELF
from quant.methods.options import PAPER_GPTQ, GPTQOptions

PILOT_WINDOWS = 4
"""Validation windows of the pilot at most: few enough to be cheap, and the same when more windows are asked for."""


def probe(request: SurveyRequest, progress: Progress | None = None) -> SurveyResult:
    """Probe the landscape around a model.

    Args:
        request: What to probe.
        progress: Hears what is going on.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model cannot be had, or is no better than chance on the data.
        CorpusError: if the text cannot be had, or is too short.
        StoreError: if the cache cannot be written; what was committed stays.
    """
    started = time.monotonic()
    progress = progress or Silent()
    with opened(request, progress) as (checkpoint, store):
        progress.stage("reading the text")
        subject = request.subject(checkpoint, request.preset, request.methods, progress)
        return _Surveyor(request, subject, store, progress).work(started)


class _Surveyor:
    """One survey under way."""

    def __init__(self, request: SurveyRequest, subject: Subject, store: Store, progress: Progress) -> None:
        self.request, self.subject, self.store, self.progress = request, subject, store, progress
        self.family = family_of(request.family, subject.space, subject.center, request.seed)
        self.runner = Runner(store, run_record(self.subject.checkpoint.device), progress.advance)
        self.maker = PointMaker(subject, store, request.preset, request.seed, request.gptq)
        self.placed = SurveyPoints(request.wanted, subject.space, subject.center)

    def work(self, started: float) -> SurveyResult:
        """Do all the work, in the order the data flows."""
        for wanted in self.placed.wanted:
            point = self.maker.find(wanted)
            if point is not None:
                self.placed.place(wanted, point)
        self.progress.forecast(self._forecast())
        self._run(point_plan([CENTER], self.subject.all_windows))
        self._check_center()
        radius = None if self.request.lambdas else self._pilot()
        for wanted in self.placed.missing:
            self._make(wanted)
        lambdas = self._lambdas(radius)
        self.progress.stage("probing")
        segments = self._segments()
        self._run(self._plan(lambdas, segments))
        while segments.grow(self.probes):
            self._run(segment_plan(segments.alphas, self.subject.radial_windows))
        self.store.compact()
        return self._landscape(lambdas, segments, started)

    def _make(self, wanted: PointSpec) -> None:
        self.progress.stage(f"making {wanted.name}")
        work = self._point_work(wanted)
        self.placed.place(wanted, self.maker.make(wanted, lambda share: self.progress.advance(share * work)))

    def _run(self, plan: ProbePlan) -> None:
        atlas = Atlas(self.subject.center, self.placed.vectors, {self.family.name: self.family})
        self.runner.run(plan, InlineEngine(self.subject.model, self.subject.space, atlas))

    @property
    def probes(self) -> Probes:
        """What is known so far."""
        return Probes(self.runner.known, self.subject.windows)

    def _pilot(self) -> float | None:
        self.progress.stage("finding the range of λ")
        return pilot_radius(self._pilot_u, self.subject.norm)

    def _plan(self, lambdas: Sequence[float], segments: AdaptiveSegments) -> ProbePlan:
        """Everything there is to probe, given the points made so far and the positions on segments known so far."""
        subject, placed = self.subject, self.placed
        plan = (
            point_plan([CENTER, *(placed.labels[wanted] for wanted in placed.there)], subject.all_windows)
            + slope_plan(self.family, self.request.directions, subject.norm, subject.windows[analysis.VERDICT_SPLIT])
            + ray_plan(self.family, self.request.directions, lambdas, subject.radial_windows, self.request.pairs)
            + segment_plan(segments.alphas, subject.radial_windows)
        )
        for (a, b), lattice in self._lattices().items():
            plan += plane_plan(placed.labels[a], placed.labels[b], lattice, self._plane_windows)
        return plan

    def _segments(self) -> AdaptiveSegments:
        """The segments between the points made so far, refined as far as what is known tells."""
        preset = self.request.preset
        segments = AdaptiveSegments(self.placed.segments, segment_alphas(preset.alphas), preset.refinements)
        while segments.grow(self.probes):
            pass
        return segments

    @property
    def _plane_windows(self) -> tuple[Window, ...]:
        return self.subject.windows[analysis.VERDICT_SPLIT][:PLANE_WINDOWS]

    def _lattices(self) -> dict[tuple[PointSpec, PointSpec], PlaneLattice]:
        """The planes to probe."""
        return self.placed.lattices if self.request.plane else {}

    # ---- the range of λ -----------------------------------------------------------------------------------------

    def _check_center(self) -> None:
        nll = self.runner.nll(CENTER, self.subject.windows[analysis.VERDICT_SPLIT])
        check_center(nll, self.subject.chance, self.request.corpus, self.subject.checkpoint.dtype)

    def _pilot_u(self, lam: float) -> float:
        windows = self.subject.windows[analysis.VERDICT_SPLIT][:PILOT_WINDOWS]
        self._run(ray_plan(self.family, 1, [lam], windows))
        base = self.runner.nll(CENTER, windows)
        here = self.runner.nll(str(OnRay(self.family.name, 0, lam)), windows)
        return (here - base) / (self.subject.chance - base)

    def _lambdas(self, radius: float | None) -> tuple[float, ...]:
        if self.request.lambdas:
            return tuple(sorted(set(self.request.lambdas)))
        if radius is None:
            self.progress.warn("the loss never rises halfway to chance along the first direction: R will be censored")
            radius = self.subject.norm
        return sweep_grid(radius, self.request.preset.lambdas, reach=1.05 * self.placed.farthest)

    # ---- forecast -----------------------------------------------------------------------------------------------

    def _forecast(self) -> Forecast:
        """What will be done and what it will cost; one forward pass is measured if there is work to do.

        Not in it: distances that are added to the grid when a point to be made turns out to lie beyond it.
        """
        subject, preset = self.subject, self.request.preset
        new = self.placed.missing
        radial, every = len(subject.radial_windows), len(subject.all_windows)
        segments = self._segments()
        try:  # a pilot that is cached tells the grid, so that what is missing can be counted exactly
            with self.runner.rehearsal():
                radius = None if self.request.lambdas else pilot_radius(self._pilot_u, subject.norm)
            plan, rays = self._plan(self._lambdas(radius), segments), 0
        except NotEvaluated:
            plan, rays = self._plan([], segments), self.request.directions * (1 + self.request.pairs) * preset.lambdas
        probes = len(plan.missing(self.runner.known)) + segments.left * radial
        probes += nominal_probes(self.placed.wanted, new, rays, preset.alphas, preset.refinements, radial, every)
        probes += PILOT_PROBES * min(PILOT_WINDOWS, len(subject.windows[analysis.VERDICT_SPLIT])) if rays else 0
        if self.request.plane:
            planes = sum(1 for a, b in plane_points(self.placed.wanted) if a in new or b in new)
            probes += planes * SIDE**2 * len(self._plane_windows)
        needed = self.runner.asked | set(plan.probes())  # the pilot's, and the plan's
        searched = self.maker.searched(new)
        return forecast_of(subject, preset, new, searched, probes=probes, needed=needed, known=self.runner.known)

    def _point_work(self, wanted: PointSpec) -> float:
        validation = len(self.subject.windows["validation"])
        return point_work(wanted.method, wanted.scheme.bits, self.request.preset, validation)

    # ---- the result ---------------------------------------------------------------------------------------------

    def _landscape(self, lambdas: Sequence[float], segments: AdaptiveSegments, started: float) -> SurveyResult:
        subject, request, probes, shape = self.subject, self.request, self.probes, self.placed.shape
        radial = analysis.radial_by_split(
            probes, self.family.name, request.directions, lambdas, subject.chance, request.pairs
        )
        basins = {split: estimate_basin(losses) for split, losses in radial.items()}
        unigram = unigram_entropy(subject.corpus.windows("train")[:, -subject.seq_len :])
        labels = {wanted: self.placed.labels[wanted] for wanted in self.placed.wanted}
        total = len(self.runner.asked)
        return SurveyResult(
            subject=request.info(subject, tuple(subject.windows)),
            center={split: probes.nll(CENTER, split) for split in subject.windows},
            basins=basins,
            verdict_split=analysis.VERDICT_SPLIT,
            radii={split: other_radii(losses, unigram) for split, losses in radial.items()},
            rays=analysis.ray_profiles(radial),
            points=analysis.point_results(probes, labels, shape, basins[analysis.VERDICT_SPLIT], self.placed.experts),
            segments=analysis.segment_results(probes, labels, shape, segments.alphas),
            probes=ProbeCount(total, total - self.runner.evaluated, self.runner.evaluated),
            seconds=time.monotonic() - started,
            store=str(self.store.folder),
            settings=self._settings(),
            planes=self._planes(),
            health=self._health(lambdas[0]),
        )

    def _planes(self) -> tuple[PlaneResult, ...]:
        lattices = self._lattices()
        for a, b in plane_points(self.placed.wanted) if self.request.plane else ():
            if (a, b) not in lattices:
                self.progress.warn(f"w, {a.name} and {b.name} lie on one line: they span no plane")
        return tuple(
            analysis.plane_result(self.probes, self.placed.labels, a, b, lattice)
            for (a, b), lattice in lattices.items()
        )

    def _health(self, lam: float) -> tuple[Check, ...]:
        """Whether the run was sound."""
        subject, runner, family, count = self.subject, self.runner, self.family, self.request.directions
        windows, own_text = subject.windows[analysis.VERDICT_SPLIT], self.request.corpus == SELF
        slope = slope_at_w(runner, family, count, subject.norm, windows, own_text)
        return examine(Examined.of(subject, runner, family, count, lam, slope), self.progress)

    def _settings(self) -> dict[str, object]:
        request = self.request
        return {
            "directions": request.directions,
            "family": self.family.name,
            "both ways, ±ê": request.pairs,
            "preset": request.preset.name,
            "methods": ", ".join(request.methods),
            "scales": ", ".join(request.scales),
            "granularities": ", ".join(request.granularities),
            **{f"GPTQ {name}": value for name, value in _differences(request.gptq).items()},
            **{f"point {e.name}": f"{e.path.name}, gauge {e.gauge}" for e in request.external},
            "seed": request.seed,
            "corpus fingerprint": self.subject.corpus.fingerprint,
            **request.text_settings,
            **self.runner.provenance,
        }


def _differences(options: GPTQOptions) -> dict[str, object]:
    """Options that are not the paper's."""
    paper = asdict(PAPER_GPTQ)
    return {name: value for name, value in asdict(options).items() if value != paper[name]}
