"""Open the model and its probe store, pin the thread count, evaluate probes and make points.

The thread count affects the last bits of sums, so a store keeps the one that it was begun with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import torch
from torch import nn

from landscape.positions.atlas import Atlas
from landscape.positions.directions import Family
from landscape.positions.position import CENTER
from landscape.probing.engines import Engine
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.losses import Probes, RadialLosses
from landscape.probing.plan import NotEvaluated, ProbePlan, Window, point_plan
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from landscape.session.forecast import forward_seconds
from landscape.session.point_maker import PointMaker, point_label
from landscape.session.point_methods import point_work
from landscape.session.point_specs import AnySpec, ExternalSpec, MadeSpec
from landscape.session.progress import Progress, Silent
from landscape.session.request import PresetRequest, RadialRequest, Request
from landscape.session.run_record import Check, ProbeCount, RunRecord, SubjectInfo
from landscape.session.subject import JUDGED_SPLIT, Subject, check_center, prepare, prepare_split
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import StoreError
from quant.nll import EVALUATION
from quant.point import WeightPoint
from quant.reach import check_reach
from quant.space import Vector, WeightSpace
from quant.versions import library_versions

ENGINES: dict[str, Callable[[nn.Module, WeightSpace, Atlas], Engine]] = {"inline": InlineEngine}
"""Engines that evaluate probes, by the name that a request gives."""


class Session:
    """A model at w, its text and its store, with the probes and points known so far."""

    def __init__(
        self, request: Request, subject: Subject, store: Store, progress: Progress, started: float | None = None
    ) -> None:
        """Bind a subject to its store.

        Args:
            request: The request of the run.
            subject: The model at w, and its windows.
            store: Holds known probes and points, and receives new ones.
            progress: Receives reports.
            started: Start of the run by ``time.monotonic``; None for now.
        """
        self.request, self.subject, self.store, self.progress = request, subject, store, progress
        self.started = time.monotonic() if started is None else started
        self.runner = Runner(store, provenance(subject.checkpoint.device), progress.advance)
        self.probes = Probes(self.runner.known, subject.windows)
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
        checkpoint = load_model(request, progress)
        store = open_store(request, checkpoint, progress)
        with frozen_threads(store):
            progress.stage("reading the text")
            yield cls(request, read_text(request, checkpoint, progress), store, progress, started)

    # ---- losses -------------------------------------------------------------------------------------------------

    @property
    def split(self) -> str:
        """Split that losses are judged on."""
        return self.request.split if isinstance(self.request, RadialRequest) else JUDGED_SPLIT

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

    def pace(self) -> float:
        """Return the wall seconds per window, from those evaluated so far, else from one that is timed now."""
        if self.runner.evaluated:
            return self.runner.seconds / self.runner.evaluated
        return forward_seconds(self.subject.model, self.windows[0].tokens)

    def _engine(self, points: Mapping[str, Vector], families: Iterable[Family]) -> Engine:
        subject = self.subject
        own = {label: self.points[spec] for spec, label in self.labels.items()}
        atlas = Atlas(subject.center, {**own, **points}, {family.name: family for family in families})
        return ENGINES[self.request.engine](subject.model, subject.space, atlas)

    # ---- points -------------------------------------------------------------------------------------------------

    @property
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
        return point_work(spec.method, spec.width, self.request.preset, len(self.subject.windows[JUDGED_SPLIT]))

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
            dtype=subject.checkpoint.dtype,
            dimension=subject.space.dimension,
            coverage=subject.checkpoint.coverage,
            norm=subject.norm,
            chance=subject.chance,
            data=self.request.corpus,
            seq_len=subject.seq_len,
            windows={split: len(subject.windows[split]) for split in splits},
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


def load_model(request: Request, progress: Progress) -> Checkpoint:
    """Load the model of a request, and report the share of its weights in w.

    Raises:
        UsageError: if the request names no model, or one that is not available as asked for.
        CheckpointError: if the model cannot be fetched or read.
    """
    progress.stage("loading the model")
    checkpoint = load_checkpoint(
        request.model,
        dtype=request.dtype,
        device=request.device,
        exclude=request.exclude,
        cache=request.root,
        revision=request.revision,
    )
    progress.note(f"{checkpoint.coverage.sentence}.")
    return checkpoint


def open_store(request: Request, checkpoint: Checkpoint, progress: Progress) -> Store:
    """Open the store of a model; before a new one is begun, check that every matrix of w affects the logits.

    Raises:
        CheckpointError: if a matrix does not.
    """
    store = Store(request.root, checkpoint.identity, checkpoint.dtype, warn=progress.warn)
    if not store.begun:
        check_reach(checkpoint.model, checkpoint.space)
    return store


def read_text(request: Request, checkpoint: Checkpoint, progress: Progress) -> Subject:
    """Read the windows that a request needs: those of its preset, or all of one split.

    Raises:
        UsageError: if windows are longer than the model accepts.
        CorpusError: if the text is not available, or too short.
    """
    data, seed, cache = request.corpus, request.seed, request.root
    revision, bos, warn = request.data_revision, request.bos, progress.warn
    if isinstance(request, RadialRequest):
        return prepare_split(
            checkpoint, data, request.split, request.seq_len, seed, cache, revision=revision, bos=bos, warn=warn
        )
    assert isinstance(request, PresetRequest)
    methods = request.data_for
    return prepare(checkpoint, data, request.preset, methods, seed, cache, revision=revision, bos=bos, warn=warn)


@contextmanager
def frozen_threads(store: Store) -> Iterator[None]:
    """Use the number of threads that the store was begun with, and restore the present one afterwards.

    Raises:
        StoreError: if another version of the evaluation summed its losses, or its settings cannot be read.
    """
    before = torch.get_num_threads()
    settings = store.settings({"threads": before, "evaluation": EVALUATION})
    if (stored := settings.get("evaluation", 1)) != EVALUATION:
        raise StoreError(
            f"expected losses summed by version {EVALUATION} of the evaluation in {store.folder}, "
            f"found version {stored}, whose last digits differ; use another --store"
        )
    torch.set_num_threads(int(settings["threads"]))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def provenance(device: str) -> dict[str, object]:
    """Return the provenance of new results: library versions, device and threads."""
    versions = library_versions() | {"h5py": version("h5py")}
    return {**versions, "device": device, "threads": torch.get_num_threads()}
