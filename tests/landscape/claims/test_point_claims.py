"""Test claims 3, 5 and 6 on landscapes where each holds, or fails, by a known number; and all six together."""

import dataclasses
import math

import numpy as np
import pytest

from landscape.claims.claim import RtnDistance
from landscape.claims.point_claims import claims, located, not_connected, not_farther
from landscape.estimators.intervals import Estimate
from tests.landscape.claims.pictures import WINDOWS, observed, stretched, verdicts, well

# ---- 3: where RTN lies --------------------------------------------------------------------------------------------

R10, R90 = math.sqrt(-math.log2(0.9)), math.sqrt(-math.log2(0.1))  # 0.39 and 1.82


def rtn_at(**distances):
    return observed(points=[("rtn", int(bits[1:]), away, well) for bits, away in distances.items()])


def test_rtn_where_the_paper_finds_it():
    found = list(located(rtn_at(b8=0.1, b6=0.3, b4=1.0, b3=2.2, b2=2.5)))
    assert {claim.verdict for claim in found} == {"holds"}
    assert [claim.estimate.value for claim in found] == pytest.approx([0.1, 0.3, 1.0, 2.2, 2.5], rel=1e-3)


def test_rtn_elsewhere():
    found = verdicts(located(rtn_at(b8=0.6, b6=2.5, b4=0.2, b3=1.0, b2=0.1)))
    assert set(found.values()) == {"fails"}
    assert verdicts(located(rtn_at(b4=2.5))) == {"int4-exact": "fails"}


def test_on_an_edge_it_is_open_and_int5_is_not_in_the_paper():
    assert verdicts(located(rtn_at(b8=R10, b4=R10, b5=1.0))) == {"int8-exact": "open", "int4-exact": "open"}
    assert verdicts(located(rtn_at(b2=R90))) == {"int2-exact": "open"}


def test_rtn_on_grids_without_a_point_is_located_by_its_distance_alone():
    both = dataclasses.replace(
        rtn_at(b8=0.1),
        rtn=(RtnDistance(6, "exact", 0.3), RtnDistance(3, "exact", 1.0), RtnDistance(5, "exact", 1.0)),
    )
    found = list(located(both))
    assert verdicts(found) == {"int8-exact": "holds", "int6-exact": "holds", "int3-exact": "fails"}
    assert [claim.estimate.value for claim in found] == pytest.approx([0.1, 0.3, 1.0], rel=1e-3)
    assert [claim.note for claim in found] == ["inside", "inside", "border"]


# ---- 5: QAFT ------------------------------------------------------------------------------------------------------


def qaft_at(away, u):
    points = [("rtn", 2, 2.0, well), ("qaft", 2, away, lambda x: u * np.asarray(x) / away)]
    return list(not_farther(observed(points=points)))


def test_qaft_as_near_and_lower():
    distance, loss = qaft_at(2.01, 0.3)
    assert distance.estimate == Estimate(2.01 / 2, 2.01 / 2, 2.01 / 2)
    assert loss.estimate.value == pytest.approx(4 * (well(2.0) - 0.3))
    assert (distance.verdict, loss.verdict) == ("holds", "holds")


def test_qaft_farther_and_higher():
    distance, loss = qaft_at(2.03, 0.99)
    assert (distance.verdict, loss.verdict) == ("fails", "fails")


def test_qaft_that_kept_rtn_is_not_lower():
    points = [("rtn", 2, 2.0, well), ("qaft", 2, 2.0, well)]
    distance, loss = not_farther(observed(points=points))
    assert (distance.verdict, loss.verdict) == ("holds", "fails")
    assert loss.note == "no epoch lowered the validation loss: QAFT kept RTN"


def test_qaft_overflowed():
    points = [("rtn", 2, 2.0, well), ("qaft", 2, 2.0, well)]
    test = {"qaft-int2-exact": np.full(WINDOWS, np.inf)}
    _, loss = not_farther(observed(points=points, test=test))
    assert (loss.verdict, loss.note) == ("open", "the loss at w_QAFT is not finite")


