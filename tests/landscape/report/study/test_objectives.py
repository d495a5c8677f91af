"""Figure 1 against the numbers of the study, taken by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from landscape.report.chart import Chart, Missing, Panel, Series
from landscape.report.study.objectives import objectives
from landscape.survey.result import PointResult, SurveyResult
from tests.landscape.report.study.study_sample import BITS, study, with_points


@pytest.fixture(scope="module")
def survey() -> SurveyResult:
    return study().models[0].survey


@pytest.fixture(scope="module")
def chart(survey: SurveyResult) -> Chart:
    found = objectives(survey, "opt-125m")
    assert isinstance(found, Chart)
    return found


def point(survey: SurveyResult, method: str, bits: int) -> PointResult:
    return next(p for p in survey.points if (p.method, p.bits) == (method, bits))


def marks(panel: Panel, name: str) -> list[Series]:
    return [mark for mark in panel.marks if isinstance(mark, Series) and mark.name == name]


@pytest.mark.parametrize(("column", "split"), [(0, "train"), (1, "test")])
def test_the_upper_row_is_qaft_against_gptq_with_a_line_to_rtn(
    survey: SurveyResult, chart: Chart, column: int, split: str
) -> None:
    panel = chart.panels[0][column]
    for bits in BITS:
        gptq, qaft, rtn = (point(survey, m, bits).nll[split] for m in ("gptq", "qaft", "rtn"))
        line, mark = marks(panel, f"int{bits}")
        assert (mark.x, mark.y) == ((gptq,), (qaft,))
        assert (line.x, line.y) == ((gptq, rtn), (qaft, rtn))
    (w,) = marks(panel, "w")
    assert (w.x, w.y) == ((survey.center[split],), (survey.center[split],))
    assert panel.x.range == panel.y.range
    (diagonal,) = marks(panel, "equal")
    assert diagonal.x == diagonal.y == panel.x.range


@pytest.mark.parametrize(("column", "split"), [(0, "train"), (1, "test")])
def test_the_lower_row_has_every_matrix_and_the_mean(
    survey: SurveyResult, chart: Chart, column: int, split: str
) -> None:
    panel = chart.panels[1][column]
    for bits in BITS:
        errors = {m: [layer.error[split] for layer in point(survey, m, bits).layers] for m in ("gptq", "qaft", "rtn")}
        ways, each, line, mean = marks(panel, f"int{bits}")
        assert each.x == tuple(errors["gptq"])
        assert each.y == tuple(errors["qaft"])
        assert len(each.hover) == len(each.x) == 24
        starts = list(zip(ways.x[::3], ways.y[::3], strict=True))
        assert starts == list(zip(each.x, each.y, strict=True))
        assert ways.x[1::3] == ways.y[1::3] == tuple(errors["rtn"])
        means = {method: sum(values) / len(values) for method, values in errors.items()}
        assert (mean.x, mean.y) == ((means["gptq"],), (means["qaft"],))
        assert line.x[1] == line.y[1] == means["rtn"]


def test_the_title_names_the_widest_gap_and_the_ratio_of_layer_errors(survey: SurveyResult, chart: Chart) -> None:
    gaps = {b: point(survey, "gptq", b).nll["test"] - point(survey, "qaft", b).nll["test"] for b in BITS}
    widest = max(gaps, key=lambda b: abs(gaps[b]))
    errors = {m: sum(layer.error["test"] for layer in point(survey, m, widest).layers) for m in ("gptq", "qaft")}
    ratio = errors["qaft"] / errors["gptq"]
    assert f"at int{widest} QAFT is {gaps[widest]:.1f} nats below GPTQ" in chart.title
    assert f"{ratio:.1f} times GPTQ’s" in chart.title
    assert "though" in chart.title  # better in the loss, worse in the layers


def test_layer_errors_that_are_alike_are_called_so() -> None:
    def as_gptq(at: PointResult) -> PointResult:
        return replace(at, layers=gptq[at.bits]) if at.method == "qaft" else at

    gptq = {p.bits: p.layers for p in study().models[0].survey.points if p.method == "gptq"}
    chart = objectives(with_points(study(), as_gptq).models[0].survey, "x")
    assert isinstance(chart, Chart)
    assert chart.title.endswith("nats below GPTQ, with a mean layer error as large as GPTQ’s")


def test_a_method_that_was_not_run_is_said() -> None:
    found = with_points(study(), lambda p: None if p.method == "gptq" else p)
    missing = objectives(found.models[0].survey, "x")
    assert isinstance(missing, Missing)
    assert missing.reason == "No bit width of opt-125m has both GPTQ and QAFT."


def test_one_bit_width_without_gptq_is_said_and_the_others_are_drawn() -> None:
    found = with_points(study(), lambda p: None if (p.method, p.bits) == ("gptq", 3) else p)
    chart = objectives(found.models[0].survey, "x")
    assert isinstance(chart, Chart)
    assert "Without both GPTQ and QAFT, and so not drawn: int3." in chart.notes
    assert marks(chart.panels[0][0], "int3") == []


def test_without_layers_the_upper_row_stands_alone() -> None:
    found = with_points(study(), lambda p: replace(p, layers=()))
    chart = objectives(found.models[0].survey, "x")
    assert isinstance(chart, Chart)
    assert len(chart.panels) == 1
    assert "layer error" not in chart.title
    assert any("errors of the layers were not measured" in note for note in chart.notes)


def test_a_loss_that_is_not_finite_is_named() -> None:
    def ruin(p: PointResult) -> PointResult:
        return replace(p, nll={**p.nll, "test": math.inf}) if p.name == "gptq-int2-exact" else p

    chart = objectives(with_points(study(), ruin).models[0].survey, "x")
    assert isinstance(chart, Chart)
    assert "Not drawn, since a loss on test is not finite: int2." in chart.notes
    assert "at int3" in chart.title
    ends = chart.panels[0][1].x.range
    assert ends is not None
    assert all(map(math.isfinite, ends))
