"""Judge what the paper found on a study: each finding with its number, its interval and the figure that shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from landscape.claims.claim import Claim, Verdict
from landscape.estimators.intervals import Estimate
from landscape.estimators.rank_correlation import LEAST, rank_correlation
from landscape.formatting import interval, number, plural, rise_text
from landscape.report.study import misalignment
from landscape.report.study.cells import Cell, cell_name, cells, listed, p_text, rate_text, slugs, surveys, test_nll
from landscape.report.study.epochs import gap_after_one
from landscape.report.study.objectives import gap, layer_pairs
from landscape.report.study.rates import best_rate, trained
from landscape.report.study.tradeoff import (
    QuantizedPlace,
    candidates,
    comparable,
    pareto_front,
    quantized_places,
)
from landscape.session.request import TEST_SPLIT
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult
from quant.scheme import grid_label

SURE = 0.05
"""p of a permutation test below which a rank correlation decides a finding."""


@dataclass(frozen=True)
class Finding:
    """A finding of the paper, and whether it holds here."""

    text: str
    """The finding, in a sentence."""
    source: str
    """Place in the paper."""
    model: str
    """The model that it is judged on; ``all models`` if on all of them together."""
    verdict: Verdict
    numbers: str
    """The numbers behind it, with their intervals."""
    short: str
    """The one number that decides, with its interval."""
    figure: str
    """ID of the figure that shows it."""


def findings(study: StudyResult) -> list[Finding]:
    """Return the findings on methods, model by model, then those on all models, then the claims on the landscape."""
    named = list(zip(surveys(study), slugs(study), strict=True))
    of_methods: list[Callable[[SurveyResult, str], Finding]] = [
        lower_nll, lower_layer_error, higher_layer_error, one_epoch, rates_fall,
    ]  # fmt: skip
    found = [judge(survey, slug) for judge in of_methods for survey, slug in named]
    return [*found, front(study), radius_predicts(study)]


def claim_findings(study: StudyResult) -> list[Finding]:
    """Return the claims on the landscape, one finding for each claim and model, over all of its cases."""
    found = []
    for model, slug in zip(study.models, slugs(study), strict=True):
        for claim_number in sorted({claim.number for claim in model.claims}):
            cases = [claim for claim in model.claims if claim.number == claim_number]
            found.append(_of_claim(cases, model.name, f"figure-3-{slug}"))
    return found


def claim_verdict(cases: Sequence[Claim]) -> Verdict:
    """Return the verdict over all cases that count: fails if one fails, holds if all hold."""
    judged = [claim.verdict for claim in cases if not claim.aside]
    if "fails" in judged:
        return "fails"
    return "holds" if judged and set(judged) == {"holds"} else "open"


def lower_nll(survey: SurveyResult, slug: str) -> Finding:
    """Judge that QAFT has a lower NLL than GPTQ, by the intervals of L(GPTQ) − L(QAFT) on test.

    A cell where GPTQ's loss is not finite has no difference: it is named and not judged. One where QAFT's is not finite
    keeps the finding from holding.
    """
    found = [(c, gap(c, TEST_SPLIT)) for c in cells(survey) if (p := c.get("qaft")) and TEST_SPLIT in p.nll]
    pairs = [(cell, value) for cell, value in found if math.isfinite(value)]
    lost = [cell for cell, value in found if not math.isfinite(value) and cell.get("gptq")]
    bounds, below = gap_intervals(survey), [cell for cell, value in pairs if value > 0]
    words = short = f"lower in {len(below)} of {len(pairs)} cells"
    if pairs:
        cell, value = max(pairs, key=lambda each: each[1])
        bound = bounds.get(_grid(cell))
        text = number(value, 3) + " (no interval)" if bound is None else rise_text(bound)
        words += f"; most at {cell_name(cell, survey)}: L(GPTQ) − L(QAFT) = {text}"
        short = f"{text} nats at {cell_name(cell, survey)}"
    if lost:
        words += f"; a loss is not finite in {len(lost)} more: {listed([cell_name(c, survey) for c in lost])}"
    diverged = [None for c in lost if (p := c.get("qaft")) and test_nll(p) is None]
    verdict = _all_above_zero([*(bounds.get(_grid(cell)) for cell, _ in pairs), *diverged])
    text = "QAFT has a lower test NLL than GPTQ"
    return Finding(text, "§4.1, Figure 1, upper row", survey.subject.model, verdict, words, short, f"figure-1-{slug}")


def gap_intervals(survey: SurveyResult) -> dict[str, Estimate]:
    """Return L(GPTQ) − L(QAFT) on test with its interval, by grid; that beside M where a record has no other."""
    old = {m.grid: m.raw[TEST_SPLIT] for m in survey.misalignments if TEST_SPLIT in m.raw}
    return old | {g.grid: g.difference[TEST_SPLIT] for g in survey.gaps if TEST_SPLIT in g.difference}


def lower_layer_error(survey: SurveyResult, slug: str) -> Finding:
    """Judge that GPTQ lowers the error of every matrix under that of RTN."""
    each = [(gptq, rtn) for _, gptq, _, rtn in _layers(survey)]
    return _counted(
        survey, slug, "GPTQ lowers the error of every layer from RTN’s level", [a < b for a, b in each], all_of=True
    )


def higher_layer_error(survey: SurveyResult, slug: str) -> Finding:
    """Judge that QAFT hardly ever lowers the error of a matrix: it is at least RTN's in more than half of them."""
    each = [(qaft, rtn) for _, _, qaft, rtn in _layers(survey)]
    return _counted(
        survey, slug, "QAFT mostly raises the error of the layers above RTN’s", [a > b for a, b in each], all_of=False
    )


