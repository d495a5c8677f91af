"""Nothing covers anything else, on a screen and on a phone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from landscape.report.survey.page import write_page
from tests import synthetic
from tests.landscape.report.browser.overlaps import Box, boxes, outside, overlaps
from tests.landscape.report.browser.pages import OpenPage, opened

WIDTHS = (1400, 390)


def assert_clear(page: OpenPage, width: int) -> None:
    found = boxes(page)
    assert {"title", "panel", "axis title", "tick"} <= {box.kind for box in found}
    assert overlaps(found) == []
    assert outside(found, width) == []
    assert page.js("() => document.documentElement.scrollWidth") <= width
    assert page.complaints == page.requests == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_on_the_page_of_a_survey(browser: Any, survey_file: Path, width: int) -> None:
    with opened(browser, survey_file, width) as page:
        assert_clear(page, width)
        for label in ("÷ ‖Δw‖ of RTN int2", "zoom to the points", "int2"):
            page.press(label)
        assert_clear(page, width)
        stacked = page.layout("radial-landscape", "xaxis2.domain")[0] == 0
        assert stacked == (width < 700)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_with_many_grids_and_rays_beyond_the_view(browser: Any, tmp_path: Path, width: int) -> None:
    many = synthetic.smollm2_like(bits=(8, 4, 2), scales=("exact", "absmax"), methods=("rtn", "gptq", "qaft", "awq"))
    write_page(replace(many, planes=()), tmp_path / "many.html")
    with opened(browser, tmp_path / "many.html", width) as page:
        assert_clear(page, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_on_the_page_of_an_anatomy(browser: Any, anatomy_file: Path, width: int) -> None:
    with opened(browser, anatomy_file, width) as page:
        assert len(page.figures()) == 6
        assert_clear(page, width)


def test_a_window_that_is_made_narrow_is_laid_out_again(browser: Any, survey_file: Path) -> None:
    with opened(browser, survey_file, 1400) as page:
        for width in (390, 1400):
            page.page.set_viewport_size({"width": width, "height": 900})
            kind = "narrow" if width < 700 else "wide"
            page.wait_for(f"html[data-fitted={kind}]")
            assert_clear(page, width)


def test_a_broken_layout_is_found(browser: Any, survey_file: Path) -> None:
    with opened(browser, survey_file, 1400) as page:
        page.js("() => Plotly.relayout('radial-landscape', {'legend.y': -0.05})")
        assert any("legend" in words and "tick" in words for words in overlaps(boxes(page)))
        page.js("() => { document.querySelector('.controls').style.marginBottom = '-60px'; }")
        assert any("button" in words and "panel" in words for words in overlaps(boxes(page)))
        page.js("() => { Object.assign(document.querySelector('h1').style, {position: 'relative', left: '99px'}); }")
        assert "leaves the window" in " ".join(outside(boxes(page), 1400))


def test_boxes_that_touch_do_not_overlap() -> None:
    a, beside, over = (Box("tick", "", x, 0, x + 10, 10) for x in (0, 10, 8))
    assert overlaps([a, beside]) == []
    assert overlaps([a, over]) == ["tick “” and tick “”"]
