"""ρ, ρ_Δ and misalignment against the numbers of the study."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats

from landscape.estimators.crossing import Crossing
from landscape.report.chart import Band, Chart, Level, Missing, Series
from landscape.report.study.misalignment import correlation, misalignment, places
from landscape.report.study.ratios import ratios, rho_along
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult
from tests.landscape.report.study.study_sample import BITS, study, with_points


@pytest.fixture(scope="module")
def found() -> StudyResult:
    return study()


def reached(p: PointResult) -> PointResult:
    """Let every R along Δw be reached at two thirds of the way."""
    r = p.distance / 1.5
    return replace(p, along=Crossing(0.5, r, 0.9 * r, 1.2 * r, (r, r), False))


def marks(chart: Chart, row: int, column: int, name: str) -> list[Series]:
    return [m for m in chart.panels[row][column].marks if isinstance(m, Series) and m.name == name]


def test_rho_has_its_interval_and_the_band_is_in_radii(found: StudyResult) -> None:
    chart = ratios(found)
    assert isinstance(chart, Chart)
    for column, model in enumerate(found.models):
        basin = model.survey.basin
        radius = basin.radius.value
        assert radius
        for method, label in (("rtn", "RTN"), ("gptq", "GPTQ"), ("qaft", "QAFT")):
            (line,) = marks(chart, 0, column, label)
            points = [p for p in model.survey.points if p.method == method]
            assert line.y == pytest.approx([p.distance / radius for p in points])
            assert line.low == tuple(p.rho.low for p in points if p.rho)
            assert line.high == tuple(p.rho.high for p in points if p.rho)
            assert [round(x) for x in line.x] == list(range(len(BITS)))
        band, level = chart.panels[0][column].marks[:2]
        assert isinstance(band, Band)
        assert basin.r10.value
        assert band.low == pytest.approx(basin.r10.value / radius)
        assert isinstance(level, Level)
        assert level.value == 1.0


def test_rho_along_is_the_distance_over_its_radius_and_a_bound_where_that_is_censored(found: StudyResult) -> None:
    for model in found.models:
        for p in model.survey.points:
            ratio = rho_along(p)
            assert p.along
            assert ratio
            if p.along.value is None:
                assert ratio.bound
                assert ratio.value == p.distance / p.along.low
            else:
                assert not ratio.bound
                assert (ratio.low, ratio.value, ratio.high) == pytest.approx(
                    (p.distance / p.along.high, p.distance / p.along.value, p.distance / p.along.low)
                )
                assert ratio.low < ratio.value < ratio.high


def test_bounds_are_a_series_of_their_own_without_intervals(found: StudyResult) -> None:
    chart = ratios(found)
    assert isinstance(chart, Chart)
    (bounds,) = marks(chart, 1, 0, "QAFT, at most")
    assert len(bounds.y) == len(BITS)
    assert bounds.low == ()
    assert "is at most" in bounds.hover[0]
    (known,) = marks(chart, 1, 0, "RTN")
    assert known.y == pytest.approx((1 / 0.7,))


def test_a_bound_of_nothing_is_not_drawn(found: StudyResult) -> None:
    point = found.models[0].survey.points[0]
    nothing = Crossing(0.5, None, 0.0, math.inf, (1.0, math.inf), False)
    assert rho_along(replace(point, along=nothing)) is None
    assert rho_along(replace(point, along=None)) is None
    without = ratios(with_points(found, lambda p: replace(p, along=None)))
    assert isinstance(without, Chart)
    assert len(without.panels) == 1
    assert any(note.startswith("Without R along Δw for opt-125m: rtn-int8-exact") for note in without.notes)


def test_m_stands_against_rho_of_rtn_with_its_interval(found: StudyResult) -> None:
    chart = misalignment(with_points(found, reached))
    assert isinstance(chart, Chart)
    drawn = [m for m in chart.panels[0][0].marks if isinstance(m, Series) and m.labels]
    expected = set()
    for model in found.models:
        for m in model.survey.misalignments:
            rtn = next(p for p in model.survey.points if p.method == "rtn" and f"int{p.bits}-{p.grid}" == m.grid)
            assert rtn.rho
            expected.add((rtn.rho.value, m.net["test"].value, m.net["test"].low, m.net["test"].high))
    assert {(s.x[0], s.y[0], s.low[0], s.high[0]) for s in drawn} == expected
    assert len(expected) == 10


def test_the_correlation_is_scipys_over_all_grids(found: StudyResult) -> None:
    every = places(with_points(found, reached))
    own = correlation(every, "ρ")
    assert own is not None
    expected = stats.spearmanr([p.rho for p in every], [p.m.value for p in every]).statistic
    assert own.value == pytest.approx(expected, abs=1e-12)
    chart = misalignment(with_points(found, reached))
    assert isinstance(chart, Chart)
    assert f"r_s = {expected:.2f}" in chart.panels[0][0].title
    assert "n = 10" in chart.panels[0][0].title
    assert "no r_s" in chart.panels[0][1].title  # every ρ_Δ is 1.5: there is no order


def test_censored_ratios_have_no_rank(found: StudyResult) -> None:
    chart = misalignment(found)
    assert isinstance(chart, Chart)
    assert len([m for m in chart.panels[0][1].marks if isinstance(m, Series) and m.labels]) == 2  # int2 of both
    assert chart.panels[0][1].title == "ρ_Δ: no r_s with 2 grids (4 needed)"
    assert any("without ρ_Δ: opt-125m int8-exact" in note for note in chart.notes)


def test_without_a_control_there_is_no_m(found: StudyResult) -> None:
    models = tuple(replace(m, survey=replace(m.survey, misalignments=())) for m in found.models)
    missing = misalignment(replace(found, models=models))
    assert isinstance(missing, Missing)
    assert missing.reason.startswith("M needs GPTQ, QAFT and the control w_FT")