def one_epoch(survey: SurveyResult, slug: str) -> Finding:
    """Judge that one epoch of QAFT is enough for a lower test NLL than GPTQ's.

    Only the losses of the point that was kept are known window by window: the interval is that of L(GPTQ) − L(QAFT)
    where the first epoch was kept, and elsewhere there is none.
    """
    found = [
        (cell, record, after) for cell, record in trained(survey) if (after := gap_after_one(cell, record)) is not None
    ]
    bounds = gap_intervals(survey)
    sure = [bounds.get(_grid(cell)) if record.chosen.epoch == 1 else None for cell, record, _ in found]
    text, source, figure = "one epoch of QAFT is enough to outperform GPTQ", "Appendix B, Figure 5", f"figure-5-{slug}"
    if not found:
        none = "no test NLL after one epoch beside a finite one of GPTQ"
        return Finding(text, source, survey.subject.model, "open", none, none, figure)
    soon = [cell_name(cell, survey) for cell, _, after in found if after > 0]
    short = f"{len(soon)} of {len(found)} cells"
    numbers = f"{short} after one epoch" + (f": {listed(soon)}" if soon else "")
    if alone := sure.count(None):
        numbers += f"; {alone} not judged by an interval, since a later epoch or none was kept"
        short += " (no interval)"
    return Finding(text, source, survey.subject.model, _all_above_zero(sure), numbers, short, figure)


def rates_fall(survey: SurveyResult, slug: str) -> Finding:
    """Judge that the best learning rate falls as bits rise, by the rank correlation over bit widths.

    The grids of one bit width count once, by their mean logarithm: they are too alike to be independent.
    """
    best = [(cell, rate) for cell, record in trained(survey) if (rate := best_rate(record)) is not None]
    text, source = "more bits want a lower learning rate", "Appendix A, Figure 4"
    by_bits = {cell.bits: [math.log10(rate) for c, rate in best if c.bits == cell.bits] for cell, _ in best}
    if len(by_bits) < 2:
        few = "fewer than two bit widths with several rates"
        return Finding(text, source, survey.subject.model, "open", few, few, "figure-4")
    numbers = short = ", ".join(f"{cell_name(cell, survey)} {rate_text(rate)}" for cell, rate in best)
    found = rank_correlation([float(bits) for bits in by_bits], [sum(v) / len(v) for v in by_bits.values()])
    if found is None:
        alike = len({rate for _, rate in best}) == 1
        numbers += "; one rate is the best of all" if alike else f"; not tested with fewer than {LEAST} bit widths"
        return Finding(text, source, survey.subject.model, "open", numbers, short, "figure-4")
    short = f"r_s = {number(found.value, 2)}, {p_text(found.p)}"
    verdict: Verdict = "open" if found.p >= SURE else "holds" if found.value < 0 else "fails"
    return Finding(text, source, survey.subject.model, verdict, f"{numbers}; {short}", short, "figure-4")


