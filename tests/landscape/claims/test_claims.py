"""Landscapes made so that each claim holds, or fails, by a known number."""

import dataclasses
import math

import numpy as np
import pytest

from landscape.claims.claim import Rounded
from landscape.claims.point_claims import (
    Claim,
    Observed,
    Threshold,
    alike,
    claims,
    less_steep,
    located,
    not_connected,
    not_farther,
    overall,
    quadratic,
)
from landscape.estimators.basin import estimate_basin
from landscape.estimators.connectivity import connectivity
from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.location import location, ratio
from landscape.estimators.other_radii import other_radii
from landscape.estimators.radial_losses import RadialProbes
from landscape.session.run_record import ProbeCount, SubjectInfo
from landscape.survey.result import PointResult, SegmentResult, SurveyResult
from quant.coverage import Coverage

BASE, CHANCE = 2.0, 6.0
GRID = np.array([*np.arange(1, 9) * 0.1875, 2.0, 3.0])  # of a quick survey, in units of R
ALPHAS = np.linspace(0, 1, 6)
WINDOWS = 8
TOKENS = np.full(WINDOWS, 100)


def well(x):
    """u of a Gaussian well of radius 1."""
    return 1 - np.exp2(-(np.asarray(x, float) ** 2))


def sums(u, rng, noise=0.0, tilt=0.0):
    """NLL sums, (…, n_w): windows have levels of their own, and rise 1 % more or less steeply.

    ``noise`` is each position's own, ``tilt`` a slope of each window, both as a share of the way to chance.
    """
    u = np.asarray(u)[..., None]
    steep, level = np.linspace(0.99, 1.01, WINDOWS), np.linspace(-0.5, 0.5, WINDOWS)
    rough = noise * rng.standard_normal((*u.shape[:-1], WINDOWS)) * (u > 0)
    if tilt:
        rough += tilt * rng.standard_normal(WINDOWS) * np.linspace(0, 1, len(u))[:, None]
    return TOKENS * (BASE + level + (CHANCE - BASE) * (u * steep + rough))


def observed(profiles=(well,) * 4, points=(), noise=0.0, tilt=0.0, test=None, seed=0):
    """A landscape of these profiles; points are (method, bits, ‖Δw‖/R, u along Δw as a function of the distance)."""
    rng = np.random.default_rng(seed)
    center = sums(0.0, rng)
    radial = RadialProbes(GRID, np.array([sums(f(GRID), rng, noise) for f in profiles]), TOKENS, center, CHANCE)
    basin = estimate_basin(radial)
    found, segments, along = [], [], {}
    for method, bits, away, u in points:
        name = f"{method}-int{bits}-exact"
        totals = sums(u(ALPHAS * away), rng, noise, tilt)
        nll = totals[-1].sum() / TOKENS.sum()
        rise = paired_difference(totals[-1], center, TOKENS)
        place = location(away, basin)
        found.append(
            PointResult(name, method, bits, "exact", away, ratio(away, basin.radius), {"validation": nll},
                        {"validation": rise}, place, "lost")
        )  # fmt: skip
        segments.append(
            SegmentResult("w", name, bits, "validation", ALPHAS, ALPHAS * away, totals.sum(1) / TOKENS.sum(),
                          connectivity(ALPHAS, totals, TOKENS))
        )  # fmt: skip
        along[name] = RadialProbes(ALPHAS[1:] * away, totals[None, 1:], TOKENS, center, CHANCE, fixed=True)
    radii = {"validation": other_radii(radial, 4.0)}
    landscape = SurveyResult(
        SubjectInfo("m", "f", "float32", 10, Coverage(10, 10, ()), 5.0, CHANCE, "d", 101, {"validation": WINDOWS}),
        {"validation": BASE},
        {"validation": basin}, radii, "validation", (), tuple(found), tuple(segments), ProbeCount(0, 0, 0), 0.0, "", {},
    )  # fmt: skip
    at_end = {name: probes.totals[0, -1] for name, probes in along.items()}
    return Observed(landscape, radial, along, {**at_end, **(test or {})}, TOKENS)


def verdicts(found):
    return {claim.case: claim.verdict for claim in found}


# ---- the verdict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "inside", "outside"),
    [(1.2, 1.8, "holds", "fails"), (0.5, 1.5, "open", "open"), (1.5, 2.5, "open", "open"), (0, 0.9, "fails", "holds"),
     (2.1, math.inf, "fails", "holds"), (0.0, math.inf, "open", "open"), (2.0, 2.0, "holds", "fails"),
     (1.0, 1.0, "fails", "holds")],
)  # fmt: skip
def test_an_interval_that_straddles_an_end_leaves_a_claim_open(low, high, inside, outside):
    estimate = Estimate((low + high) / 2, low, high)
    assert Threshold(1, 2).verdict(estimate) == inside
    assert Threshold(1, 2, inside=False).verdict(estimate) == outside


def test_no_number_is_no_verdict():
    assert Threshold(1, 2).verdict(None) == "open"


def test_one_failed_case_fails_a_claim_and_what_stands_aside_does_not():
    def case(verdict, aside=False):
        return Claim(1, "", "", "", "", None, "", verdict, aside=aside)

    assert overall([case("holds"), case("fails"), case("open")]) == "fails"
    assert overall([case("holds"), case("open")]) == "open"
    assert overall([case("holds"), case("fails", aside=True)]) == "holds"
    assert overall([]) == "open"


# ---- 1: alike ---------------------------------------------------------------------------------------------------


def stretched(factor):
    return lambda x: well(np.asarray(x) / factor)


