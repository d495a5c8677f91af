"""The rules of the advice, on evidence made up so that the right answer is plain."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from landscape.advice.rules import GPTQ_LEAVES, RESCUE, RIM, WORTH_CHANGING, Evidence, decide, rules
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from landscape.report.advice import reason_lines, verdict_line
from quant.scheme import QuantScheme

LIMIT = Limit.parse("nll+0.1")
EXACT, ABSMAX, CHANNEL = QuantScheme(4), QuantScheme(4, "absmax"), QuantScheme(4, "absmax", "channel")


def about(value: float, width: float = 0.01) -> Estimate:
    return Estimate(value, value - width * abs(value), value + width * abs(value))


def evidence(rise: float, other: float = 1e6, unclipped: float | None = None, rho_prof: float = 0.2) -> Evidence:
    """ΔL of RTN and of the best other grid, over the limit."""
    left = rise if unclipped is None else unclipped
    return Evidence(
        scheme=EXACT, distance=1.0, rise=about(rise * LIMIT.nats), unclipped=about(left * LIMIT.nats),
        remaining=about(left / rise) if rise > 0 else None, clipped=1e-5,
        others={ABSMAX: about(other * LIMIT.nats), CHANNEL: about(2 * other * LIMIT.nats)},
        over_here=about(other / rise) if rise > 0 else None,
        rho=about(0.1), rho_prof=about(rho_prof), rho_along=about(0.3),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (evidence(0.5), "rtn"),
        (evidence(-0.1), "rtn"),
        (evidence(0.8 * RESCUE), "gptq"),
        (evidence(1.2 * RESCUE), "qaft"),
        (evidence(0.8 * RESCUE, rho_prof=1.2 * RIM), "qaft"),
        (evidence(0.8 * RESCUE, other=0.8 * RESCUE * 0.9 * WORTH_CHANGING), "grid"),
        (evidence(0.8 * RESCUE, other=0.8 * RESCUE * 1.1 * WORTH_CHANGING), "gptq"),
        (evidence(30 * RESCUE, other=0.9 * RESCUE), "grid"),
        (evidence(30 * RESCUE, other=1.1 * RESCUE), "qaft"),  # half is gone, and yet too much is left
        (evidence(30 * RESCUE, other=0.9 * RESCUE, rho_prof=3.0), "grid"),  # the rim is no matter on another grid
    ],
)
def test_the_first_rule_whose_bounds_hold_fires(found: Evidence, verdict: str) -> None:
    assert decide(found, LIMIT).verdict == verdict


def test_rtn_is_never_enough_where_the_interval_reaches_beyond_the_limit() -> None:
    """0.09 nats are within 0.1, but up to 0.104 are possible."""
    advice = decide(replace(evidence(0.9), rise=Estimate(0.09, 0.076, 0.104)), LIMIT)
    assert advice.verdict == "gptq"
    assert advice.possible == ("rtn",)


def test_a_loss_that_overflowed_asks_for_training_or_another_grid() -> None:
    lost = Estimate(math.inf, -math.inf, math.inf)
    ruined = replace(evidence(9.0), rise=lost, remaining=None, over_here=None)
    assert decide(ruined, LIMIT).verdict == "qaft"


def test_a_censored_radius_is_not_taken_for_a_small_ratio() -> None:
    """ρ_prof is not known: GPTQ stays possible, and is not promised."""
    advice = decide(replace(evidence(0.8 * RESCUE), rho_prof=None), LIMIT)
    assert (advice.verdict, advice.possible) == ("qaft", ("gptq",))


def test_an_interval_across_a_bound_leaves_the_next_verdict_possible() -> None:
    wide = replace(evidence(0.9 * RESCUE), rho_prof=Estimate(0.9 * RIM, 0.7 * RIM, 1.1 * RIM))
    assert decide(wide, LIMIT).possible == ("qaft",)
    assert decide(evidence(0.5 * RESCUE), LIMIT).possible == ()


def test_the_margin_is_the_nearest_single_change() -> None:
    """GPTQ at 0.8 of RESCUE: 1.25 times more loss would turn it, a ρ_prof five times as large as well."""
    margin = decide(evidence(0.8 * RESCUE), LIMIT).margin
    assert margin is not None
    assert (margin.verdict, margin.factor) == ("qaft", pytest.approx(1.25))
    near_enough = decide(evidence(1.2), LIMIT).margin  # the upper end, 1.212 limits, would have to come down to 1
    assert near_enough is not None
    assert (near_enough.verdict, near_enough.factor) == ("rtn", pytest.approx(1 / 1.212))
    assert near_enough.name == "the upper end of ΔL of RTN / your limit"


def test_no_single_number_turns_a_point_that_is_beyond_two_bounds() -> None:
    far = evidence(30 * RESCUE, other=20 * RESCUE, rho_prof=2 * RIM)
    margin = decide(far, LIMIT).margin
    assert margin is not None
    # One bound each, far away: RTN here, or on the other grid; GPTQ would need two numbers to change.
    assert (margin.verdict, margin.factor) == ("grid", pytest.approx(1 / (20 * RESCUE * 1.01)))


def test_every_bound_that_was_tried_is_reported_with_its_source() -> None:
    findings = decide(evidence(1.2 * RESCUE), LIMIT).findings
    assert [finding.verdict for finding in findings] == ["rtn", "grid", "grid", "grid", "gptq", "gptq"]
    assert [finding.name for finding in findings] == [
        "ΔL of RTN / your limit",
        "ΔL of RTN on another grid / your limit",
        "ΔL of RTN on another grid / ΔL here",
        "ΔL of RTN on another grid / your limit",
        "ΔL of RTN / your limit",
        "ρ_prof",
    ]
    limit, there, choice, rescue, _, rim = (finding.source for finding in findings)
    assert (limit, there, choice) == ("your limit", "your limit", "our choice, not fitted")
    assert "fitted on opt-nano" in rescue
    assert "the paper's rim" in rim
    assert findings[4].judged == pytest.approx(1.2 * RESCUE)


def test_a_grid_that_surely_keeps_the_limit_is_advised_however_little_it_gains() -> None:
    """Measured to keep it, and free: no prediction for GPTQ comes first. That it has two grounds is no doubt."""
    sure, near = evidence(1.2, other=0.9), evidence(1.9, other=0.995)
    unsure = replace(near, over_here=Estimate(0.52, 0.45, 0.6))
    assert (decide(sure, LIMIT).verdict, decide(sure, LIMIT).keeps) == ("grid", True)
    assert (decide(unsure, LIMIT).verdict, decide(unsure, LIMIT).possible) == ("gptq", ("grid",))
    both = decide(evidence(9.0, other=0.995), LIMIT)
    assert (both.verdict, both.keeps, both.possible) == ("grid", None, ())
    assert both.margin is not None
    assert both.margin.verdict == "gptq"  # not the grid by its other ground, which is nearer


def test_clipping_dominates_only_if_surely_more_than_half_goes_with_it() -> None:
    assert evidence(5.0, unclipped=0.4 * 5).clipping_dominates
    assert not evidence(5.0, unclipped=0.6 * 5).clipping_dominates
    assert not replace(evidence(5.0), remaining=Estimate(0.45, 0.38, 0.52)).clipping_dominates


def test_thresholds_can_be_tried() -> None:
    found = evidence(0.8 * RESCUE)
    assert decide(found, LIMIT, rules(rescue=0.5 * RESCUE)).verdict == "qaft"
    assert decide(found, LIMIT, rules(rim=0.1)).verdict == "qaft"
    half = evidence(0.8 * RESCUE, other=0.4 * RESCUE * 1.1)
    assert decide(half, LIMIT).verdict == "gptq"
    assert decide(half, LIMIT, rules(worth=0.6)).verdict == "grid"


@pytest.mark.parametrize(
    ("found", "verdict", "keeps"),
    [
        (evidence(0.5), "rtn", True),
        (evidence(9.0, other=0.5), "grid", True),
        (replace(evidence(9.0, other=1.0), over_here=about(0.1)), "grid", None),  # 0.99 to 1.01 limits
        (evidence(9.0, other=1.5), "grid", False),
        (evidence(2.0), "gptq", None),
        (evidence(0.99 / GPTQ_LEAVES), "gptq", None),
        (evidence(1.03 / GPTQ_LEAVES), "gptq", False),
        (evidence(1.2 * RESCUE), "qaft", None),
    ],
)
def test_whether_the_advised_way_keeps_the_limit(found: Evidence, verdict: str, keeps: bool | None) -> None:
    """GPTQ is denied where 0.99 of the loss, the lower end, times the least share that it left is beyond the limit."""
    advice = decide(found, LIMIT)
    assert (advice.verdict, advice.keeps) == (verdict, keeps)
    beyond = any(words in verdict_line(advice) for words in ("not within your limit", "more than your limit"))
    assert beyond == (keeps is False)
    foretold = [line for line in reason_lines(advice) if "GPTQ left 47% of RTN's ΔL or more" in line]
    assert [line.endswith("beyond your limit") for line in foretold] == ([keeps is False] if verdict == "gptq" else [])


def test_a_bound_on_a_whole_interval_is_told_by_its_upper_end() -> None:
    found = replace(evidence(0.9), rise=Estimate(0.09, 0.076, 0.104))
    said = next(line for line in reason_lines(decide(found, LIMIT)) if line.startswith("RTN: "))
    assert (
        said == "RTN: ΔL of RTN / your limit = 0.900 [0.760, 1.04], its upper end beyond the bound of 1.00 (your limit)"
    )