def front(study: StudyResult) -> Finding:
    """Judge that QAFT holds most of the quantized places on the Pareto front.

    A place counts for it where the interval of L(GPTQ) − L(QAFT) on its grid lies above 0, against it where another
    point holds it and the interval lies below; other places, and those that it shares, decide nothing.
    """
    groups = [candidates(group) for group in comparable(surveys(study))]
    places = [place for group in groups for place in quantized_places(pareto_front(group))]
    bounds = {
        (survey.subject.model, point.name): bound
        for survey in surveys(study) for cell in cells(survey) for point in cell.points.values()
        if (bound := gap_intervals(survey).get(_grid(cell))) is not None
    }  # fmt: skip

    def known(place: QuantizedPlace) -> list[Estimate]:
        return [bounds[each.model, each.name] for each in place.held_by if (each.model, each.name) in bounds]

    own = [place for place in places if place.is_trained]
    sure = [place for place in own if any(bound.low > 0 for bound in known(place))]
    against = [p for p in places if p.is_untrained and any(bound.high < 0 for bound in known(p))]
    methods = {each.method for group in groups for each in group} - {"w"}
    compared = places and any(method.startswith("qaft") for method in methods) and len(methods) > 1
    holds, fails = 2 * len(sure) > len(places), 2 * len(against) >= len(places)
    verdict: Verdict = "open" if not compared else "holds" if holds else "fails" if fails else "open"
    numbers = short = "no place on it"
    if places:
        short = f"{len(own)} of {len(places)} places"
        numbers = f"{len(own)} of {len(places)} quantized places on the front, {len(sure)} of them surely below GPTQ"
        if unsure := len(places) - len(sure) - len(against):
            numbers += f"; {plural(unsure, 'place')} not judged by an interval, or shared with RTN"
    text = "the Pareto front is dominantly held by QAFT"
    return Finding(text, "§4.2, Figure 2", "all models", verdict, numbers, short, "figure-2")


def radius_predicts(study: StudyResult) -> Finding:
    """Judge that misalignment goes with ρ = ‖Δw‖/R among models at the same bit width.

    Over the bit widths of one model both rise together whatever R is, so that it proves nothing.
    """
    found = misalignment.correlation(misalignment.places(study), "ρ")
    text, source = "the further ‖Δw‖ is beyond R(w), the larger the misalignment", "§4.3, last paragraph"
    if found is None:
        few = "fewer than four grids with M and ρ"
        return Finding(text, source, "all models", "open", few, few, "misalignment")
    tested = found.tested
    verdict: Verdict = "open" if tested is None or tested.p >= SURE else "holds" if tested.value > 0 else "fails"
    numbers = f"Spearman’s {found.words}" + (f": {found.untested}" if found.untested else "")
    return Finding(text, source, "all models", verdict, numbers, found.words, "misalignment")


def _layers(survey: SurveyResult) -> Iterator[tuple[str, float, float, float]]:
    """Yield the errors on test of all matrices with GPTQ, QAFT and RTN."""
    for cell in cells(survey):
        yield from (each for each in layer_pairs(cell, TEST_SPLIT) if all(map(math.isfinite, each[1:])))


def _counted(survey: SurveyResult, slug: str, text: str, outcomes: Sequence[bool], all_of: bool) -> Finding:
    verdict: Verdict = "open"
    if outcomes:
        verdict = "holds" if (all(outcomes) if all_of else 2 * sum(outcomes) > len(outcomes)) else "fails"
    numbers = (
        f"{sum(outcomes)} of {len(outcomes)} matrices × bit widths on test, counted, not judged by an interval"
        if outcomes
        else "layer errors not measured"
    )
    short = f"{sum(outcomes)} of {len(outcomes)} matrices (no interval)" if outcomes else numbers
    source = "§4.1, Figure 1, lower row"
    return Finding(text, source, survey.subject.model, verdict, numbers, short, f"figure-1-{slug}")


def _grid(cell: Cell) -> str:
    """Return the name of a cell's grid, such as ``int2-exact``."""
    return grid_label(cell.bits, cell.grid)


def _all_above_zero(intervals: Sequence[Estimate | None]) -> Verdict:
    """Return fails if one interval lies below 0, holds if all lie above, else open."""
    if any(each is not None and each.high < 0 for each in intervals):
        return "fails"
    return "holds" if intervals and all(each is not None and each.low > 0 for each in intervals) else "open"


def _of_claim(cases: Sequence[Claim], model: str, figure: str) -> Finding:
    counted = [claim for claim in cases if not claim.aside] or list(cases)
    counts = [f"{sum(c.verdict == v for c in counted)} {v}" for v in ("holds", "fails", "open")]
    shown = next((c for v in ("fails", "open", "holds") for c in counted if c.verdict == v), counted[0])
    counts = [text for text in counts if not text.startswith("0 ")]
    numbers = f"{', '.join(counts)} of {plural(len(counted), 'case')}"
    numbers += f"; {shown.case}: {shown.verdict}, {claim_number(shown)}"
    short = f"{shown.case}: {_value(shown)}" if shown.estimate is not None else "no number"
    return Finding(counted[0].text, counted[0].source, model, claim_verdict(cases), numbers, short, figure)


def claim_number(claim: Claim) -> str:
    """Write measure, number and interval of a claim, and the values with which it holds."""
    if claim.estimate is None:
        return f"no number: {claim.note}" if claim.note else "no number"
    return f"{_value(claim)} (holds if {claim.threshold})"


def _value(claim: Claim) -> str:
    """Write number and interval of a claim that has them."""
    value = claim.estimate
    assert value is not None
    if value.value == value.low == value.high:
        return number(value.value, 3)
    return interval(value, number(value.value, 3), "not bounded by the data")
