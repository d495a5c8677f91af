"""Advice as a job: from a model's name to a verdict on every grid, and what the ways that use data would cost.

    checkpoint → weight space → R → RTN on each grid → evidence → rules → Advised

What is measured is in ``landscape.advice.evidence``, the rules are in ``landscape.advice.rules``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from landscape.advice.evidence import SPLIT, EvidenceCollector
from landscape.advice.rules import Advice, Recommendation, decide
from landscape.estimators.intervals import article_count
from landscape.estimators.loss_limit import Limit
from landscape.estimators.radius_search import RadiusSearch
from landscape.health.checks import Check
from landscape.positions.position import CENTER
from landscape.probing.plan import blocks_of
from landscape.session.forecast import Forecast, forward_seconds, point_work
from landscape.session.point_specs import PointSpec, wanted_points
from landscape.session.presets import PRESETS, Preset
from landscape.session.progress import Progress, Silent
from landscape.session.request import Request
from landscape.session.session import opened
from landscape.session.subject import Subject
from quant.coverage import Coverage


@dataclass(frozen=True, kw_only=True)
class AdviceRequest(Request):
    """What a user asks of advice."""

    bits: tuple[int, ...] = (8, 4, 3, 2)
    """Bit widths to advise on."""
    scales: tuple[str, ...] = ("exact",)
    """How the grids' scales are found: see ``quant.scale``."""
    granularities: tuple[str, ...] = ("tensor",)
    """What shares a scale: see ``quant.scheme.QuantScheme``."""
    limit: Limit = field(default_factory=lambda: Limit.parse("ppl+5%"))
    """The ΔL that is acceptable."""
    preset: Preset = field(default_factory=lambda: PRESETS["standard"])
    """Windows and their length, and what GPTQ and QAFT would be run with."""

    @property
    def wanted(self) -> tuple[PointSpec, ...]:
        """RTN on every grid."""
        return wanted_points(("rtn",), self.bits, self.scales, self.granularities)


@dataclass(frozen=True)
class AdviceResult:
    """The advice for every grid, and what it cost to give."""

    model: str
    data: str
    seq_len: int
    windows: int
    """How many windows of the validation split ΔL is of."""
    articles: int | None
    """How many articles these lie in; None if not known, each window is then taken for independent."""
    dimension: int
    """D."""
    coverage: Coverage
    """How much of the blocks' weights w holds."""
    norm: float
    """‖w‖."""
    center_nll: float
    """L(w), nats per token, on these windows."""
    chance: float
    """ln|V|."""
    found: RadiusSearch
    """R, the losses that it was read from, and the rounds that led there."""
    limit: Limit
    advice: tuple[Advice, ...]
    """One for each grid."""
    work: tuple[Mapping[Recommendation, float], ...]
    """For each grid: what GPTQ and QAFT would cost with this preset, in forward passes of a window."""
    pace: float
    """Wall seconds of one forward pass of a window, timed also where every loss is cached: what a way would cost in
    time is part of the advice."""
    evaluated: int
    """Windows evaluated now."""
    cached: int
    """Windows whose loss the store already held."""
    seconds: float
    """Wall time."""
    store: str
    """Folder of the cache."""
    health: tuple[Check, ...]
    """Whether the run was sound."""


def advise(request: AdviceRequest, progress: Progress | None = None) -> AdviceResult:
    """Measure what the rules of ``landscape.advice.rules`` ask for, and apply them.

    Args:
        request: What to advise on.
        progress: Hears what is going on.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model cannot be had, or is no better than chance on the data.
        CorpusError: if the text cannot be had, or is too short.
        StoreError: if the cache cannot be written; what was committed stays.
    """
    started = time.monotonic()
    progress = progress or Silent()
    wanted = request.wanted
    with opened(request, progress) as (checkpoint, store):
        progress.stage("reading the text")
        subject = request.subject(checkpoint, request.preset, ("rtn",), progress)
        gatherer = EvidenceCollector(subject, store, request.preset, request.seed, checkpoint.device, progress)
        forecast = gatherer.forecast(wanted)
        progress.forecast(forecast)
        gatherer.check(request.corpus)
        evidence = [gatherer.evidence(made) for made in wanted]
        health = gatherer.health(request.corpus)
        store.compact()
        runner = gatherer.runner
        return AdviceResult(
            model=request.model,
            data=request.corpus,
            seq_len=subject.seq_len,
            windows=len(gatherer.windows),
            articles=article_count(blocks_of(gatherer.windows)),
            dimension=subject.space.dimension,
            coverage=subject.checkpoint.coverage,
            norm=subject.norm,
            center_nll=gatherer.probes.nll(CENTER, SPLIT),
            chance=subject.chance,
            found=gatherer.found,
            limit=request.limit,
            advice=tuple(decide(each, request.limit) for each in evidence),
            work=tuple(work_of_ways(made.scheme.bits, request.preset, len(gatherer.windows)) for made in wanted),
            pace=_pace(forecast, subject),
            evaluated=runner.evaluated,
            cached=len(runner.asked) - runner.evaluated,
            seconds=time.monotonic() - started,
            store=str(store.folder),
            health=health,
        )


def work_of_ways(bits: int, preset: Preset, validation_windows: int) -> dict[Recommendation, float]:
    """What the methods that use data would cost, in forward passes of a window."""
    ways: tuple[Recommendation, ...] = ("gptq", "qaft")
    return {way: point_work(way, bits, preset, validation_windows) for way in ways}


def _pace(forecast: Forecast, subject: Subject) -> float:
    """Wall seconds of one forward pass: the forecast's, which are timed where there was work to do, or timed now."""
    if forecast.work:
        return (forecast.seconds - forecast.searching) / forecast.work
    return forward_seconds(subject.model, subject.windows[SPLIT][0].tokens)
