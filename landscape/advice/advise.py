"""Advise on every bit width: from a model's name to a verdict, the evidence behind it, and what it would cost to do.

    checkpoint → weight space → RTN on each grid → trials where they decide → choices → verdict

The measurements are in ``landscape.advice.evidence``, what is measured when in ``landscape.advice.adviser``, the rule
in ``landscape.advice.choice``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from landscape.advice.adviser import Adviser, Control, GridEvidence, WidthAdvice
from landscape.advice.choice import Verdict
from landscape.advice.evidence import MeasuredEvidence
from landscape.advice.explain import Explanation, explain, work_of
from landscape.advice.grids import Candidates, candidates, left_out, ragged
from landscape.advice.request import AdviceRequest
from landscape.advice.ways import Way
from landscape.estimators.intervals import Estimate, article_count
from landscape.estimators.location import ratio
from landscape.estimators.looks import FIRST
from landscape.estimators.loss_limit import Limit
from landscape.estimators.radius_search import RadiusSearch
from landscape.health.checks import SLOPE, unchecked
from landscape.health.self_checks import SLOPE_DIRECTIONS, FinishedRun, examine, measure_slope, slope_plan
from landscape.positions.position import CENTER
from landscape.probing.plan import blocks_of, point_plan
from landscape.session.forecast import Forecast, forecast_of, forward_seconds
from landscape.session.point_methods import point_work
from landscape.session.point_specs import PointSpec
from landscape.session.progress import Progress
from landscape.session.run_record import Check, RunRecord, SubjectInfo
from landscape.session.session import Session
from quant.errors import UsageError

LOOKED = 8
"""Windows that a loss takes in the median, for the forecast."""
RADIUS_WORK = 100
"""Probes of a search for R, for the forecast."""
TRIED_BELOW = 8
"""Bit width below which rounding is likely to leave the limit open, for the forecast."""


@dataclass(frozen=True)
class AdviceResult:
    """The advice for every bit width, and the numbers behind it."""

    subject: SubjectInfo
    articles: int | None
    """Number of articles in the windows; None if unknown, and each window then counts as independent."""
    center_nll: float
    """L(w), nats per token, on all validation windows."""
    limit: Limit
    confidence: float
    """Probability with which the limit shall be kept."""
    net: bool
    """True if QAFT was judged less its control."""
    advice: tuple[WidthAdvice, ...]
    """One for each bit width, the largest first."""
    search: RadiusSearch | None
    """R, its losses, and the rounds of the search; None if it was not asked for."""
    explanations: Mapping[str, Explanation]
    """By the name of the grid; empty if they were not asked for."""
    work: Mapping[int, Mapping[Way, float]]
    """For each bit width the cost of GPTQ and of QAFT with this preset, in forward passes of a window."""
    pace: float
    """Wall seconds of one forward pass of a window, timed even if every loss is cached, because the advice gives costs
    in time."""
    run: RunRecord

    @property
    def control(self) -> Control | None:
        """The control of QAFT; None where no verdict needed it."""
        return self.advice[0].control

    @property
    def smallest(self) -> Verdict:
        """The verdict of fewest bits that keeps the limit; where none does, the one that comes nearest to it."""
        verdicts = [found.verdict for found in self.advice]
        kept = [verdict for verdict in verdicts if verdict.keeps]
        if kept:
            return min(kept, key=lambda verdict: verdict.choice.bits_per_weight)
        return min(verdicts, key=lambda verdict: verdict.choice.judged(self.net).high)

    def rho(self, grid: GridEvidence) -> Estimate | None:
        """Return ρ = ‖Δw‖/R of a grid; None if R was not measured, or is censored."""
        return None if self.search is None else ratio(grid.distance, self.search.radius)


def advise(request: AdviceRequest, progress: Progress | None = None) -> AdviceResult:
    """Measure the evidence for each grid, and name the cheapest way that keeps the limit at each bit width.

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
        >>> small = replace(PRESETS["quick"], seq_len=64)
        >>> asked = AdviceRequest("opt-nano", bits=(8,), preset=small, windows=8, radius=False)
        >>> [(each.verdict.choice.way, each.verdict.keeps) for each in advise(asked).advice]
        [('rtn', True)]
    """
    with Session.open(request, progress) as session:
        evidence = MeasuredEvidence(request, session)
        adviser = Adviser(request.question, evidence)
        asked = _asked(request, session)
        forecast = _forecast(request, evidence, adviser, asked)
        session.progress.forecast(forecast)
        center_nll = session.check_center(session.windows)
        advice = adviser.advise_all(_by_width(asked))
        schemes = [grid.scheme for each in advice for grid in each.grids] if request.explain else []
        explanations = {str(scheme): explain(session, scheme, request.seed) for scheme in schemes}
        search = evidence.found if request.radius else None
        return AdviceResult(
            subject=session.info([session.split]),
            articles=article_count(blocks_of(session.windows)),
            center_nll=center_nll,
            limit=request.limit,
            confidence=request.confidence,
            net=request.net,
            advice=advice,
            search=search,
            explanations=explanations,
            work={found.bits: _work_of_ways(found.bits, request) for found in advice},
            pace=_pace(forecast, session),
            run=session.record(
                {"preset": request.preset.name, "limit": request.limit.text, "confidence": request.confidence},
                _health(evidence, search),
            ),
        )


def _asked(request: AdviceRequest, session: Session) -> list[Candidates]:
    """Return the grids to look at; say which of them do not fit the matrices.

    Raises:
        UsageError: if none of them fits.
    """
    space = session.subject.space
    found = list(candidates(request.bits, request.granularities, request.scales, space))  # type: ignore[arg-type]
    left = list(left_out(request.bits, request.granularities, space))
    if not found:
        raise UsageError(f"expected a grid that fits the model, got none: {'; '.join(left)}")
    integers = (each.granularity for each in found if each.schemes[0].format is None)
    shorter = (ragged(granularity, space) for granularity in dict.fromkeys(integers))
    for words in (*left, *filter(None, shorter)):
        session.progress.warn(words)
    return found


def _by_width(asked: Sequence[Candidates]) -> list[list[Candidates]]:
    """Group the grids by bit width, the largest first."""
    widths = sorted({each.bits for each in asked}, reverse=True)
    return [[each for each in asked if each.bits == bits] for bits in widths]


def _forecast(
    request: AdviceRequest, evidence: MeasuredEvidence, adviser: Adviser, asked: Sequence[Candidates]
) -> Forecast:
    """Forecast the cost of the evidence; one forward pass is measured if there is work to do.

    Everything is rehearsed on the known results: evidence for which they are enough costs nothing. How many looks a
    loss will take, and which trials will be made, is not known beforehand: a loss counts with the median, each bit
    width below 8 with one small GPTQ, and all of these with one short fine-tuning.
    """
    session, runner, windows = evidence.session, evidence.session.runner, evidence.windows
    plan = point_plan([CENTER], session.windows)
    if request.radius:
        plan += slope_plan(evidence.sphere, SLOPE_DIRECTIONS, evidence.subject.norm, session.windows)
    with runner.rehearsal():
        session.evaluate(plan)
    probes = len(plan.missing(runner.known))
    if request.radius and not runner.knows(lambda: evidence.found):
        probes += RADIUS_WORK
    unknown = [tried for tried in asked if not runner.knows(partial(adviser.grid, tried))]
    probes += sum(min(LOOKED, windows) + min(FIRST, windows) * (len(tried.schemes) - 1) for tried in unknown)
    judged = [tried for tried in _by_width(asked) if not runner.knows(partial(adviser.advise, tried))]
    low = sum(tried[0].bits < TRIED_BELOW for tried in judged)
    trials = low * (evidence.trials.gptq_work + min(LOOKED, windows))
    if low and not runner.knows(evidence.untrainable):
        trials += evidence.trials.finetuning_work + min(LOOKED, windows)

    def explained(tried: Candidates) -> Explanation:
        return explain(session, adviser.grid(tried).scheme, request.seed)

    to_explain = asked if request.explain else ()
    probes += sum(work_of(windows) for tried in to_explain if not runner.knows(partial(explained, tried)))
    specs = [PointSpec("rtn", scheme) for tried in asked for scheme in tried.schemes]
    new = [spec for spec in specs if session.find(spec) is None]
    return forecast_of(
        evidence.subject,
        request.preset,
        new,
        session.maker.searched(new),
        probes=probes + round(trials),
        batch=session.batch,
        needed=runner.asked,
        known=runner.known,
    )


def _health(evidence: MeasuredEvidence, search: RadiusSearch | None) -> tuple[Check, ...]:
    """Check that the run was sound, and warn of each check that failed; the slope at w belongs to R."""
    session, sphere, norm = evidence.session, evidence.sphere, evidence.subject.norm
    if search is None:
        done = FinishedRun.of(session, sphere, 1, norm, unchecked(SLOPE, "R was not asked for"))
    else:
        slope = measure_slope(session, sphere)
        directions, lam = search.rounds[-1].directions, float(search.probes.lambdas[0])
        done = FinishedRun.of(session, sphere, directions, lam, slope)
    return examine(done, session.progress)


def _work_of_ways(bits: int, request: AdviceRequest) -> dict[Way, float]:
    """Return the cost of the methods that use data, in forward passes of a window."""
    preset = request.preset
    judging = (preset.validation_windows or request.windows) + (preset.test_windows or request.windows)
    ways: tuple[Way, ...] = ("gptq", "qaft")
    return {way: point_work(way, bits, preset, judging) for way in ways}


def _pace(forecast: Forecast, session: Session) -> float:
    """Return the seconds of a forward pass of one window: the forecast's if it has them, else timed now.

    Methods run the model on one window at a time; the forecast's passes can be of several.
    """
    if forecast.work and session.batch == 1:
        return (forecast.seconds - forecast.searching) / forecast.work
    return forward_seconds(session.subject.model, session.windows[0].tokens)
