"""The heat maps of a model, KL and the landscapes against the numbers of the study."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from landscape.report.chart import Band, Chart, Heatmap, Level, Missing, Series, Surface
from landscape.report.study.dampings import dampings, pattern
from landscape.report.study.fidelity import fidelity
from landscape.report.study.landscapes import planes, radial
from landscape.report.study.matrices import matrices
from landscape.study.result import StudyResult
from landscape.survey.layers import LayerResult
from landscape.survey.result import PointResult, SurveyResult
from tests.landscape.report.study.study_sample import BITS, DAMPINGS, KINDS, around, study, with_points


@pytest.fixture(scope="module")
def found() -> StudyResult:
    return study()


@pytest.fixture(scope="module")
def survey(found: StudyResult) -> SurveyResult:
    return found.models[0].survey


def of(survey: SurveyResult, method: str, bits: int) -> PointResult:
    return next(p for p in survey.points if (p.method, p.bits) == (method, bits))


def heat(chart: Chart, row: int = 0, column: int = 0) -> Heatmap:
    (mark,) = chart.panels[row][column].marks
    assert isinstance(mark, Heatmap)
    return mark


def test_dampings_stand_by_matrix_and_bit_width(survey: SurveyResult) -> None:
    chart = dampings(survey, "x")
    assert isinstance(chart, Chart)
    assert [panel.title for _, _, panel in chart.each_panel] == [f"int{bits}" for bits in BITS]
    for i, bits in enumerate(BITS):
        drawn = heat(chart, i)
        by = {(layer.kind, layer.block): layer.damping for layer in of(survey, "gptq", bits).layers}
        assert (drawn.rows, drawn.columns) == (KINDS, ("0", "1", "2", "3"))
        assert drawn.values == tuple(tuple(by[kind, block] for block in range(4)) for kind in KINDS)
        assert drawn.range == heat(chart).range
    said = "opt-125m: no pattern found in the best dampings: the most that a grouping explains is "
    assert chart.title.startswith(said)  # they are drawn at random
    assert "type η² = " in chart.caption
    assert "over 120 dampings" in chart.caption


def damped(of_layer: object) -> list[tuple[int, LayerResult]]:
    return [
        (bits, LayerResult(f"{b}.{k}", b, k, 9, 1.0, 0.1, None, None, of_layer(bits, b, i)))  # type: ignore[operator]
        for bits in BITS for b in range(4) for i, k in enumerate(KINDS)
    ]  # fmt: skip


def test_a_pattern_that_was_put_in_is_found_and_only_that() -> None:
    rng = np.random.default_rng(3)
    noisy = pattern(damped(lambda bits, block, kind: 10.0 ** (kind % 3) * float(rng.choice([1.0, 10.0]))))
    assert noisy.found == ["type"]
    exact = pattern(damped(lambda bits, block, kind: 10.0**-bits))
    assert exact.found == ["bit width"]
    assert exact.shares["bit width"].value == pytest.approx(1.0)
    assert exact.entropy == pytest.approx(math.log2(5))


def test_the_entropy_is_that_of_the_counts() -> None:
    alike = pattern(damped(lambda *_: 0.1))
    assert (alike.entropy, alike.values, alike.shares) == (0.0, 1, {})
    assert alike.sentence == "All 120 dampings are alike."
    even = pattern(damped(lambda bits, block, kind: DAMPINGS[block]))
    assert even.entropy == pytest.approx(2.0)


def test_without_gptq_or_dampings_it_says_so(found: StudyResult) -> None:
    none = with_points(found, lambda p: None if p.method == "gptq" else p).models[0].survey
    bare = with_points(found, lambda p: replace(p, layers=())).models[0].survey
    for survey, words in ((none, "was not quantized by GPTQ"), (bare, "were not recorded")):
        missing = dampings(survey, "x")
        assert isinstance(missing, Missing)
        assert words in missing.reason


def test_matrices_are_those_of_the_lowest_bit_width(survey: SurveyResult) -> None:
    chart = matrices(survey, "x")
    assert isinstance(chart, Chart)
    for column, method in enumerate(("rtn", "gptq", "qaft")):
        by = {(layer.kind, layer.block): layer for layer in of(survey, method, 2).layers}
        moved, errors = heat(chart, 0, column), heat(chart, 1, column)
        assert moved.rows == errors.rows == KINDS
        for i, kind in enumerate(KINDS):
            assert moved.values[i] == tuple(by[kind, b].distance / by[kind, b].norm for b in range(4))
            assert errors.values[i] == tuple(by[kind, b].error["test"] for b in range(4))
    worst = max(of(survey, "rtn", 2).layers, key=lambda layer: layer.error["test"])
    assert f"largest layer error is in {worst.kind} of block {worst.block}" in chart.title
    assert heat(chart, 0, 0).range == heat(chart, 0, 2).range


def test_matrices_that_were_not_measured_are_said(found: StudyResult) -> None:
    missing = matrices(with_points(found, lambda p: replace(p, layers=())).models[0].survey, "x")
    assert isinstance(missing, Missing)
    assert missing.reason == "The matrices of opt-125m were not measured."
    without = with_points(found, lambda p: replace(p, layers=tuple(replace(x, error={}) for x in p.layers)))
    chart = matrices(without.models[0].survey, "x")
    assert isinstance(chart, Chart)
    assert len(chart.panels) == 1


def test_kl_stands_against_the_rise_with_its_interval(found: StudyResult) -> None:
    chart = fidelity(found)
    assert isinstance(chart, Chart)
    drawn = [m for m in chart.panels[0][0].marks if isinstance(m, Series) and m.labels]
    points = found.models[0].survey.points
    assert [(m.x[0], m.y[0]) for m in drawn] == [(p.rise["test"].value, p.fidelity["test"].kl.value) for p in points]
    assert [m.high[0] for m in drawn] == [p.fidelity["test"].kl.high for p in points]
    risen = [p for m in found.models for p in m.survey.points if p.rise["test"].value > 0]
    above = sum(p.fidelity["test"].kl.low > p.rise["test"].high for p in risen)
    assert f"at {above} of {len(risen)} quantized points" in chart.title


def test_the_control_and_gains_are_not_counted_where_predictions_change_more_than_the_loss(found: StudyResult) -> None:
    """Plain fine-tuning is no quantization, and any KL is above a loss that fell."""

    def told(p: PointResult) -> PointResult:
        rise, kl = {"rtn": (0.2, 0.5), "gptq": (0.2, 0.26), "qaft": (-0.2, 0.5)}[p.method]
        fidelity = {"test": replace(p.fidelity["test"], kl=around(kl, 0.05))}
        p = replace(p, rise={**p.rise, "test": around(rise, 0.05)}, fidelity=fidelity)
        return replace(p, name="w_ft", method="w_ft") if p.bits == 8 and p.method == "rtn" else p

    chart = fidelity(with_points(found, told))
    assert isinstance(chart, Chart)
    assert "at 8 of 18 quantized points whose loss rose" in chart.title  # 4 + 5 of each model; GPTQ's intervals meet


def test_adapted_points_have_no_place_on_the_axes_and_are_named_with_their_kl(found: StudyResult) -> None:
    def adapted(p: PointResult) -> PointResult:
        rise = replace(p.rise["test"], value=-0.25)
        return replace(p, rise={**p.rise, "test": rise}) if p.name == "qaft-int8-exact" else p

    chart = fidelity(with_points(found, adapted))
    assert isinstance(chart, Chart)
    assert any("qaft-int8-exact (ΔL −0.2500, KL 0." in note for note in chart.notes)
    missing = fidelity(with_points(found, lambda p: replace(p, fidelity={})))
    assert isinstance(missing, Missing)


def test_rays_that_were_probed_by_kl_are_drawn(found: StudyResult) -> None:
    survey = found.models[0].survey
    rays = tuple(replace(r, kl={"validation": 2 * (r.nll["validation"] - 3.0)}) for r in survey.rays)
    model = replace(found.models[0], survey=replace(survey, rays=rays))
    chart = fidelity(replace(found, models=(model,)))
    assert isinstance(chart, Chart)
    lines = [m for m in chart.panels[0][0].marks if isinstance(m, Series) and m.name == "random directions"]
    assert len(lines) == len(survey.rays)
    assert lines[0].x == pytest.approx(survey.rays[0].nll["validation"] - survey.center["validation"])
    assert lines[0].y == pytest.approx(2 * (survey.rays[0].nll["validation"] - 3.0))
    assert any("are those of the validation split" in note for note in chart.notes)


def test_the_radial_landscape_has_all_rays_segments_and_points(survey: SurveyResult) -> None:
    chart = radial(survey, "x")
    assert isinstance(chart, Chart)
    for panel, split in zip(chart.panels[0], ("train", "validation"), strict=True):
        series = [m for m in panel.marks if isinstance(m, Series)]
        rays = [m for m in series if m.name == "random directions"]
        assert [m.y[1:] for m in rays] == [tuple(r.nll[split]) for r in survey.rays]
        markers = {(m.x[0], m.y[0]) for m in series if m.look.symbol and m.name != "w"}
        assert markers == {(p.distance, p.nll[split]) for p in survey.points}
        ways = [m for m in series if " – " in m.name]
        segments = [s for s in survey.segments if s.split == split]
        kept = [s.alphas >= 0 if s.a == "w" else s.alphas > -9 for s in segments]
        assert [m.y for m in ways] == [tuple(s.nll[k]) for s, k in zip(segments, kept, strict=True)]
        levels = {m.name: m.value for m in panel.marks if isinstance(m, Level)}
        basin = survey.basins[split]
        assert levels == {"R": basin.radius.value, "chance ln|V|": basin.chance}
        (band,) = [m for m in panel.marks if isinstance(m, Band)]
        assert (band.low, band.high) == (basin.r10.value, basin.r90.value)


def test_planes_are_the_saturation_of_the_losses(survey: SurveyResult) -> None:
    charts = planes(survey, "x")
    assert len(charts) == len(survey.planes) == 2
    for chart, plane in zip(charts, survey.planes, strict=True):
        assert isinstance(chart, Chart)
        surface = chart.panels[0][0].marks[0]
        assert isinstance(surface, Surface)
        u = (plane.nll - plane.point_nll["w"]) / (survey.subject.chance - plane.point_nll["w"])
        assert np.array(surface.values) == pytest.approx(u)


def test_no_ray_and_no_plane_are_said(survey: SurveyResult) -> None:
    assert isinstance(radial(replace(survey, rays=()), "x"), Missing)
    (missing,) = planes(replace(survey, planes=()), "x")
    assert isinstance(missing, Missing)
