"""Draw Figure 4 of Xu et al. 2024: validation NLL by learning rate, and the best rate by model and bit width."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from landscape.formatting import nats, plural
from landscape.report.chart import (
    Axis,
    Chart,
    Heatmap,
    Look,
    Mark,
    Missing,
    Panel,
    Series,
    heat_range,
    rows_of,
    spanning,
)
from landscape.report.study.cells import (
    Cell,
    bit_color,
    bit_look,
    cell_name,
    cells,
    grids,
    listed,
    rate_text,
    surveys,
    width_names,
)
from landscape.session.training_record import Epoch, TrainingRecord
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult

NAME, BEST = "figure-4", "figure-4-best"
TITLE, BEST_TITLE = "Validation NLL by learning rate", "The best learning rate by model and bit width"
CAPTION = (
    "Figure 4 of the paper, left: validation NLL of QAFT at the best epoch of each initial learning rate. Dashed lines "
    "are RTN, where all rates start. A ring marks the rate that was kept."
)
BEST_CAPTION = (
    "Figure 4 of the paper, right: the initial learning rate with the lowest validation NLL. The best rate is one of "
    "those tried; where one rate alone was tried the cell is empty."
)


@dataclass(frozen=True)
class RateLoss:
    """The outcome of one learning rate."""

    rate: float
    epoch: int | None
    """The epoch of the lowest validation NLL; None if none was finite."""
    nll: float
    """Validation NLL there; NaN if none was finite."""


def by_rate(record: TrainingRecord) -> list[RateLoss]:
    """Return the lowest validation NLL of each learning rate, the lowest rate first."""
    found: dict[float, list[Epoch]] = {}
    for epoch in record.epochs:
        if epoch.rate is not None:
            found.setdefault(epoch.rate, []).append(epoch)
    return [_best(rate, found[rate]) for rate in sorted(found)]


def best_rate(record: TrainingRecord) -> float | None:
    """Return the rate of the lowest validation NLL, whether or not it is below RTN's; None if one was tried alone."""
    tried = by_rate(record)
    finite = [each for each in tried if math.isfinite(each.nll)]
    return min(finite, key=lambda each: each.nll).rate if len(tried) > 1 and finite else None


def start_nll(record: TrainingRecord) -> float | None:
    """Return the validation NLL of epoch 0, the start; None if it is not recorded or not finite."""
    return next((epoch.validation_nll for epoch in record.epochs if epoch.epoch == 0), None)


def trained(survey: SurveyResult) -> list[tuple[Cell, TrainingRecord]]:
    """Return the cells whose QAFT has a record of its training."""
    found = [(cell, cell.get("qaft")) for cell in cells(survey)]
    return [(cell, point.training) for cell, point in found if point is not None and point.training is not None]


def rates(study: StudyResult) -> Chart | Missing:
    """Describe the left half of Figure 4: a panel for each model."""
    all_trained = [(survey, trained(survey)) for survey in surveys(study)]
    if not any(found for _, found in all_trained):
        return Missing(NAME, TITLE, "No QAFT has a record of its training.")
    several = [(s, f) for s, f in all_trained if any(len(by_rate(record)) > 1 for _, record in f)]
    if not several:
        return Missing(NAME, TITLE, "Every QAFT tried one learning rate alone: there is nothing to compare.")
    columns = 2 if len(several) > 1 else 1
    panels = rows_of((_panel(survey, found) for survey, found in several), columns)
    return Chart(NAME, _title(several), CAPTION, panels, tuple(_notes(several)))


def best_rates(study: StudyResult) -> Chart | Missing:
    """Describe the right half of Figure 4: models × bit widths, coloured by the best rate."""
    lines: dict[str, dict[int, tuple[float, str]]] = {}
    for survey in surveys(study):
        for cell, record in trained(survey):
            if (rate := best_rate(record)) is not None:
                several = f" {cell.grid}" if len(grids(survey)) > 1 else ""
                tried = ", ".join(f"{rate_text(each.rate)}: {nats(each.nll)}" for each in by_rate(record))
                name = f"{survey.subject.model}, {cell_name(cell, survey)}"
                hover = f"{name}\nbest rate {rate_text(rate)}\nvalidation NLL {tried}"
                lines.setdefault(survey.subject.model + several, {})[cell.bits] = (rate, hover)
    if not lines:
        return Missing(BEST, BEST_TITLE, "No QAFT tried more than one learning rate.")
    bits = sorted({width for line in lines.values() for width in line}, reverse=True)
    values = tuple(tuple(line[b][0] if b in line else math.nan for b in bits) for line in lines.values())
    hover_texts = tuple(tuple(line[b][1] if b in line else "" for b in bits) for line in lines.values())
    text = tuple(tuple(f"{rate_text(line[b][0])}" if b in line else "" for b in bits) for line in lines.values())
    columns = width_names(bits, surveys(study))
    ends = heat_range([values], log=True)
    assert ends is not None  # rates are above 0
    unlike = len({v for line in values for v in line if math.isfinite(v)}) > 1
    heat = Heatmap(columns, tuple(lines), values, "best rate", hover_texts, ends, log=True, text=text, bar=unlike)
    panel = Panel("best initial learning rate", Axis("bit width"), Axis(""), (heat,))
    return Chart(BEST, _best_title(lines), BEST_CAPTION, ((panel,),))


