"""Draw Figure 5 of Xu et al. 2024 for a model: test NLL after each epoch of QAFT, against GPTQ."""

from __future__ import annotations

import math
from collections.abc import Iterator

from landscape.formatting import nats
from landscape.report.chart import Axis, Chart, Look, Mark, Missing, Panel, Series, rows_of
from landscape.report.palette import INK
from landscape.report.study.cells import Cell, cell_name, listed, method_look, rate_text, test_nll
from landscape.report.study.rates import trained
from landscape.session.request import TEST_SPLIT
from landscape.session.training_record import Epoch, TrainingRecord
from landscape.survey.result import SurveyResult

SAME = 1e-3
"""Nats by which the test NLL of an epoch and of the point that it became may differ: rounding, not other windows."""
CAPTION = (
    "Figure 5 of the paper: NLL on test after each epoch of QAFT at the rate that was kept, thin lines at the others. "
    "Epoch 0 is RTN, the start. The dashed line is GPTQ, the dotted one w. The test split chose nothing."
)


def epochs(survey: SurveyResult, slug: str) -> Chart | Missing:
    """Describe Figure 5 of one model: a panel for each cell."""
    name, title = f"figure-5-{slug}", f"Test NLL by epoch, {survey.subject.model}"
    found = trained(survey)
    if not found:
        return Missing(name, title, f"No QAFT of {survey.subject.model} has a record of its training.")
    recorded = [(cell, record) for cell, record in found if kept_curve(record)]
    if not recorded:
        return Missing(name, title, f"The test NLL by epoch was not recorded for {survey.subject.model}.")
    columns = min(3, len(recorded))
    panels = (_panel(survey, *each, titled=i % columns == 0) for i, each in enumerate(recorded))
    rows = rows_of(panels, columns)
    return Chart(name, _title(survey, recorded), CAPTION, rows, tuple(_notes(survey, found, recorded)))


def kept_curve(record: TrainingRecord) -> list[tuple[int, float]]:
    """Return epoch and test NLL at the kept rate, epoch 0 first; empty without a recorded epoch after it.

    Where RTN was kept no rate was: the curve is then that of the rate with the lowest validation NLL.
    """
    return _curve(record, _rate(record))


def _rate(record: TrainingRecord) -> float | None:
    if record.chosen.rate is not None:
        return record.chosen.rate
    judged = [(e.validation_nll, e.rate) for e in record.epochs if e.rate is not None and e.validation_nll is not None]
    return min(judged)[1] if judged else None


def _curve(record: TrainingRecord, rate: float | None) -> list[tuple[int, float]]:
    of_rate: list[Epoch] = [e for e in record.epochs if e.epoch == 0 or (e.rate == rate and rate is not None)]
    found = sorted((e.epoch, e.test_nll) for e in of_rate if e.test_nll is not None)
    return found if any(epoch > 0 for epoch, _ in found) else []


def first_below(cell: Cell, record: TrainingRecord) -> int | None:
    """Return the first epoch of training whose test NLL is below GPTQ's; None if none is, or either is missing.

    Epoch 0 is RTN and does not count: where RTN is below GPTQ, training did not bring it there.
    """
    gptq = cell.get("gptq")
    level = None if gptq is None else test_nll(gptq)
    if level is None:
        return None
    return next((epoch for epoch, nll in kept_curve(record) if epoch > 0 and nll < level), None)


def gap_after_one(cell: Cell, record: TrainingRecord) -> float | None:
    """Return L(GPTQ) − L(QAFT after one epoch) on test; None if either is missing, not finite or of other windows."""
    gptq, first = cell.get("gptq"), dict(kept_curve(record)).get(1)
    level = None if gptq is None else test_nll(gptq)
    return None if level is None or first is None or _of_other_windows(cell, record) else level - first


def _of_other_windows(cell: Cell, record: TrainingRecord) -> bool:
    """Return whether the kept epoch had another test NLL than the point that it became."""
    point, kept = cell.get("qaft"), record.chosen.test_nll
    own = None if point is None else test_nll(point)
    return own is not None and kept is not None and not math.isclose(own, kept, abs_tol=SAME, rel_tol=0)


