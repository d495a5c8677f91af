from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from landscape.cli.console import loss_lines, near_but_steep
from landscape.estimators.intervals import Estimate
from landscape.estimators.location import location, loss_word
from landscape.report.survey.page import page
from landscape.report.survey.wording import (
    interval,
    is_open,
    is_steep,
    number,
    point_note,
    typical_rise,
    verdict_hint,
    why_unbounded,
    windows_text,
)
from landscape.survey.result import PointResult, SurveyResult
from tests import synthetic
from tests.landscape.reading import Page


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


@pytest.fixture(scope="module")
def parsed(found: SurveyResult) -> Page:
    return Page(page(found))


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(71.24, "71.2"), (0.0284, "0.0284"), (1992.6, "1,993"), (0.0, "0"), (-3.456, "−3.46"), (2.5e-7, "2.50e−07"),
     (float("inf"), "∞"), (float("nan"), "not a number"), (9.999, "10.0")],
)  # fmt: skip
def test_numbers_are_written_out(value: float, text: str) -> None:
    assert number(value, 3) == text


def test_half_an_interval_keeps_its_known_end() -> None:
    assert interval(Estimate(2.0, 1.5, float("inf")), "2.00", "unbounded") == "2.00 [1.50, ∞]"
    assert interval(Estimate(2.0, 0.0, float("inf")), "2.00", "unbounded") == "2.00 (unbounded)"


def test_intervals_that_are_not_bounded_read_as_words() -> None:
    found = synthetic.landscape(directions=1, windows=1, bits=(4,), methods=("rtn",), model="opt-nano")
    parsed = Page(page(found))
    assert f"opt-nano: basin radius R = {found.basin.radius.value:.1f} (not bounded by one direction)" in parsed.text
    assert "(not bounded by one window or article)" in parsed.text
    assert "rtn-int4-exact: unresolved, degraded" in parsed.text
    assert not re.search(r"\b(inf|nan|None)\b", parsed.text)


def test_a_censored_radius_reads_as_a_bound() -> None:
    found = synthetic.landscape(lambdas=[5, 10, 20, 30, 40, 50])
    assert location(60.0, found.basin) == "unresolved"
    parsed = Page(page(found))
    assert "opt-125m: basin radius R is more than 50.0" in parsed.text
    assert {row["ρ = ‖Δw‖/R"] for row in parsed.table("The quantized points")} == {"R not reached"}


# --- sentences --------------------------------------------------------------------------------------------------------


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


def test_a_ruined_point_deep_inside_reads_near_but_steep() -> None:
    found = synthetic.smollm2_like(bits=(6,), methods=("rtn",), directions=3)
    (point,) = found.points
    assert (point.location, point.loss) == ("inside", "degraded")
    parsed = Page(page(found))
    assert "rtn-int6-exact: inside, degraded: near but steep." in parsed.text
    typical = typical_rise(found, point.distance)
    assert f"Random directions at that distance: ΔL about +{typical:.4f}." in parsed.text
    assert point.rise["validation"].low > 4 * typical


def test_the_typical_rise_is_that_of_the_rays(found: SurveyResult) -> None:
    lam = float(found.rays[0].lambdas[4])
    mean = sum(ray.nll["validation"][4] for ray in found.rays) / 8 - found.center["validation"]
    assert typical_rise(found, lam) == pytest.approx(mean)
    assert typical_rise(found, 10 * found.rays[0].lambdas[-1]) is None
    assert typical_rise(synthetic.overflowing(), float(found.rays[0].lambdas[-1])) is None


@pytest.mark.parametrize(
    ("method", "place", "loss", "hint"),
    [
        ("rtn", "inside", "kept", "rounding is cheap here"),
        ("gptq", "inside", "kept", "near and flat"),
        ("rtn", "inside", "lost", "near but steep"),
        ("qaft", "outside", "degraded", "far but not lost"),
        ("rtn", "outside", "lost", "far and lost"),
        ("rtn", "border", "lost", ""),
    ],
)
def test_what_two_words_mean_together(found: SurveyResult, method: str, place: str, loss: str, hint: str) -> None:
    assert verdict_hint(replace(found.points[0], method=method, location=place, loss=loss)) == hint  # type: ignore[arg-type]


def names(points: list[PointResult]) -> list[str]:
    return [point.name for point in points]


