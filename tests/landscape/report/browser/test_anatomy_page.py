"""The page of ``landscape anatomy`` as a reader meets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landscape.anatomy.result import AnatomyResult
from landscape.formatting import rise_text
from tests.landscape.report.browser.pages import OpenPage, opened


@pytest.fixture(scope="module")
def page(browser: Any, anatomy_file: Path) -> Iterator[OpenPage]:
    with opened(browser, anatomy_file, 1400) as found:
        yield found


def test_it_draws_every_figure_without_a_complaint_or_a_request(page: OpenPage) -> None:
    figures = page.figures()
    assert len(figures) == 6
    for figure in figures:
        drawn = "(id) => document.getElementById(id).querySelectorAll('.barlayer .point, .scatterlayer .trace').length"
        assert page.js(drawn, figure) > 0, figure
    assert page.complaints == page.requests == []


def test_every_figure_has_one_title_and_it_is_the_pages(page: OpenPage) -> None:
    titles = page.js("() => [...document.querySelectorAll('figure h3')].map((h) => h.textContent)")
    assert len(set(titles)) == len(page.figures())
    assert page.js("() => document.querySelectorAll('.gtitle').length") == 0


def test_hovering_a_bar_shows_its_number(page: OpenPage, dissected: AnatomyResult) -> None:
    worst = dissected.anatomy.groups["block"][0]
    text = page.hover("anatomy-block", worst.rise.value * 0.5, 0)
    assert f"ΔL = {rise_text(worst.rise)}" in text


def test_a_legend_entry_hides_its_bars_and_only_them(page: OpenPage) -> None:
    def hidden() -> list[str]:
        return [t["name"] for t in page.traces("anatomy-parts") if t["visible"] is not True]

    page.page.locator("#anatomy-parts").scroll_into_view_if_needed()
    page.click_legend("anatomy-parts", "this part alone on w")
    assert hidden() == ["this part alone on w"]
    page.click_legend("anatomy-parts", "this part alone on w")
    assert hidden() == []