def _panel(survey: SurveyResult, cell: Cell, record: TrainingRecord, titled: bool) -> Panel:
    kept, name = _rate(record), cell_name(cell, survey)
    others = sorted({e.rate for e in record.epochs if e.rate is not None and e.rate != kept})
    last = max(epoch for epoch, _ in kept_curve(record))
    ends = (-0.08 * last, 1.08 * last)
    marks: list[Mark] = [*_levels(survey, cell, ends)]
    for rate in others:
        if curve := _curve(record, rate):
            thin = method_look("qaft", symbol=None, width=0.9, opacity=0.55)
            marks.append(_line("QAFT at other rates", curve, rate, name, thin))
    if kept is not None:
        marks.append(_line("QAFT", kept_curve(record), kept, name, method_look("qaft", size=9.0)))
    ticks = tuple((float(epoch), str(epoch)) for epoch in range(0, last + 1, max(1, last // 8)))
    x = Axis("epoch", ticks=ticks, range=ends)
    return Panel(name, x, Axis("NLL on test (nats per token)" if titled else ""), tuple(marks))


def _line(label: str, curve: list[tuple[int, float]], rate: float, name: str, look: Look) -> Series:
    hover = tuple(
        f"{'RTN' if epoch == 0 else 'QAFT'} {name}, epoch {epoch}, rate {rate_text(rate)}\n"
        f"NLL {nats(nll)} on {TEST_SPLIT}"
        for epoch, nll in curve
    )
    return Series(label, tuple(float(e) for e, _ in curve), tuple(nll for _, nll in curve), look, hover)


def _levels(survey: SurveyResult, cell: Cell, ends: tuple[float, float]) -> Iterator[Series]:
    gptq = cell.get("gptq")
    if gptq is not None and (level := test_nll(gptq)) is not None:
        hover = f"GPTQ {cell_name(cell, survey)}: {nats(level)}"
        look = method_look("gptq", symbol=None, dash="dash", width=1.8)
        yield Series("GPTQ", ends, (level, level), look, (hover, hover))
    if TEST_SPLIT in survey.center:
        base = survey.center[TEST_SPLIT]
        yield Series("w", ends, (base, base), Look(INK, None, "dot", width=1.2), (f"w: {nats(base)}",) * 2)


def _title(survey: SurveyResult, recorded: list[tuple[Cell, TrainingRecord]]) -> str:
    gaps = [(cell, record, gap) for cell, record in recorded if (gap := gap_after_one(cell, record)) is not None]
    model = survey.subject.model
    if not gaps:
        return f"{model}: test NLL of QAFT by epoch, without GPTQ to compare one epoch with"
    soon = [cell_name(cell, survey) for cell, _, gap in gaps if gap > 0]
    most = f", by up to {nats(max(gap for _, _, gap in gaps))} nats" if soon else ""
    never = [cell_name(cell, survey) for cell, record, _ in gaps if first_below(cell, record) is None]
    said = f"after one epoch QAFT is below GPTQ at {listed(soon) or 'no bit width'}{most}"
    return f"{model}: {said}" + (f"; no epoch is at {listed(never)}" if never else "")


def _notes(
    survey: SurveyResult, found: list[tuple[Cell, TrainingRecord]], recorded: list[tuple[Cell, TrainingRecord]]
) -> Iterator[str]:
    drawn = [cell for cell, _ in recorded]
    if lacking := [cell_name(cell, survey) for cell, _ in found if cell not in drawn]:
        yield f"Not drawn, since their test NLL by epoch was not recorded: {listed(lacking)}."
    if alone := [cell_name(c, survey) for c in drawn if (p := c.get("gptq")) is None or test_nll(p) is None]:
        yield f"Without a finite NLL of GPTQ, and so without its line: {listed(alone)}."
    for cell, record in recorded:
        if _of_other_windows(cell, record):
            point, kept = cell.get("qaft"), record.chosen.test_nll
            assert point is not None  # both losses are there, and differ
            assert kept is not None
            own = point.nll[TEST_SPLIT]
            yield (
                f"{cell_name(cell, survey)}: the kept epoch had a test NLL of {nats(kept)}, the point has {nats(own)}: "
                "they are not of the same windows, and GPTQ’s line cannot be compared with the curve."
            )
