"""Advise on every grid: from a model's name to a verdict, and the cost of the methods that use data.

    checkpoint → weight space → R → RTN on each grid → evidence → rules → result

The measurements are in ``landscape.advice.evidence``, the rules in ``landscape.advice.rules``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from landscape.advice.evidence import EvidenceCollector
from landscape.advice.request import AdviceRequest
from landscape.advice.rules import Advice, Recommendation, decide
from landscape.estimators.intervals import article_count
from landscape.estimators.loss_limit import Limit
from landscape.estimators.radius_search import RadiusSearch
from landscape.probing.plan import blocks_of
from landscape.session.forecast import Forecast, forward_seconds
from landscape.session.point_methods import point_work
from landscape.session.presets import Preset
from landscape.session.progress import Progress
from landscape.session.run_record import RunRecord, SubjectInfo
from landscape.session.session import Session


@dataclass(frozen=True)
class AdviceResult:
    """The advice for every grid, and the numbers behind it."""

    subject: SubjectInfo
    articles: int | None
    """Number of articles in the windows of ΔL; None if unknown, and each window then counts as independent."""
    center_nll: float
    """L(w), nats per token, on the validation windows."""
    search: RadiusSearch
    """R, its losses, and the rounds of the search."""
    limit: Limit
    advice: tuple[Advice, ...]
    """One for each grid."""
    work: tuple[Mapping[Recommendation, float], ...]
    """For each grid: the cost of GPTQ and of QAFT with this preset, in forward passes of a window."""
    pace: float
    """Wall seconds of one forward pass of a window, timed even if every loss is cached, because the advice gives costs
    in time."""
    run: RunRecord


def advise(request: AdviceRequest, progress: Progress | None = None) -> AdviceResult:
    """Measure the evidence for each grid, and apply the rules of ``landscape.advice.rules``.

    Args:
        request: The grids and the limit.
        progress: Receives the forecast, stages and warnings.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model is not available, or no better than chance on the data.
        CorpusError: if the text is not available, or too short.
        StoreError: if the cache cannot be written; what was committed stays.

    Example:
        >>> from dataclasses import replace
        >>> from landscape import PRESETS, AdviceRequest, advise
        >>> small = replace(PRESETS["quick"], seq_len=64, validation_windows=2)
        >>> [each.verdict for each in advise(AdviceRequest("opt-nano", bits=(8,), preset=small)).advice]
        ['rtn']
    """
    with Session.open(request, progress) as session:
        collector = EvidenceCollector(request, session)
        forecast = collector.forecast(request.specs)
        session.progress.forecast(forecast)
        center_nll = session.check_center(session.windows)
        evidence = [collector.evidence(spec) for spec in request.specs]
        health = collector.health()
        judging = session.subject.calibration.judging_windows
        widths = [spec.scheme.bits for spec in request.specs]
        return AdviceResult(
            subject=session.info([session.split]),
            articles=article_count(blocks_of(session.windows)),
            center_nll=center_nll,
            search=collector.found,
            limit=request.limit,
            advice=tuple(decide(each, request.limit) for each in evidence),
            work=tuple(work_of_ways(bits, request.preset, judging) for bits in widths),
            pace=_pace(forecast, session),
            run=session.record({"preset": request.preset.name, "limit": request.limit.text}, health),
        )


def work_of_ways(bits: int, preset: Preset, judging_windows: int) -> dict[Recommendation, float]:
    """Return the cost of the methods that use data, in forward passes of a window."""
    ways: tuple[Recommendation, ...] = ("gptq", "qaft")
    return {way: point_work(way, bits, preset, judging_windows) for way in ways}


def _pace(forecast: Forecast, session: Session) -> float:
    """Return the seconds of a forward pass of one window: the forecast's if it has them, else timed now.

    Methods run the model on one window at a time; the forecast's passes can be of several.
    """
    if forecast.work and session.batch == 1:
        return (forecast.seconds - forecast.searching) / forecast.work
    return forward_seconds(session.subject.model, session.windows[0].tokens)
