"""Test claims 1, 2 and 4 on landscapes where each holds, or fails, by a known number."""

import math

import numpy as np
import pytest

from landscape.claims.radial_claims import alike, less_steep, quadratic
from tests.landscape.claims.pictures import ALPHAS, GRID, observed, stretched, verdicts, well

# ---- 1: alike ---------------------------------------------------------------------------------------------------


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


def test_effects_that_windows_share_cancel():
    """Levels of ±0.5 nats and slopes of ±1 % are common to all: the interval is of the 1 % of the difference."""
    way, *_ = less_steep(observed(points=[("gptq", 4, 0.9, stretched(1.5))]))
    assert 0 < way.estimate.high - way.estimate.low < 0.02 * way.estimate.value


def test_a_point_whose_first_step_is_beyond_the_basin_leaves_it_open():
    way, *_ = less_steep(observed(points=[("gptq", 2, 5.2, well)]))
    assert (way.estimate, way.verdict) == (None, "open")
