"""The page of ``landscape study`` as a reader meets it, on a screen and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from landscape.formatting import nats
from landscape.report.chart import Chart
from landscape.report.study.figures import charts
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult
from tests.landscape.report.browser.overlaps import boxes, outside, overlaps
from tests.landscape.report.browser.pages import OpenPage, opened

NLL = "figure-1-opt-125m-plot"


@pytest.fixture(scope="module")
def page(browser: Any, study_file: Path) -> Iterator[OpenPage]:
    with opened(browser, study_file, 1400) as found:
        yield found


def point(studied: StudyResult, method: str, bits: int) -> PointResult:
    return next(p for p in studied.models[0].survey.points if (p.method, p.bits) == (method, bits))


def assert_clear(page: OpenPage, width: int) -> None:
    found = boxes(page)
    kinds = {"title", "heading", "strip", "button", "panel", "axis title", "tick", "legend", "colour bar", "annotation"}
    assert kinds <= {box.kind for box in found}
    assert overlaps(found) == []
    assert outside(found, width) == []
    assert page.js("() => document.documentElement.scrollWidth") <= width


def test_it_draws_every_figure_without_a_complaint_or_a_request(page: OpenPage, studied: StudyResult) -> None:
    assert page.figures() == [f"{chart.id}-plot" for chart in charts(studied) if isinstance(chart, Chart)]
    parts = ".scatterlayer .trace, .heatmaplayer image, .contourlayer .contour"
    drawn = "([id, parts]) => document.getElementById(id).querySelectorAll(parts).length"
    assert all(page.js(drawn, [figure, parts]) > 0 for figure in page.figures())
    assert page.complaints == page.requests == []


def test_every_figure_has_one_title_and_it_is_the_pages(page: OpenPage) -> None:
    titles = page.js("() => [...document.querySelectorAll('figure h3')].map((h) => h.textContent)")
    assert len(set(titles)) == len(page.figures())
    assert page.js("() => document.querySelectorAll('.gtitle, .updatemenu-container').length") == 0


def test_nothing_overlaps_on_a_screen(page: OpenPage) -> None:
    assert_clear(page, 1400)


def test_nothing_overlaps_on_a_phone_and_panels_are_below_one_another(browser: Any, study_file: Path) -> None:
    with opened(browser, study_file, 390) as page:
        assert_clear(page, 390)
        assert all(page.layout(NLL, f"xaxis{panel}.domain") == [0, 1] for panel in ("", "2", "3", "4"))
        ends = [page.layout(NLL, f"yaxis{panel}.domain") for panel in ("", "2", "3", "4")]
        assert all(upper[0] > lower[1] for upper, lower in pairwise(ends))
        assert page.complaints == page.requests == []


def test_a_legend_entry_hides_its_series_and_only_it(page: OpenPage) -> None:
    def hidden() -> set[str]:
        return {t["name"] for t in page.traces(NLL) if t["visible"] is not True}

    page.page.locator(f"#{NLL}").scroll_into_view_if_needed()
    page.click_legend(NLL, "int2")
    assert hidden() == {"int2"}
    page.click_legend(NLL, "int2")
    assert hidden() == set()


def test_hovering_shows_the_numbers(page: OpenPage, studied: StudyResult) -> None:
    gptq, qaft = (point(studied, method, 2).nll["train"] for method in ("gptq", "qaft"))
    text = page.hover(NLL, gptq, qaft)
    assert f"GPTQ {nats(gptq)}" in text
    assert f"GPTQ − QAFT {nats(gptq - qaft, True)}" in text
    damping = point(studied, "gptq", 8).layers[0].damping
    assert f"damping {damping:g}" in page.hover("appendix-c-opt-125m-plot", 0, 0)


def test_the_buttons_of_a_radial_figure_divide_its_distances(page: OpenPage, studied: StudyResult) -> None:
    name, norm = "figure-3-opt-125m-plot", studied.models[0].survey.subject.norm
    other = "figure-3-opt-350m-plot"
    before, apart = page.layout(name, "xaxis.range"), page.layout(other, "xaxis.range")
    page.press("÷ ‖w‖")
    assert page.layout(name, "xaxis.range") == pytest.approx([end / norm for end in before])
    assert page.layout(other, "xaxis.range") == apart
    page.press("distance")
    assert page.layout(name, "xaxis.range") == pytest.approx(before)


def test_the_table_of_verdicts_leads_to_figures(page: OpenPage) -> None:
    cells = page.js("() => [...document.querySelectorAll('#verdicts td:not(.none)')].map((td) => [td.className,"
                    " td.querySelector('.word').innerText, td.querySelector('a').hash.slice(1)])")  # fmt: skip
    assert {kind for kind, _, _ in cells} == {"holds", "fails", "open"}
    assert all(word.endswith(kind) and len(word) > len(kind) for kind, word, _ in cells)
    assert page.js("(ids) => ids.every((id) => document.getElementById(id))", [place for _, _, place in cells])
