from __future__ import annotations

import math
from dataclasses import replace

import pytest

from landscape.estimators.intervals import Estimate
from landscape.estimators.location import Location, Loss, loss_word
from landscape.report.survey.page import page
from landscape.report.survey.summary import loss_lines
from landscape.report.survey.verdicts import (
    is_steep,
    joint_meaning,
    near_but_steep,
    point_note,
    typical_rise,
)
from landscape.survey.result import PointResult, SurveyResult
from tests import synthetic
from tests.landscape.reading import Page

_NOT_STEEPER = "not steeper than a random step of that length, as far as the data show"


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


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
def test_what_two_words_mean_together(method: str, place: Location, loss: Loss, hint: str) -> None:
    assert joint_meaning(place, loss, rounded=method == "rtn", steep=True) == hint


def names(points: list[PointResult]) -> list[str]:
    return [point.name for point in points]


def test_a_degraded_point_no_steeper_than_random_directions_is_not_called_steep() -> None:
    found = synthetic.landscape(synthetic.Well(steep=0.9), bits=(6,), methods=("rtn",))
    (point,) = found.points
    assert (point.location, point.loss) == ("inside", "degraded")
    assert point.rise["validation"].value < typical_rise(found, point.distance)
    assert point_note(point, found).verdict.endswith(
        "not steeper than a random step of that length, as far as the data show"
    )
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
    ("rise", "loss", "steep", "starts"),
    [
        (Estimate(0.5, 0.4, 0.6), "degraded", True, ["near but steep: rtn-int6-exact: inside the basin, and yet"]),
        (Estimate(0.5, 0.05, 0.95), "degraded", False, []),  # its interval holds what random steps cost
        (Estimate(0.0096, -0.17, 0.19), "inconclusive", False, ["inconclusive: rtn-int6-exact: the interval of"]),
        (Estimate(0.3, -0.1, 0.7), "inconclusive", False, ["inconclusive"]),  # the value beyond the limit
        (Estimate(-0.03, -0.2, 0.15), "inconclusive", False, ["inconclusive"]),  # the loss fell
        (Estimate(math.inf, -math.inf, math.inf), "degraded", True, ["near but steep"]),  # overflowed
        (Estimate(0.01, -math.inf, math.inf), "inconclusive", False, ["inconclusive"]),  # one window
    ],
)  # fmt: skip
def test_a_loss_is_steep_or_beyond_the_limit_only_where_that_is_shown(
    rise: Estimate, loss: Loss, steep: bool, starts: list[str]
) -> None:
    found, point = with_rise(rise)
    assert point.loss == loss
    assert is_steep(point, found) == steep
    assert point_note(point, found).verdict.endswith(
        "near but steep" if steep else "not steeper than a random step of that length, as far as the data show"
    )
    told = list(loss_lines(found))
    assert len(told) == len(starts)
    assert all(line.startswith(start) for line, start in zip(told, starts, strict=True))
    reaches = "Its interval reaches across 0.0488" in point_note(point, found).detail
    assert reaches == (loss == "inconclusive")


def test_nothing_is_steep_against_directions_that_were_not_probed() -> None:
    found, point = with_rise(Estimate(0.5, 0.4, 0.6))
    assert not is_steep(replace(point, distance=10 * found.rays[0].lambdas[-1]), found)


def test_a_steep_loss_that_is_inconclusive_is_not_said_to_be_beyond_the_limit() -> None:
    """Where random directions rise by less than the limit, ΔL may be shown above them and not above it."""
    found = synthetic.landscape(bits=(8,), methods=("rtn",))
    (point,) = found.points
    rise = Estimate(0.04, 0.02, 0.06)
    assert typical_rise(found, point.distance) < rise.low
    altered = replace(point, rise={**point.rise, "validation": rise}, loss=loss_word(rise, u=0.01))
    steep, unclear = loss_lines(replace(found, points=(altered,)))
    assert steep.startswith("near but steep: rtn-int8-exact")
    assert "limit" not in steep
    assert unclear.startswith("inconclusive: rtn-int8-exact")
