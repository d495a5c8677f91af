"""Hold the model, text, store, probes and points of one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property

from landscape.positions.atlas import Atlas
from landscape.positions.directions import Family
from landscape.positions.drawing import HeldDirection
from landscape.positions.position import CENTER
from landscape.probing.engines import Engine, EngineMaker
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.losses import Probes, RadialLosses
from landscape.probing.plan import NotEvaluated, ProbePlan, Window, point_plan
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from landscape.session.bounds import MOST_CARDS
from landscape.session.forecast import NO_WALKS, Forecast, Walks, forecast_of, forward_seconds
from landscape.session.in_use import marked
from landscape.session.memory import check_copy, check_run, evaluation_need
from landscape.session.opening import frozen_batch, frozen_threads, load_model, open_store, prepare_subject, provenance
from landscape.session.point_maker import PointMaker, point_label
from landscape.session.point_methods import point_work
from landscape.session.point_specs import AnySpec, ExternalSpec, MadeSpec
from landscape.session.presets import Preset
from landscape.session.progress import Progress, Silent
from landscape.session.request import PresetRequest, ProbingRequest, Request, SplitRequest
from landscape.session.run_record import Check, ProbeCount, RunRecord, SubjectInfo
from landscape.session.subject import JUDGED_SPLIT, Subject, check_center
from landscape.session.subject_words import subject_words
from quant.errors import UsageError
from quant.numerics import matmul_precision
from quant.point import WeightPoint
from quant.space import Vector

EngineOpener = Callable[[ProbingRequest, Callable[[str], None]], AbstractContextManager[EngineMaker]]


def _ray(request: ProbingRequest, warn: Callable[[str], None]) -> AbstractContextManager[EngineMaker]:
    from landscape.probing.engines.ray import RayActors, RayOptions

    if request.ray_gpus is not None and not 0 <= request.ray_gpus <= MOST_CARDS:
        raise UsageError(
            f"expected 0 to {MOST_CARDS} GPUs per actor as --ray-gpus, got {request.ray_gpus:g}; leave --ray-gpus out"
        )
    return RayActors(RayOptions(request.ray_address, request.ray_workers, request.ray_gpus), warn)


ENGINES: dict[str, EngineOpener] = {"inline": lambda request, warn: nullcontext(InlineEngine), "ray": _ray}
"""Openers of the engines that evaluate probes, by the name that a request gives: each takes the request and a receiver
of warnings, and returns the context of a session's engines, which yields their maker."""


def find_engine(request: Request, warn: Callable[[str], None]) -> AbstractContextManager[EngineMaker]:
    """Return the engines that a request names, not entered yet: for one that names none, the inline engine.

    Raises:
        UsageError: if there are none of that name, or they do not take the request.
    """
    if not isinstance(request, ProbingRequest):
        return nullcontext(InlineEngine)
    if request.engine not in ENGINES:
        raise UsageError(f"expected one of {', '.join(ENGINES)} as --engine, got {request.engine!r}")
    given = [name for name in ("ray_address", "ray_workers", "ray_gpus") if getattr(request, name) is not None]
    if given and request.engine != "ray":
        flag = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"expected --engine ray with {flag}, got --engine {request.engine}; leave {flag} out")
    return ENGINES[request.engine](request, warn)