def _best(rate: float, epochs: list[Epoch]) -> RateLoss:
    finite = [(e.validation_nll, e.epoch) for e in epochs if e.validation_nll is not None]
    nll, epoch = min(finite, default=(math.nan, None))
    return RateLoss(rate, epoch, nll)


def _panel(survey: SurveyResult, found: list[tuple[Cell, TrainingRecord]]) -> Panel:
    every = [each for _, record in found for each in by_rate(record)]
    ends = spanning((each.rate for each in every), log=True)
    marks: list[Mark] = []
    for cell, record in found:
        marks += _lines(cell, record, survey, ends)
    ticks = tuple((rate, f"{rate_text(rate)}") for rate in sorted({each.rate for each in every}))
    x = Axis("initial learning rate (logarithmic)", log=True, range=ends, ticks=ticks)
    return Panel(survey.subject.model, x, Axis("validation NLL (nats per token)"), tuple(marks))


def _lines(cell: Cell, record: TrainingRecord, survey: SurveyResult, ends: tuple[float, float]) -> Iterator[Series]:
    name, tried = cell_name(cell, survey), by_rate(record)
    look = bit_look(cell.bits, grids(survey).index(cell.grid), dash="solid")
    start = start_nll(record)
    if start is not None:
        hover = f"RTN {name}: {nats(start)}, before any training"
        dashed = Look(bit_color(cell.bits), None, "dash", width=1.2)
        yield Series("RTN", ends, (start, start), dashed, (hover, hover), legend=False)
    kept = record.chosen
    if kept.rate is not None and kept.validation_nll is not None:
        ring = Look(bit_color(cell.bits), "circle", None, size=16, filled=False)
        yield Series("", (kept.rate,), (kept.validation_nll,), ring, legend=False)
    hovers = tuple(
        f"{name} at rate {rate_text(each.rate)}\nvalidation NLL {nats(each.nll)}, epoch {each.epoch}\nRTN "
        f"{'not finite' if start is None else nats(start)}"
        for each in tried
    )
    yield Series(name, tuple(e.rate for e in tried), tuple(e.nll for e in tried), look, hovers)


def _title(several: list[tuple[SurveyResult, list[tuple[Cell, TrainingRecord]]]]) -> str:
    survey, found = several[0]
    best = [(cell, rate) for cell, record in found if (rate := best_rate(record)) is not None]
    if len(best) < 2:
        return "Validation NLL of QAFT by its initial learning rate"
    (high, slow), (low, fast) = best[0], best[-1]
    if len({rate for _, rate in best}) == 1:
        return f"{survey.subject.model} trains best at {rate_text(slow)} at each of {len(best)} bit widths"
    trains = f"{survey.subject.model} trains best at {rate_text(slow)} with {cell_name(high, survey)}"
    return f"{trains} and at {rate_text(fast)} with {cell_name(low, survey)}"


def _best_title(lines: dict[str, dict[int, tuple[float, str]]]) -> str:
    pairs = [(line[max(line)][0], line[min(line)][0]) for line in lines.values() if len(line) > 1]
    if not pairs:
        return "The best learning rate of QAFT"
    up = sum(low > high for high, low in pairs)
    said = f"Fewer bits want a higher learning rate in {up} of {plural(len(pairs), 'row')}"
    return said + (
        f": the best one is {rate_text(pairs[0][0])} throughout"
        if len({rate for pair in pairs for rate in pair}) == 1
        else ""
    )


def _notes(several: list[tuple[SurveyResult, list[tuple[Cell, TrainingRecord]]]]) -> Iterator[str]:
    for survey, found in several:
        lost = [
            f"{cell_name(cell, survey)} at {rate_text(each.rate)}"
            for cell, record in found for each in by_rate(record) if not math.isfinite(each.nll)
        ]  # fmt: skip
        if lost:
            yield f"No finite validation NLL with {survey.subject.model}, {listed(lost)}: the training diverged."
        unmoved = [cell_name(cell, survey) for cell, record in found if record.chosen.rate is None]
        if unmoved:
            yield f"No epoch was better than RTN with {survey.subject.model}, {listed(unmoved)}: RTN was kept."
