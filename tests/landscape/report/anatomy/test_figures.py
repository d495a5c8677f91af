"""The anatomy drawn: every bar and dot is a measured number."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from landscape.anatomy.result import AnatomyResult
from landscape.estimators.intervals import Estimate
from landscape.formatting import number
from landscape.positions.parts import PARTS
from landscape.report.anatomy.figures import (
    matched_figure,
    parts_figure,
    ranking_figures,
    restoration_figure,
    waterfall_figure,
)
from landscape.report.anatomy.json import anatomy_json
from landscape.report.anatomy.names import group_name
from landscape.report.anatomy.page import anatomy_page
from tests.landscape.reading import Page


def test_the_waterfall_goes_from_ratio_to_ratio_with_the_rim_at_one(dissected: AnatomyResult) -> None:
    figure = waterfall_figure(dissected)
    *bars, ends, texts = figure.data
    assert [text.split("<br>")[0] for text in texts.text] == [
        f"<b>{number(s.rho.value, 2)}</b>" for s in dissected.waterfall.steps
    ]
    values = [step.rho.value for step in dissected.waterfall.steps]
    assert [bar.base[0] + bar.y[0] for bar in bars] == pytest.approx(values)
    assert [bar.base[0] for bar in bars] == pytest.approx([0.0, *values[:-1]])
    assert list(ends.y) == pytest.approx(values)
    highs = [y + e for y, e in zip(ends.y, ends.error_y.array, strict=True)]
    lows = [y - e for y, e in zip(ends.y, ends.error_y.arrayminus, strict=True)]
    rhos = [step.rho for step in dissected.waterfall.steps]
    bounded = [math.isfinite(rho.high) for rho in rhos]  # else there is no arm upwards
    assert highs == pytest.approx([rho.high if known else rho.value for rho, known in zip(rhos, bounded, strict=True)])
    assert sum(bounded) >= 3
    assert lows == pytest.approx([step.rho.low for step in dissected.waterfall.steps])
    assert [shape.y0 for shape in figure.layout.shapes] == [1]
    assert figure.layout.yaxis.range[1] > 1
    assert figure.layout.xaxis.tickangle == 0
    assert figure.layout.xaxis.range == (-0.5, 3.5)  # four steps
    assert all(top >= max(bar.base[0], bar.base[0] + bar.y[0]) for top, bar in zip(texts.y, bars, strict=True))


def test_a_step_that_is_censored_has_no_bar(dissected: AnatomyResult) -> None:
    first, second, *others = dissected.waterfall.steps
    gap = replace(second, rho=None, radius=replace(second.radius, value=None, low=50.0, high=math.inf))
    censored = replace(dissected, waterfall=replace(dissected.waterfall, steps=(first, gap, *others)))
    *bars, ends, _ = waterfall_figure(censored).data
    assert len(bars) == len(ends.x) == 3
    assert bars[1].base[0] == pytest.approx(first.rho.value)
    page = Page(anatomy_page(censored))
    assert page.table("The waterfall")[1]["‖Δw‖/R"].startswith("less than ")


def test_the_point_is_drawn_against_every_random_step(dissected: AnatomyResult) -> None:
    figure = matched_figure(dissected)
    assert [list(trace.y) for trace in figure.data] == [list(s.matched.rises) for s in dissected.waterfall.steps[:3]]
    assert len({trace.marker.symbol for trace in figure.data}) == 3
    assert dissected.waterfall.rise in [shape.y0 for shape in figure.layout.shapes]


def test_parts_and_rankings_are_the_measured_values(dissected: AnatomyResult) -> None:
    alone, undone = parts_figure(dissected).data
    assert list(alone.y) == [dissected.anatomy.alone[part].rise.value for part in PARTS]
    assert list(undone.y) == [dissected.anatomy.undone[part].rise.value for part in PARTS]
    assert alone.marker.pattern.shape != undone.marker.pattern.shape
    ranked = dict(ranking_figures(dissected))
    assert list(ranked) == ["block", "clipping"]
    (bars,) = ranked["block"].data
    assert list(bars.x) == [effect.rise.value for effect in dissected.anatomy.groups["block"]]
    assert bars.y[0] == group_name(dissected.anatomy.groups["block"][0].slots)
    (bars,) = ranked["clipping"].data
    assert list(bars.x) == [effect.rise.value for effect in dissected.clipping[:15]]
    assert len(dissected.clipping) == 30
    line, test = restoration_figure(dissected).data
    assert list(test.y) == [estimate.value for estimate in dissected.held_out.values()]
    assert list(test.x) == list(line.x)
    assert list(line.x) == ["none", "1", "2", "4", "8", "16", "30"]
    assert list(line.y) == [dissected.rise.value, *(effect.rise.value for effect in dissected.restored.values())]


def test_an_overflow_is_left_out_of_a_drawing_and_said_in_the_table(dissected: AnatomyResult) -> None:
    worst, *others = dissected.anatomy.groups["block"]
    lost = replace(worst, rise=Estimate(math.inf, -math.inf, math.inf))
    broken = replace(dissected, anatomy=replace(dissected.anatomy, groups={"block": (lost, *others)}))
    (bars,) = dict(ranking_figures(broken))["block"].data
    assert bars.x[0] is None
    assert "overflowed" in Page(anatomy_page(broken)).table("Each block")[0]["ΔL alone on w"]
    json.dumps(anatomy_json(broken), allow_nan=False)