# ---- 6: connectivity ----------------------------------------------------------------------------------------------


def ridged(height, away):
    """Up to u = height at two fifths of the way, down to half of it."""
    return lambda x: height * np.interp(np.asarray(x) / away, [0, 0.4, 1], [0, 1, 0.5])


def connected(away, u, **more):
    (claim,) = not_connected(observed(points=[("rtn", 2, away, u)], **more))
    return claim


def test_a_ridge_before_a_point_beyond_r():
    """The window's own slopes make the fall differ by 1 %: the noise."""
    claim = connected(2.0, ridged(0.8, 2.0))
    assert claim.estimate.value == pytest.approx(4 * 0.4)
    assert (claim.verdict, claim.aside) == ("holds", False)
    assert "top at α = 0.4" in claim.note


def test_a_point_beyond_r_without_a_ridge():
    claim = connected(2.0, well)
    assert (claim.estimate.value, claim.verdict) == (0.0, "fails")


def test_within_r_the_converse_stands_aside():
    assert (connected(0.5, well).verdict, connected(0.5, well).aside) == ("holds", True)
    assert (connected(0.5, ridged(0.2, 0.5)).verdict, connected(0.5, ridged(0.2, 0.5)).aside) == ("fails", True)


def test_connectivity_is_open_at_r_itself_and_where_noise_could_hide_a_ridge():
    assert connected(1.0, ridged(0.8, 1.0)).verdict == "open"
    flat = connected(2.0, lambda x: np.minimum(1, np.asarray(x)), noise=0.05)
    assert flat.verdict == "open"
    assert flat.estimate.low == 0 < flat.estimate.value


def test_a_ridge_that_noise_hides_is_rarely_denied():
    """A fall of 0.1 nats, twice the limit, which the slopes of the windows often turn into P = 0.

    Where an interval of 95 % lies wrongly below the limit in 5 % of 200 cases, more than 20 are one in a thousand.
    """

    def shallow(x):
        return np.interp(np.asarray(x) / 2.0, [0, 0.4, 1], [0, 0.8, 0.775])

    found = [connected(2.0, shallow, tilt=0.2, seed=seed) for seed in range(200)]
    assert sum(claim.estimate.value == 0 for claim in found) > 20
    assert sum(claim.verdict == "fails" for claim in found) <= 20


def test_a_ridge_that_would_count_as_kept_is_none():
    """A fall of 0.02 nats, seen in every window, is less than 5 % of perplexity."""

    def shallow(x):
        return np.interp(np.asarray(x) / 2.0, [0, 0.4, 1], [0, 0.8, 0.795])

    assert connected(2.0, shallow).estimate.low > 0
    assert connected(2.0, shallow).verdict == "fails"


# ---- all ----------------------------------------------------------------------------------------------------------


def test_all_claims_of_the_paper_hold_on_its_own_picture():
    def late(x):
        return np.interp(np.asarray(x) / 3.0, [0, 0.4, 0.8, 1], [0, 0.1, 1, 0.9])

    points = [
        ("rtn", 8, 0.1, well), ("gptq", 8, 0.2, stretched(2.0)), ("qaft", 8, 0.1, stretched(1.5)),
        ("rtn", 2, 2.5, ridged(1.2, 2.5)), ("gptq", 2, 3.0, late), ("qaft", 2, 2.5, ridged(0.8, 2.5)),
    ]  # fmt: skip
    found = claims(observed([stretched(f) for f in (0.98, 0.99, 1.01, 1.02)], points))
    on_the_paper = [claim for claim in found if not claim.aside]
    assert {claim.number for claim in on_the_paper} == set(range(1, 7))
    assert {claim.verdict for claim in on_the_paper} == {"holds"}
    assert len({(claim.number, claim.case) for claim in found}) == len(found)
    assert all("§4.3" in claim.source for claim in found)
