"""Whatever a study lacks, each figure is drawn with something on it, or says in a sentence why it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from landscape.report import mpl_chart
from landscape.report.chart import Chart, Heatmap, Missing, Series, Surface
from landscape.report.study.figures import charts
from landscape.report.study.page import study_page
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult, SurveyResult
from tests import synthetic
from tests.landscape.report.study import study_sample
from tests.landscape.report.study.study_sample import model, with_points


def study() -> StudyResult:
    """One model of the sample, for speed."""
    whole = study_sample.study()
    return replace(whole, models=whole.models[:1])


def only(*methods: str) -> Callable[[], StudyResult]:
    return lambda: with_points(study(), lambda p: p if p.method in methods else None)


def bare() -> StudyResult:
    """Points with nothing but what every survey has."""

    def strip(p: PointResult) -> PointResult:
        return replace(p, fidelity={}, size=None, along=None, training=None, layers=())

    return with_points(study(), strip)


def not_finite() -> StudyResult:
    def ruin(p: PointResult) -> PointResult:
        if p.bits != 2:
            return p
        layers = tuple(replace(x, error=dict.fromkeys(x.error, math.inf)) for x in p.layers)
        return replace(p, nll=dict.fromkeys(p.nll, math.nan), layers=layers)

    return with_points(study(), ruin)


def of(survey: SurveyResult) -> StudyResult:
    return replace(study(), models=(model(survey),))


def unreached() -> StudyResult:
    """A landscape whose loss never rises half of the way: R is censored."""
    return of(synthetic.landscape(synthetic.Well(top=6.0, chance=10.82), bits=(8, 4)))


def changed(change: Callable[[SurveyResult], SurveyResult]) -> StudyResult:
    found = study()
    return replace(found, models=tuple(replace(m, survey=change(m.survey)) for m in found.models))


def without_test() -> StudyResult:
    def drop(values: object) -> dict:
        return {split: v for split, v in dict(values).items() if split != "test"}  # type: ignore[call-overload]

    def stripped(survey: SurveyResult) -> SurveyResult:
        points = tuple(
            replace(
                p, nll=drop(p.nll), rise=drop(p.rise), fidelity={},
                layers=tuple(replace(x, error=drop(x.error)) for x in p.layers),
            )
            for p in survey.points
        )  # fmt: skip
        bald = tuple(replace(m, net=drop(m.net), raw=drop(m.raw)) for m in survey.misalignments)
        return replace(survey, center=drop(survey.center), points=points, misalignments=bald)

    return changed(stripped)


LACKING: dict[str, Callable[[], StudyResult]] = {
    "only RTN": only("rtn"),
    "only QAFT": only("qaft"),
    "no RTN": only("gptq", "qaft"),
    "no points": lambda: changed(lambda s: replace(s, points=(), segments=(), planes=(), misalignments=())),
    "bare points": bare,
    "losses that are not finite": not_finite,
    "R is censored": unreached,
    "no test split": without_test,
    "no rays": lambda: changed(lambda s: replace(s, rays=())),
    "nothing": study_sample.study,
    "no model": lambda: replace(study(), models=()),
    "two grids": lambda: replace(
        study(), models=(model(synthetic.landscape(bits=(4, 2), scales=("exact", "absmax"))),)
    ),
    "external points": lambda: replace(study(), models=(model(synthetic.landscape(external=("theirs",))),)),
    "one window": lambda: replace(study(), models=(model(synthetic.landscape(windows=1, directions=1)),)),
}


def substance(chart: Chart) -> int:
    """Count the values that a chart shows."""
    count = 0
    for _, _, panel in chart.each_panel:
        for mark in panel.marks:
            if isinstance(mark, Series):
                count += sum(math.isfinite(x) and math.isfinite(y) for x, y in zip(mark.x, mark.y, strict=True))
            elif isinstance(mark, Heatmap | Surface):
                count += sum(math.isfinite(v) for row in mark.values for v in row)
    return count


@pytest.mark.parametrize("name", LACKING)
def test_every_figure_is_drawn_or_says_why_not(name: str) -> None:
    found = LACKING[name]()
    every, text = list(charts(found)), study_page(found)
    assert len({chart.id for chart in every}) == len(every)
    for chart in every:
        assert f'id="{chart.id}"' in text
        if isinstance(chart, Missing):
            assert chart.reason.endswith("."), chart
            assert len(chart.reason) > 20
        else:
            assert substance(chart) > 1, chart.id
            assert "nan" not in chart.title.lower().split(), chart.title
            mpl_chart.draw(chart)