def test_the_spread_of_directions_is_the_one_planted():
    factors = np.array([0.98, 0.99, 1.0, 1.0, 1.01, 1.02])
    for claim in alike(observed([stretched(f) for f in factors])):
        assert claim.estimate.value == pytest.approx(factors.std(ddof=1), rel=0.03)
        assert claim.verdict == "holds"


def test_directions_that_differ_fail_and_few_of_them_leave_it_open():
    wide = np.linspace(0.6, 1.4, 12)
    assert set(verdicts(alike(observed([stretched(f) for f in wide]))).values()) == {"fails"}
    few = [0.93, 1.0, 1.07]  # 7 %, up to 44 % with two degrees of freedom
    assert set(verdicts(alike(observed([stretched(f) for f in few]))).values()) == {"open"}


# ---- 2: quadratic near w, and not beyond --------------------------------------------------------------------------


def test_a_gaussian_well_is_quadratic_near_w_and_not_beyond():
    near, beyond, plateau = quadratic(observed())
    assert near.estimate.value == pytest.approx(math.log(well(GRID[1]) / well(GRID[0]), 2))
    assert beyond.estimate.value == pytest.approx((1 - 2**-2.25) / (2.25 * math.log(2)), rel=0.01)
    assert plateau.estimate.value == pytest.approx(math.log(well(3) / well(2)) / math.log(1.5))
    assert [near.verdict, beyond.verdict, plateau.verdict] == ["holds"] * 3


def test_a_parabola_to_the_end_fails_beyond():
    near, beyond, plateau = quadratic(observed([lambda x: 0.5 * np.asarray(x) ** 2] * 4))
    assert near.estimate.value == pytest.approx(2)
    assert beyond.estimate.value == pytest.approx(1)
    assert plateau.estimate.value == pytest.approx(2)
    assert [near.verdict, beyond.verdict, plateau.verdict] == ["holds", "fails", "fails"]


def test_a_cone_fails_near_w():
    near, _, _ = quadratic(observed([lambda x: 0.5 * np.asarray(x)] * 4))
    assert near.estimate.value == pytest.approx(1)
    assert near.verdict == "fails"


def test_noise_widens_the_interval_of_the_exponent_about_the_truth():
    """Over 200 landscapes the interval holds the exponent of the noiseless one about as often as it says."""
    truth = next(iter(quadratic(observed()))).estimate.value
    found = [next(iter(quadratic(observed(noise=0.01, seed=seed)))).estimate for seed in range(200)]
    assert 180 <= sum(e.low <= truth <= e.high for e in found) <= 200
    assert min(e.high - e.low for e in found) > 0.02


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
        rtn_at(b8=0.1), rounded=(Rounded(6, "exact", 0.3), Rounded(3, "exact", 1.0), Rounded(5, "exact", 1.0))
    )
    found = list(located(both))
    assert verdicts(found) == {"int8-exact": "holds", "int6-exact": "holds", "int3-exact": "fails"}
    assert [claim.estimate.value for claim in found] == pytest.approx([0.1, 0.3, 1.0], rel=1e-3)
    assert [claim.note for claim in found] == ["inside", "inside", "border"]


# ---- 4: the way to GPTQ -------------------------------------------------------------------------------------------


def test_a_shallow_way_to_gptq():
    """Positions 0.26, 0.52, 0.78, 1.04 of 1.3 R: three of them within R, none of them on the grid."""
    way, end, _ = less_steep(observed(points=[("rtn", 4, 1.0, well), ("gptq", 4, 1.3, stretched(2.0))]))
    at = ALPHAS[1:4] * 1.3
    assert way.estimate.value == pytest.approx(4 * (well(at) - well(at / 2)).mean(), rel=2e-3)
    assert end.estimate.value == pytest.approx(4 * (well(1.3) - well(0.65)), rel=2e-3)
    assert (way.verdict, end.verdict, way.aside, end.aside) == ("holds", "holds", False, True)
    assert "steeper than GPTQ's: 4 of 4 directions; 3 positions" in way.note


def test_a_steep_way_to_gptq_fails():
    way, end, _ = less_steep(observed(points=[("rtn", 4, 0.6, well), ("gptq", 4, 0.7, stretched(0.5))]))
    assert (way.verdict, end.verdict) == ("fails", "fails")
    assert "steeper than GPTQ's: 0 of 4 directions" in way.note


def test_directions_on_both_sides_of_gptq_leave_it_open():
    way, *_ = less_steep(observed([stretched(f) for f in (0.8, 0.9, 1.1, 1.2)], [("gptq", 4, 0.9, well)]))
    assert way.verdict == "open"


def test_what_windows_share_cancels():
    """Levels of ±0.5 nats and slopes of ±1 % are common to all: the interval is of the 1 % of the difference."""
    way, *_ = less_steep(observed(points=[("gptq", 4, 0.9, stretched(1.5))]))
    assert 0 < way.estimate.high - way.estimate.low < 0.02 * way.estimate.value


def test_a_point_whose_first_step_is_beyond_the_basin_tells_nothing():
    way, *_ = less_steep(observed(points=[("gptq", 2, 5.2, well)]))
    assert (way.estimate, way.verdict) == (None, "open")


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


def test_it_is_open_at_r_itself_and_where_noise_could_hide_a_ridge():
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
    by_number = {n: overall([claim for claim in found if claim.number == n]) for n in range(1, 7)}
    assert by_number == dict.fromkeys(range(1, 7), "holds")
    assert len({(claim.number, claim.case) for claim in found}) == len(found)
    assert all("§4.3" in claim.source for claim in found)