def test_a_degraded_point_no_steeper_than_random_directions_is_not_called_steep() -> None:
    found = synthetic.landscape(synthetic.Well(steep=0.9), bits=(6,), methods=("rtn",))
    (point,) = found.points
    assert (point.location, point.loss) == ("inside", "degraded")
    assert point.rise["validation"].value < typical_rise(found, point.distance)
    assert point_note(point, found).verdict.endswith("not shown to be steeper than a random step of that length")
    assert near_but_steep(found) == []
    steep = synthetic.landscape(synthetic.Well(steep=1.5), bits=(6,), methods=("rtn",))
    assert names(near_but_steep(steep)) == ["rtn-int6-exact"]


def with_rise(rise: Estimate) -> tuple[SurveyResult, PointResult]:
    """A landscape with one point inside the basin, where random directions rise by 0.07, and that ΔL."""
    found = synthetic.landscape(bits=(6,), methods=("rtn",))
    (point,) = found.points
    assert 0.05 < typical_rise(found, point.distance) < 0.1
    assert point.location == "inside"
    altered = replace(point, rise={**point.rise, "validation": rise}, loss=loss_word(rise, u=0.01))
    return replace(found, points=(altered,)), altered


@pytest.mark.parametrize(
    ("rise", "steep", "starts"),
    [
        (Estimate(0.5, 0.4, 0.6), True, ["near but steep: rtn-int6-exact: inside the basin, and yet the loss has"]),
        (Estimate(0.5, 0.05, 0.95), False, []),  # beyond the limit, but its interval holds what random steps cost
        (Estimate(0.0096, -0.17, 0.19), False, ["not shown to be kept: rtn-int6-exact: ΔL is within the limit ppl+5%"]),
        (Estimate(-0.03, -0.2, 0.15), False, ["not shown to be kept"]),  # the loss fell
        (Estimate(math.inf, -math.inf, math.inf), True, ["near but steep"]),  # overflowed
        (Estimate(0.01, -math.inf, math.inf), False, ["not shown to be kept"]),  # one window
    ],
)  # fmt: skip
def test_a_loss_is_steep_or_beyond_the_limit_only_where_that_is_shown(
    rise: Estimate, steep: bool, starts: list[str]
) -> None:
    found, point = with_rise(rise)
    assert point.loss == "degraded"
    assert is_steep(point, found) == steep
    assert point_note(point, found).verdict.endswith(
        "near but steep" if steep else "not shown to be steeper than a random step of that length"
    )
    told = list(loss_lines(found))
    assert len(told) == len(starts)
    assert all(line.startswith(start) for line, start in zip(told, starts, strict=True))
    reaches = "but its interval reaches across" in point_note(point, found).detail
    assert reaches == is_open(point, found) == any("not shown" in start for start in starts)


def test_nothing_is_steep_against_directions_that_were_not_probed() -> None:
    found, point = with_rise(Estimate(0.5, 0.4, 0.6))
    assert not is_steep(replace(point, distance=10 * found.rays[0].lambdas[-1]), found)


def test_a_steep_loss_within_the_limit_is_not_said_to_be_beyond_it() -> None:
    """Where random directions rise by less than the limit, ΔL may be shown above them and not above it."""
    found = synthetic.landscape(bits=(8,), methods=("rtn",))
    (point,) = found.points
    rise = Estimate(0.04, 0.02, 0.06)
    assert typical_rise(found, point.distance) < rise.low
    altered = replace(point, rise={**point.rise, "validation": rise}, loss=loss_word(rise, u=0.01))
    steep, unclear = loss_lines(replace(found, points=(altered,)))
    assert steep.startswith("near but steep: rtn-int8-exact")
    assert "limit" not in steep
    assert unclear.startswith("not shown to be kept: rtn-int8-exact")


def test_the_page_says_what_degraded_means(parsed: Page) -> None:
    assert parsed.text.count("not shown to be kept") == 2  # how to read it, and the table
    (caption,) = (caption for caption in parsed.tables if caption.startswith("The quantized points"))
    assert "else degraded: not shown to be kept" in caption


@pytest.mark.parametrize(
    ("windows", "articles", "text"),
    [
        (8, 7, "8 windows in 7 articles"),
        (8, 1, "8 windows in 1 article"),
        (1, 1, "1 window in 1 article"),
        (8, None, "8 windows, each taken for independent"),
        (1, None, "1 window"),
    ],
)
def test_windows_are_told_with_their_articles(windows: int, articles: int | None, text: str) -> None:
    assert windows_text(windows, articles) == text


def test_one_article_is_named_where_it_bounds_nothing() -> None:
    assert "one article: take more of the text" in why_unbounded(8, 8, 1)
    assert [why_unbounded(8, 1, 1), why_unbounded(8, 8, 2)] == ["not bounded by one window", "not bounded by the data"]