class Session:
    """A model at w, its text and its store, with the probes and points known so far."""

    def __init__(
        self,
        request: Request,
        subject: Subject,
        store: Store,
        progress: Progress,
        started: float | None = None,
        make_engine: EngineMaker = InlineEngine,
    ) -> None:
        """Bind a subject to its store.

        Args:
            request: The request of the run.
            subject: The model at w, and its windows.
            store: Holds known probes and points, and receives new ones.
            progress: Receives reports.
            started: Start of the run by ``time.monotonic``; None for now.
            make_engine: Makes the engine of each plan.
        """
        self._make_engine = make_engine
        self.request, self.subject, self.store, self.progress = request, subject, store, progress
        self.started = time.monotonic() if started is None else started
        record = provenance(subject.checkpoint.device, subject.checkpoint.matmul_precision)
        self.runner = Runner(store, record, progress.advance, self._check_room)
        self.probes = Probes(self.runner.known, subject.windows)
        self.directions = HeldDirection()
        """The one direction in memory, which all plans share."""
        self.points: dict[AnySpec, WeightPoint] = {}
        """Points found or made so far."""
        self.labels: dict[AnySpec, str] = {}
        """Labels that the probes of these points are stored under."""

    @classmethod
    @contextmanager
    def open(cls, request: Request, progress: Progress | None = None) -> Iterator[Session]:
        """Load the model, its store and its text.

        Raises:
            UsageError: if the request cannot be met as it is.
            CheckpointError: if the model is not available.
            CorpusError: if the text is not available, or too short.
            StoreError: if the store cannot be read or made.
        """
        started, progress = time.monotonic(), progress or Silent()
        engines = find_engine(request, progress.warn)  # refused before the model is loaded
        with marked(request.root, progress.warn) as marker:
            checkpoint = load_model(request, progress)
            check_copy(checkpoint)
            store = open_store(request, checkpoint, progress)
            marker.uses(store.folder.name)
            frozen = frozen_threads(store, progress.warn)
            with frozen, matmul_precision(checkpoint.matmul_precision), engines as make_engine:
                progress.stage("reading the text")
                subject = prepare_subject(request, checkpoint, progress)
                yield cls(request, subject, store, progress, started, make_engine)

    # ---- losses -------------------------------------------------------------------------------------------------

    @property
    def split(self) -> str:
        """Split that losses are judged on."""
        return self.request.split if isinstance(self.request, SplitRequest) else JUDGED_SPLIT

    @property
    def windows(self) -> tuple[Window, ...]:
        """Windows of the judged split."""
        return self.subject.windows[self.split]

    def evaluate(
        self, plan: ProbePlan, points: Mapping[str, Vector] | None = None, families: Iterable[Family] = ()
    ) -> Probes:
        """Evaluate the missing probes of a plan; a rehearsal only notes them.

        Args:
            plan: The probes.
            points: Points of the plan that the session does not hold, by label.
            families: Families of directions in the plan.

        Returns:
            All known probes.
        """
        self.runner.run(plan, self._engine(points or {}, families))
        return self.probes

    def radial(self, family: Family, windows: tuple[Window, ...] | None = None, pairs: bool = False) -> RadialLosses:
        """Return the losses along a family of directions; those that the store lacks are evaluated on demand.

        Args:
            family: The directions.
            windows: Windows to evaluate on; None for all of the judged split.
            pairs: Whether every direction is followed both ways.
        """
        windows = self.windows if windows is None else windows
        return RadialLosses(self.runner, self._engine({}, [family]), family, windows, pairs)

    def check_center(self, windows: tuple[Window, ...]) -> float:
        """Evaluate w on windows of the judged split, and check that it beats chance.

        Returns:
            L(w) on these windows, nats per token.

        Raises:
            CheckpointError: if it does not.
        """
        self.evaluate(point_plan([CENTER], windows))
        nll, subject = self.runner.nll(CENTER, windows), self.subject
        check_center(nll, subject.chance, self.request.corpus, subject.checkpoint.dtype)
        return nll

    def forecast(
        self, preset: Preset, new: Collection[MadeSpec], plan: ProbePlan, probes: int, walks: Walks = NO_WALKS
    ) -> Forecast:
        """Forecast a run; see ``forecast_of``.

        Args:
            preset: The numbers that points are made with.
            new: The points to make.
            plan: The probes known so far; those that were asked for before, such as the pilot's, are added.
            probes: Approximate number of probes to evaluate.
            walks: The walks that measure layer-wise errors.
        """
        return forecast_of(
            self.subject, preset, new, self.maker.searched(new), probes=probes, batch=self.batch,
            compared=len(plan.missing(self.runner.known).compared), walks=walks,
            needed=self.runner.asked | set(plan.probes()), known=self.runner.known,
        )  # fmt: skip

    def pace(self) -> float:
        """Return the wall seconds per window, from those evaluated so far, else from one that is timed now."""
        if self.runner.evaluated:
            return self.runner.seconds / self.runner.evaluated
        return forward_seconds(self.subject.model, self.windows[0].tokens, self.batch)

    @cached_property
    def batch(self) -> int:
        """Number of windows in a forward pass."""
        asked = self.request.batch if isinstance(self.request, ProbingRequest) else None
        return frozen_batch(self.store, self.subject, self.windows[0].tokens, asked)

    def _check_room(self, plan: ProbePlan) -> None:
        """Check that the evaluation fits in memory; jobs that make points check these in their forecast."""
        check_run(evaluation_need(self.subject, self.batch, len(plan.compared)), self.subject.checkpoint)

    def _engine(self, points: Mapping[str, Vector], families: Iterable[Family]) -> Engine:
        subject = self.subject
        own = {label: self.points[spec] for spec, label in self.labels.items()}
        atlas = Atlas(subject.center, {**own, **points}, {family.name: family for family in families}, self.directions)
        return self._make_engine(subject.model, subject.space, atlas, self.batch)

    # ---- points -------------------------------------------------------------------------------------------------

    @cached_property
    def maker(self) -> PointMaker:
        """Maker of points with the numbers of the request."""
        assert isinstance(self.request, PresetRequest)  # other requests draw no windows to make points with
        return PointMaker(self.subject, self.store, self.request.preset, self.request.seed, self.request.gptq)

    def find(self, spec: AnySpec) -> WeightPoint | None:
        """Return a point if another tool made it, the store has it, or this session made it; else None.

        Raises:
            PointError: if another tool's point does not belong to this model.
        """
        if spec not in self.points and (point := self.maker.find(spec)) is not None:
            self._keep(spec, point)
        return self.points.get(spec)

    def point(self, spec: AnySpec) -> WeightPoint:
        """Return a point; make and store it if it does not exist yet.

        Raises:
            NotEvaluated: in a rehearsal, if the point must be made.
        """
        known = self.find(spec)
        if known is not None:
            return known
        if self.runner.rehearsing:
            raise NotEvaluated(spec.name)
        assert not isinstance(spec, ExternalSpec)  # find returns these, or raises
        self.stage(f"making {spec.name}")
        self.directions.release()  # making a point takes memory of its own
        work = self.point_work(spec)
        point = self.maker.make(spec, lambda share: self.progress.advance(share * work))
        self._keep(spec, point)
        return point

    def label(self, spec: AnySpec) -> str:
        """Return the label that a point's probes are stored under; make the point if necessary.

        Raises:
            NotEvaluated: see ``point``.
        """
        self.point(spec)
        return self.labels[spec]

    def point_work(self, spec: MadeSpec) -> float:
        """Return the work of making a point, in forward passes of one window."""
        assert isinstance(self.request, PresetRequest)
        judging = self.subject.calibration.judging_windows
        return point_work(spec.method, spec.width, self.request.preset, judging)

    def _keep(self, spec: AnySpec, point: WeightPoint) -> None:
        self.points[spec] = point
        self.labels[spec] = point_label(point, self.subject.space)

    # ---- the run ------------------------------------------------------------------------------------------------

    def stage(self, name: str) -> None:
        """Report the stage that begins, except in a rehearsal."""
        if not self.runner.rehearsing:
            self.progress.stage(name)

    def info(self, splits: Iterable[str]) -> SubjectInfo:
        """Return the description of model and text for results, given the splits that were probed."""
        subject, splits = self.subject, tuple(splits)
        return SubjectInfo(
            model=self.request.model,
            fingerprint=subject.checkpoint.fingerprint,
            dtype=subject.checkpoint.computation,
            dimension=subject.space.dimension,
            coverage=subject.checkpoint.coverage,
            norm=subject.norm,
            chance=subject.chance,
            data=self.request.corpus,
            seq_len=subject.seq_len,
            windows={split: len(subject.windows[split]) for split in splits},
            architecture=str(getattr(subject.model.config, "model_type", "")),
            revision=self.request.revision,
            options=subject_words(self.request),
            slots=tuple(subject.space),
        )

    def record(self, settings: Mapping[str, object], health: tuple[Check, ...]) -> RunRecord:
        """Merge the shards of the store, and return the record of the run.

        Args:
            settings: Settings of this kind of job alone.
            health: The checks of the run.
        """
        self.store.compact()
        runner, total = self.runner, len(self.runner.asked)
        common = {"seed": self.request.seed, "corpus fingerprint": self.subject.corpus.fingerprint}
        return RunRecord(
            probes=ProbeCount(total, total - runner.evaluated, runner.evaluated),
            seconds=time.monotonic() - self.started,
            store=str(self.store.folder),
            settings={**settings, **common, **self.request.text_settings, **runner.provenance},
            health=health,
        )
