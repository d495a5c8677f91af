"""The page of ``landscape probe`` as a reader meets it: buttons, legend and hover do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landscape.formatting import nats, number
from landscape.report.survey.page import DIV_ID
from landscape.survey.result import SurveyResult
from tests.landscape.report.browser.pages import OpenPage, opened


@pytest.fixture(scope="module")
def loaded(browser: Any, survey_file: Path) -> Iterator[OpenPage]:
    with opened(browser, survey_file, 1400) as page:
        yield page


@pytest.fixture
def page(loaded: OpenPage) -> OpenPage:
    """The page as it opens: every button back on its first choice."""
    for label in ("all bits", "distance", "all"):
        if label not in pressed(loaded):
            loaded.press(label)
    return loaded


def xs(page: OpenPage) -> dict[tuple[str, str, str], list[float | None]]:
    return {(t["name"], t["axis"], str(i)): t["x"] for i, t in enumerate(page.traces(DIV_ID))}


def hidden(page: OpenPage) -> set[str]:
    return {t["group"] for t in page.traces(DIV_ID) if t["visible"] != True}  # noqa: E712 – or "legendonly"


def ranges(page: OpenPage) -> list[list[float]]:
    return [page.layout(DIV_ID, f"{axis}.range") for axis in ("xaxis", "xaxis2", "yaxis", "yaxis2")]


def pressed(page: OpenPage) -> list[str]:
    return page.js("() => [...document.querySelectorAll('.controls [aria-pressed=true]')].map((b) => b.textContent)")


def test_it_draws_every_figure_without_a_complaint_or_a_request(page: OpenPage) -> None:
    assert page.figures() == [DIV_ID, "plane-1"]
    drawn = page.js(
        "() => Object.fromEntries([...document.querySelectorAll('.plotly-graph-div')].map((gd) =>"
        " [gd.id, gd.querySelectorAll('.scatterlayer .trace, .contourlayer .contour').length]))"
    )
    assert drawn[DIV_ID] > 2 * (4 + 10)
    assert drawn["plane-1"] >= 3 + 2
    assert page.complaints == page.requests == []


def test_a_request_would_be_seen(browser: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<html data-fitted='wide'><img src='https://example.com/x.png'><script>throw Error('broken')</script>"
    )
    with opened(browser, bad, 400) as page:
        page.page.wait_for_timeout(300)
        assert page.requests == ["https://example.com/x.png"]
        assert any("broken" in complaint for complaint in page.complaints)


def test_a_legend_entry_hides_its_group_and_only_it(page: OpenPage) -> None:
    assert hidden(page) == set()
    page.click_legend(DIV_ID, "random directions")
    assert hidden(page) == {"rays"}
    page.press("÷ ‖w‖")  # what is hidden stays so
    assert hidden(page) == {"rays"}
    page.click_legend(DIV_ID, "random directions")
    assert hidden(page) == set()


@pytest.mark.parametrize("name", ["gptq-int2-exact", "q4_k_m"])
def test_hovering_a_point_shows_its_numbers(page: OpenPage, found: SurveyResult, name: str) -> None:
    point = next(point for point in found.points if point.name == name)
    text = page.hover(DIV_ID, point.distance, point.nll["validation"], "2")
    assert name in text
    assert f"NLL {nats(point.nll['validation'])} on validation" in text
    assert number(point.distance) in text
    assert f"location: {point.location}; loss: {point.loss}" in text


def test_axis_buttons_divide_abscissae_and_ranges(page: OpenPage, found: SurveyResult) -> None:
    before, wide = xs(page), ranges(page)
    page.press("÷ ‖w‖")
    norm = found.subject.norm
    for key, values in xs(page).items():
        assert values == pytest.approx([v if v is None else v / norm for v in before[key]])
    x, x2, y, y2 = ranges(page)
    assert x == x2 == pytest.approx([end / norm for end in wide[0]])
    assert (y, y2) == (wide[2], wide[3])
    assert "‖w‖" in page.layout(DIV_ID, "xaxis.title.text")
    page.press("distance")
    assert xs(page) == before
    assert ranges(page) == wide


@pytest.mark.parametrize("order", [("÷ ‖w‖", "zoom to the points"), ("zoom to the points", "÷ ‖w‖")])
def test_the_zoom_shows_all_points_in_any_unit_and_all_restores(
    page: OpenPage, found: SurveyResult, order: tuple[str, str]
) -> None:
    wide = ranges(page)
    for label in order:
        page.press(label)
    assert pressed(page) == ["÷ ‖w‖", "zoom to the points", "all bits"]
    norm = found.subject.norm
    for panel, split in (("", "train"), ("2", "validation")):
        for point in found.points:
            assert page.inside_panel(DIV_ID, point.distance / norm, point.nll[split], panel), point.name
        assert page.inside_panel(DIV_ID, 0.0, found.center[split], panel)
    zoomed = ranges(page)
    assert zoomed[0][1] < wide[0][1] / norm
    page.press("distance")
    assert ranges(page)[0] == pytest.approx([end * norm for end in zoomed[0]])
    page.press("all")
    assert ranges(page) == wide


def test_the_zoom_is_that_of_the_bit_width_shown(page: OpenPage, found: SurveyResult) -> None:
    page.press("zoom to the points")
    every = ranges(page)
    page.press("int8")
    near = ranges(page)
    own = [point for point in found.points if point.bits in (8, None)]
    assert all(page.inside_panel(DIV_ID, p.distance, p.nll["validation"], "2") for p in own)
    assert near[0][1] < 0.6 * every[0][1]
    page.press("all bits")
    assert ranges(page) == every


def test_the_bit_buttons_show_one_width_and_bring_the_others_back(page: OpenPage) -> None:
    page.press("int4")
    shown = {t["name"] for t in page.traces(DIV_ID) if t["visible"] is True and not t["entry"]}
    assert {"rtn-int4-exact", "gptq-int4-exact", "qaft-int4-exact", "q4_k_m", "direction 0", "R", "w"} <= shown
    assert not {name for name in shown if "int8" in name or "int2" in name}
    assert all(t["visible"] is True for t in page.traces(DIV_ID) if t["entry"])
    page.press("all bits")
    assert hidden(page) == set()


def test_a_part_dragged_by_hand_stays_in_the_new_unit_and_a_double_click_shows_all(
    page: OpenPage, found: SurveyResult
) -> None:
    wide = ranges(page)
    page.page.locator(f"#{DIV_ID}").scroll_into_view_if_needed()
    here, there = (page.pixel(DIV_ID, x, y) for x, y in ((20.0, 6.0), (80.0, 9.0)))
    page.page.mouse.move(*here)
    page.page.mouse.down()
    page.page.mouse.move(*there, steps=6)
    page.page.mouse.up()
    page.page.wait_for_timeout(500)
    dragged = ranges(page)
    assert dragged[0] == pytest.approx([20, 80], abs=2)
    assert pressed(page) == ["distance", "all bits"]
    page.press("÷ ‖w‖")
    assert ranges(page)[0] == pytest.approx([end / found.subject.norm for end in dragged[0]])
    page.page.mouse.dblclick(*here)
    page.page.wait_for_timeout(600)
    assert ranges(page)[0] == pytest.approx([end / found.subject.norm for end in wide[0]])


def test_the_strip_says_in_a_sign_and_a_word_what_the_points_are(page: OpenPage, found: SurveyResult) -> None:
    cells = page.js("() => [...document.querySelectorAll('#verdicts td')].map((td) => [td.className, td.innerText])")
    assert len(cells) == len(found.points) == 10
    assert {kind for kind, _ in cells} == {point.loss for point in found.points}
    assert all(kind in text for kind, text in cells)
