"""Judge what the paper found on a study: each finding with its number, its interval and the figure that shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from landscape.claims.claim import Claim, Verdict
from landscape.estimators.intervals import Estimate
from landscape.estimators.rank_correlation import rank_correlation
from landscape.formatting import interval, number, plural, rise_text
from landscape.report.study.cells import cell_name, cells, listed, p_text, rate_text, slugs, surveys
from landscape.report.study.epochs import first_below, kept_curve
from landscape.report.study.misalignment import correlation, places
from landscape.report.study.objectives import gap, layer_pairs
from landscape.report.study.rates import best_rate, trained
from landscape.report.study.tradeoff import candidates, comparable, pareto_front
from landscape.session.subject import TEST_SPLIT
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult


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
    """Judge that QAFT has a lower NLL than GPTQ, by the intervals of L(GPTQ) − L(QAFT) on test."""
    found = {c: gap(c, TEST_SPLIT) for c in cells(survey)}
    pairs = [(cell, value) for cell, value in found.items() if math.isfinite(value)]
    known = {m.grid: m.raw[TEST_SPLIT] for m in survey.misalignments if TEST_SPLIT in m.raw}
    below = [cell for cell, value in pairs if value > 0]
    sure = {cell: known.get(f"int{cell.bits}-{cell.grid}") for cell, _ in pairs}
    words = short = f"lower in {len(below)} of {len(pairs)} cells"
    if pairs:
        cell, value = max(pairs, key=lambda each: each[1])
        bound = sure[cell]
        text = number(value, 3) + " (no interval)" if bound is None else rise_text(bound)
        words += f"; most at {cell_name(cell, survey)}: L(GPTQ) − L(QAFT) = {text}"
        short = f"{text} nats at {cell_name(cell, survey)}"
    verdict = _all_above_zero([sure[cell] for cell, _ in pairs])
    text = "QAFT has a lower test NLL than GPTQ"
    return Finding(text, "§4.1, Figure 1, upper row", survey.subject.model, verdict, words, short, f"figure-1-{slug}")


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
    """Judge that one epoch of QAFT is enough for a lower test NLL than GPTQ's."""
    found = [(cell, first_below(cell, record)) for cell, record in trained(survey) if kept_curve(record)]
    found = [(cell, epoch) for cell, epoch in found if cell.get("gptq")]
    soon = [cell_name(cell, survey) for cell, epoch in found if epoch is not None and epoch <= 1]
    verdict: Verdict = "open" if not found else "holds" if len(soon) == len(found) else "fails"
    numbers = f"{len(soon)} of {len(found)} cells after one epoch" + (f": {listed(soon)}" if soon else "")
    text = "one epoch of QAFT is enough to outperform GPTQ"
    none = "no test NLL by epoch"
    short = f"{len(soon)} of {len(found)} cells" if found else none
    return Finding(
        text, "Appendix B, Figure 5", survey.subject.model, verdict, numbers if found else none, short,
        f"figure-5-{slug}",
    )  # fmt: skip


def rates_fall(survey: SurveyResult, slug: str) -> Finding:
    """Judge that the best learning rate falls as bits rise."""
    best = [(cell, rate) for cell, record in trained(survey) if (rate := best_rate(record)) is not None]
    text, source = "more bits want a lower learning rate", "Appendix A, Figure 4"
    if len(best) < 2 or len({cell.bits for cell, _ in best}) < 2:
        few = "fewer than two bit widths with several rates"
        return Finding(text, source, survey.subject.model, "open", few, few, "figure-4")
    numbers = short = ", ".join(f"{cell_name(cell, survey)} {rate_text(rate)}" for cell, rate in best)
    found = rank_correlation([float(cell.bits) for cell, _ in best], [rate for _, rate in best])
    if found is not None:
        short = f"r_s = {number(found.value, 2)}, {p_text(found.p)}"
        numbers += f"; {short}"
    order = [(a[1] <= b[1]) for a in best for b in best if a[0].grid == b[0].grid and a[0].bits > b[0].bits]
    strict = len({rate for _, rate in best}) > 1
    verdict: Verdict = "holds" if all(order) and strict else "open" if all(order) else "fails"
    return Finding(text, source, survey.subject.model, verdict, numbers, short, "figure-4")


def front(study: StudyResult) -> Finding:
    """Judge that QAFT holds most of the quantized places on the Pareto front."""
    fronts = [each for group in comparable(surveys(study)) for each in pareto_front(candidates(group))]
    quantized = [each for each in fronts if each.method != "w"]
    trained_ones = [each for each in quantized if each.method.startswith("qaft")]
    methods = {each.method for group in comparable(surveys(study)) for each in candidates(group)} - {"w"}
    compared = any(m.startswith("qaft") for m in methods) and len(methods) > 1
    verdict: Verdict = "open"
    if quantized and compared:
        verdict = "holds" if 2 * len(trained_ones) > len(quantized) else "fails"
    numbers = (
        f"{len(trained_ones)} of {len(quantized)} quantized places on the front" if quantized else "no place on it"
    )
    short = f"{len(trained_ones)} of {len(quantized)} places" if quantized else numbers
    text = "the Pareto front is dominantly held by QAFT"
    return Finding(text, "§4.2, Figure 2", "all models", verdict, numbers, short, "figure-2")


def radius_predicts(study: StudyResult) -> Finding:
    """Judge that misalignment goes with ρ = ‖Δw‖/R, by the rank correlation over all grids."""
    found = correlation(places(study), "ρ")
    text, source = "the further ‖Δw‖ is beyond R(w), the larger the misalignment", "§4.3, last paragraph"
    if found is None:
        few = "fewer than four grids with M and ρ"
        return Finding(text, source, "all models", "open", few, few, "misalignment")
    sure = found.p < 0.05
    verdict: Verdict = "open" if not sure else "holds" if found.value > 0 else "fails"
    short = f"r_s = {number(found.value, 2)}, {p_text(found.p)}, n = {found.pairs}"
    return Finding(text, source, "all models", verdict, f"Spearman’s {short}", short, "misalignment")


def _layers(survey: SurveyResult) -> Iterator[tuple[str, float, float, float]]:
    """Yield the errors on test of all matrices with GPTQ, QAFT and RTN."""
    for cell in cells(survey):
        yield from (each for each in layer_pairs(cell, TEST_SPLIT) if all(map(math.isfinite, each[1:])))


def _counted(survey: SurveyResult, slug: str, text: str, outcomes: Sequence[bool], all_of: bool) -> Finding:
    verdict: Verdict = "open"
    if outcomes:
        verdict = "holds" if (all(outcomes) if all_of else 2 * sum(outcomes) > len(outcomes)) else "fails"
    numbers = (
        f"{sum(outcomes)} of {len(outcomes)} matrices × bit widths on test" if outcomes else "layer errors not measured"
    )
    short = f"{sum(outcomes)} of {len(outcomes)} matrices" if outcomes else numbers
    source = "§4.1, Figure 1, lower row"
    return Finding(text, source, survey.subject.model, verdict, numbers, short, f"figure-1-{slug}")


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
