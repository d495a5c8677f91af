"""What an anatomy dissected, in words."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from landscape.anatomy.result import AnatomyResult
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from landscape.positions.parts import PARTS
from landscape.report.anatomy.json import anatomy_json
from landscape.report.anatomy.names import group_name
from landscape.report.anatomy.page import anatomy_page
from landscape.report.anatomy.wording import finding, subject_sentences, title
from tests.landscape.reading import Page


def test_the_finding_comes_first_and_in_plain_words(dissected: AnatomyResult) -> None:
    where, against, blame, restored, *_ = finding(dissected)
    assert re.match(
        r"rtn-int4-exact lies at 0\.\d+ \[0\.\d+, 0\.\d+\] R, .*: inside, degraded: near but steep\.", where
    )
    assert "times their spread above them" in against
    assert re.search(r"^Clipping of \d[\d,.]* weights in a million costs \+\d\.\d+ \[.*\] of these \+\d", blame)
    assert re.search(r"Undoing it in 2 of \d+ tensors that clip \(\d\.fc1, \d\.fc1\) restores the loss", restored)
    assert title(dissected).endswith("rtn-int4-exact: inside, degraded: near but steep")


def test_a_point_is_steep_only_where_its_interval_is_above_that_of_random_directions(dissected: AnatomyResult) -> None:
    below = dissected.typical.high - 1e-6
    overlapping = of_equal_numbers(dissected, Estimate(0.5, below, 1.0), dissected.rise)
    assert dissected.steep
    assert not overlapping.steep
    assert title(overlapping).endswith("near; not steeper than a random step of that length, as far as the data show")


@pytest.mark.parametrize(
    ("share", "location", "level"),
    [
        (Estimate(0.01, -0.08, 0.09), "inside", "0.010 [−0.0800, 0.0900] of the way to chance: below a tenth."),
        (Estimate(0.5, 0.2, 0.8), "border", "0.50 [0.200, 0.800] of the way to chance: between a tenth and nine"),
        (Estimate(1.0, 0.95, 1.05), "outside", "1.0 [0.950, 1.05] of the way to chance: above nine tenths."),
        (
            Estimate(0.01, -0.08, 0.11),
            "unresolved",
            "0.010 [−0.0800, 0.110] of the way to chance: the interval reaches across a t",
        ),
        (Estimate(0.01, -math.inf, math.inf), "unresolved", "0.010 (not bounded by the data) of the way to chance"),
    ],
)
def test_a_location_is_told_with_what_it_was_judged_by(
    dissected: AnatomyResult, share: Estimate, location: str, level: str
) -> None:
    span = dissected.subject.chance - dissected.center_nll
    interval = Estimate(*(span * end for end in (share.value, share.low, share.high)))
    sphere, *others = dissected.waterfall.steps
    assert sphere.matched is not None
    matched = replace(sphere.matched, interval=interval)
    judged = replace(
        dissected, waterfall=replace(dissected.waterfall, steps=(replace(sphere, matched=matched), *others))
    )
    assert judged.location == location
    where = finding(judged)[0]
    assert f"from w: {location}, " in where
    assert f" Its location is judged by random steps of that length, which rise by u = {level}" in where


def blamed(dissected: AnatomyResult, **saved: Estimate | None) -> str:
    anatomy = dissected.anatomy
    return finding(replace(dissected, anatomy=replace(anatomy, saved={**anatomy.saved, **saved})))[2]


def test_nothing_is_blamed_without_evidence(dissected: AnatomyResult) -> None:
    noise = Estimate(0.1, -0.1, 0.3)
    quiet = {"shrink": noise, "round": noise, "clip": noise}
    assert blamed(dissected, **quiet).startswith("No part of Δw is to blame")
    assert "overflowed" in blamed(dissected, **{**quiet, "round": None})
    assert blamed(dissected, **{**quiet, "round": Estimate(0.3, 0.2, 0.4)}).startswith("Rounding costs +0.3000 [")


def test_windows_of_one_article_blame_nothing_and_are_told_as_such(dissected: AnatomyResult) -> None:
    noise = dict.fromkeys(PARTS, Estimate(0.1, -math.inf, math.inf))
    unbounded = replace(dissected.waterfall.steps[0], rho=Estimate(0.3, 0.0, math.inf))
    alone = replace(
        dissected, articles={"validation": 1, "test": 1},
        waterfall=replace(dissected.waterfall, steps=(unbounded, *dissected.waterfall.steps[1:])),
    )  # fmt: skip
    assert blamed(alone, **noise) == (
        "No part of Δw can be blamed: 4 windows of one article give no interval; use a text of several articles, or so "
        "many --windows that they reach into another."
    )
    assert "0.300 (not bounded by windows of one article: use more of the text) R" in finding(alone)[0]
    assert "(validation: 4 windows in 1 article; test: 2 windows in 1 article)" in subject_sentences(alone)[1]
    unknown = replace(dissected, articles={"validation": None, "test": None})
    assert blamed(unknown, **noise).startswith("No part of Δw is to blame")
    assert "validation: 4 windows, each treated as independent;" in subject_sentences(unknown)[1]
    assert anatomy_json(unknown)["articles"] == {"validation": None, "test": None}


def test_a_limit_that_is_not_reached_is_said(dissected: AnatomyResult) -> None:
    strict = replace(dissected, limit=Limit("nll+0.000001", 1e-6), restored={1: dissected.restored[1]})
    assert "still beyond the limit nll+0.000001" in finding(strict)[3]
    assert strict.enough is None
    loose = replace(dissected, limit=Limit("nll+9", 9.0))
    assert loose.enough == 0
    assert "as it is" in finding(loose)[3]


def of_equal_numbers(dissected: AnatomyResult, rise: Estimate, left: Estimate) -> AnatomyResult:
    """The point with these ΔL: as it is, and with the clipping of two tensors undone."""
    whole, two = replace(dissected.anatomy.whole, rise=rise), replace(dissected.restored[2], rise=left)
    held_out = {count: dissected.held_out[count] for count in (0, 2)}
    return replace(
        dissected, anatomy=replace(dissected.anatomy, whole=whole), restored={2: two}, held_out=held_out,
        limit=Limit.parse("ppl+5%"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("left", "enough", "loss", "word", "said"),
    [
        (Estimate(0.03, 0.02, 0.04), 2, "kept", "yes", "restores the loss"),
        (Estimate(0.03, 0.0, 0.06), None, "inconclusive", "inconclusive", "in 2 of 30 tensors that clip ("),
        (Estimate(0.06, 0.0, 0.12), None, "inconclusive", "inconclusive", "inconclusive, its interval reaches"),
        (Estimate(0.03, -math.inf, math.inf), None, "inconclusive", "inconclusive", "more --windows may settle it"),
        (Estimate(0.06, 0.05, 0.07), None, "degraded", "no", "still beyond the limit"),
    ],
)  # fmt: skip
def test_a_loss_is_restored_where_the_same_numbers_would_be_kept(
    dissected: AnatomyResult, left: Estimate, enough: int | None, loss: str, word: str, said: str
) -> None:
    steep = of_equal_numbers(dissected, Estimate(0.5, 0.4, 0.6), left)
    assert steep.enough == enough
    assert said in finding(steep)[3]
    assert [row["within ppl+5%"] for row in Page(anatomy_page(steep)).table("The point with the clipping")] == [word]
    itself = of_equal_numbers(dissected, left, left)
    assert itself.loss == loss
    assert (itself.enough == 0) == (loss == "kept")


def test_groups_are_named_as_people_say_them() -> None:
    assert group_name("block=3") == "block 3"
    assert group_name("type=mlp.down_proj") == "mlp.down_proj"
    assert group_name("model.layers.3.mlp.down_proj.weight") == "3.mlp.down_proj"
