from __future__ import annotations

import re

import pytest

from landscape.estimators.location import location
from landscape.formatting import number
from landscape.report.survey.page import page
from landscape.survey.result import SurveyResult
from tests import synthetic
from tests.landscape.reading import Page


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


@pytest.fixture(scope="module")
def parsed(found: SurveyResult) -> Page:
    return Page(page(found))


def test_intervals_that_are_not_bounded_read_as_words() -> None:
    found = synthetic.landscape(directions=1, windows=1, bits=(4,), methods=("rtn",), model="opt-nano")
    parsed = Page(page(found))
    assert f"opt-nano: basin radius R = {found.basin.radius.value:.1f} (not bounded by one direction)" in parsed.text
    assert "(not bounded by one window or article)" in parsed.text
    assert "rtn-int4-exact: unresolved, inconclusive" in parsed.text
    assert not re.search(r"\b(inf|nan|None)\b", parsed.text)


def test_a_censored_radius_reads_as_a_bound() -> None:
    found = synthetic.landscape(lambdas=[5, 10, 20, 30, 40, 50])
    assert location(60.0, found.basin) == "unresolved"
    parsed = Page(page(found))
    assert "opt-125m: basin radius R is more than 50.0" in parsed.text
    assert {row["ρ = ‖Δw‖/R"] for row in parsed.table("The quantized points")} == {"R not reached"}


def test_a_ridge_is_told_with_its_place_its_depth_and_their_intervals(found: SurveyResult, parsed: Page) -> None:
    ridged = [s for s in found.segments if s.a == "w" and s.split == "validation" and not s.connectivity.monotonic]
    assert ridged
    for s in ridged:
        c = s.connectivity
        p = c.prominence_interval
        assert (
            f"From w to {s.b} the loss falls by P = {p.value:.4f} [{p.low:.4f}, {p.high:.4f}] from "
            f"the ridge at α = {number(c.ridge_alpha, 3)} to the valley at α = {number(c.valley_alpha, 3)}"
        ) in parsed.text


def test_the_page_says_what_the_words_for_a_loss_mean(parsed: Page) -> None:
    (caption,) = (caption for caption in parsed.tables if caption.startswith("The quantized points"))
    words = "degraded if all of it lies beyond, inconclusive if it reaches across"
    assert words in caption
    assert words.replace(", inc", ", and inc") in parsed.text  # how to read it
