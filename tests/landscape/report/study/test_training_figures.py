"""Figures 4 and 5 against the records of the trainings, read by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from landscape.report.chart import Chart, Heatmap, Missing, Series
from landscape.report.study.epochs import epochs, first_below
from landscape.report.study.rates import best_rates, rates, trained
from landscape.session.training_record import TrainingRecord
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult
from tests.landscape.report.study.study_sample import BEST_RATE, BITS, RATES, study, with_points


@pytest.fixture(scope="module")
def found() -> StudyResult:
    return study()


def record(found: StudyResult, model: int, bits: int) -> TrainingRecord:
    points = found.models[model].survey.points
    training = next(p.training for p in points if (p.method, p.bits) == ("qaft", bits))
    assert training is not None
    return training


def retrained(found: StudyResult, change: object) -> StudyResult:
    """Change the records: ``change(record, point)``; None drops it."""

    def new(p: PointResult) -> PointResult:
        return p if p.training is None else replace(p, training=change(p.training, p))  # type: ignore[operator]

    return with_points(found, new)


def named(chart: Chart, panel: int, name: str) -> list[Series]:
    _, _, drawn = list(chart.each_panel)[panel]
    return [m for m in drawn.marks if isinstance(m, Series) and m.name == name]


def test_each_rate_shows_its_best_epoch_with_rtn_dashed(found: StudyResult) -> None:
    chart = rates(found)
    assert isinstance(chart, Chart)
    for model in (0, 1):
        dashed = named(chart, model, "RTN")
        for i, bits in enumerate(BITS):
            rows = record(found, model, bits).epochs
            (line,) = named(chart, model, f"int{bits}")
            lowest = [min(e.validation_nll for e in rows if e.rate == rate and e.validation_nll) for rate in RATES]
            assert (line.x, list(line.y)) == (RATES, lowest)
            assert set(dashed[i].y) == {rows[0].validation_nll}
            assert dashed[i].look.dash == "dash"


def test_the_best_rate_of_each_model_and_bit_width(found: StudyResult) -> None:
    chart = best_rates(found)
    assert isinstance(chart, Chart)
    (heat,) = chart.panels[0][0].marks
    assert isinstance(heat, Heatmap)
    assert heat.rows == ("opt-125m", "opt-350m")
    assert heat.columns == tuple(f"int{b}" for b in BITS)
    assert heat.values == (tuple(BEST_RATE[b] for b in BITS),) * 2
    assert chart.title == "Fewer bits want a higher learning rate in 2 of 2 rows"


def test_one_rate_alone_is_no_comparison(found: StudyResult) -> None:
    def single(r: TrainingRecord, p: PointResult) -> TrainingRecord:
        return replace(r, epochs=tuple(e for e in r.epochs if e.rate in (None, BEST_RATE[p.bits or 8])))

    alone = retrained(found, single)
    for chart in (rates(alone), best_rates(alone)):
        assert isinstance(chart, Missing)
        assert "one learning rate" in chart.reason


def test_a_rate_that_diverged_is_a_gap_and_is_named(found: StudyResult) -> None:
    def diverged(r: TrainingRecord, p: PointResult) -> TrainingRecord:
        rows = (replace(e, validation_nll=None) if e.rate == 1e-3 and p.bits == 8 else e for e in r.epochs)
        return replace(r, epochs=tuple(rows))

    chart = rates(retrained(found, diverged))
    assert isinstance(chart, Chart)
    (line,) = named(chart, 0, "int8")
    assert [math.isnan(y) for y in line.y] == [False, False, False, True]
    assert any("int8 at 1e-3: the training diverged" in note for note in chart.notes)


def test_the_curve_of_the_kept_rate_starts_at_rtn_beside_gptq_and_w(found: StudyResult) -> None:
    survey = found.models[0].survey
    chart = epochs(survey, "x")
    assert isinstance(chart, Chart)
    for i, bits in enumerate(BITS):
        rows = record(found, 0, bits).epochs
        (line,) = named(chart, i, "QAFT")
        rtn = next(p for p in survey.points if (p.method, p.bits) == ("rtn", bits))
        gptq = next(p for p in survey.points if (p.method, p.bits) == ("gptq", bits))
        own = [e.test_nll for e in rows if e.rate == BEST_RATE[bits]]
        assert line.x == (0.0, 1.0, 2.0, 3.0)
        assert list(line.y) == [rtn.nll["test"], *own]
        assert len(named(chart, i, "QAFT at other rates")) == len(RATES) - 1
        assert set(named(chart, i, "GPTQ")[0].y) == {gptq.nll["test"]}
        assert set(named(chart, i, "w")[0].y) == {survey.center["test"]}


def test_the_title_counts_the_cells_where_one_epoch_is_enough(found: StudyResult) -> None:
    survey = found.models[0].survey
    by_hand = {}
    for bits in BITS:
        gptq = next(p for p in survey.points if (p.method, p.bits) == ("gptq", bits)).nll["test"]
        rows = [e for e in record(found, 0, bits).epochs if e.rate in (None, BEST_RATE[bits])]
        by_hand[bits] = next((e.epoch for e in rows if e.epoch and e.test_nll is not None and e.test_nll < gptq), None)
    assert {cell.bits: first_below(cell, r) for cell, r in trained(survey)} == by_hand
    chart = epochs(survey, "x")
    soon = [f"int{b}" for b, epoch in by_hand.items() if epoch is not None and epoch <= 1]
    assert len(soon) > 1
    for name in soon:
        assert name in chart.title


def test_test_losses_that_were_not_recorded_are_said(found: StudyResult) -> None:
    bare = retrained(found, lambda r, p: replace(r, epochs=tuple(replace(e, test_nll=None) for e in r.epochs)))
    missing = epochs(bare.models[0].survey, "x")
    assert isinstance(missing, Missing)
    assert missing.reason == "The test NLL by epoch was not recorded for opt-125m."
    none = epochs(with_points(found, lambda p: replace(p, training=None)).models[0].survey, "x")
    assert isinstance(none, Missing)


def test_a_curve_of_other_windows_is_not_compared_in_silence(found: StudyResult) -> None:
    def moved(r: TrainingRecord, p: PointResult) -> TrainingRecord:
        return replace(r, chosen=replace(r.chosen, test_nll=(r.chosen.test_nll or 0) + 0.01))

    assert not any("not of the same windows" in n for n in epochs(found.models[0].survey, "x").notes)
    notes = epochs(retrained(found, moved).models[0].survey, "x").notes
    assert sum("not of the same windows" in note for note in notes) == len(BITS)
