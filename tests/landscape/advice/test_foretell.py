"""The laws for GPTQ and QAFT: medians, intervals that compose, and what cannot be foretold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.advice.foretell import FORMULAS, PowerLaw, added, at_most
from landscape.estimators.intervals import Estimate

EXACT = Estimate(0.5, 0.5, 0.5)
LAW = PowerLaw(0.92, 0.64, error=0.3, least=0.4)
LAWS = (LAW, FORMULAS.gptq, FORMULAS.qaft)


def test_the_median_is_the_law() -> None:
    assert LAW.foretell(EXACT, 0.9).value == pytest.approx(0.92 * 0.5**0.64)


@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.95])
def test_an_end_holds_with_the_confidence_where_the_logarithm_is_off_as_said(confidence: float) -> None:
    """By drawing losses whose logarithm is normal, with RTN's loss known exactly."""
    rng = np.random.default_rng(1)
    drawn = 0.92 * 0.5**0.64 * np.exp(0.3 * rng.standard_normal(20_000))
    found = LAW.foretell(EXACT, confidence)
    assert np.mean(drawn <= found.high) == pytest.approx(confidence, abs=0.01)
    assert np.mean(drawn >= found.low) == pytest.approx(confidence, abs=0.01)


def test_errors_of_rtn_and_of_the_law_add_as_independent_ones() -> None:
    """By drawing both, RTN's logarithm normal with the ends of its interval as quantiles."""
    rng = np.random.default_rng(2)
    spread = 0.25
    quantile = 1.2815515655446004  # of 0.9
    rtn = Estimate(0.5, 0.5 * math.exp(-quantile * spread), 0.5 * math.exp(quantile * spread))
    losses = 0.5 * np.exp(spread * rng.standard_normal(40_000))
    drawn = 0.92 * losses**0.64 * np.exp(0.3 * rng.standard_normal(40_000))
    found = LAW.foretell(rtn, 0.9)
    assert np.quantile(drawn, 0.9) == pytest.approx(found.high, rel=0.02)
    assert np.quantile(drawn, 0.1) == pytest.approx(found.low, rel=0.02)


def test_each_end_follows_that_of_rtn() -> None:
    near, far = (LAW.foretell(Estimate(0.5, 0.45, high), 0.9) for high in (0.55, 0.9))
    assert (near.value, near.low) == (far.value, far.low)
    assert far.high > near.high


@given(st.floats(-1, 15), st.floats(0, 2), st.floats(0, 2), st.floats(0.55, 0.99))
def test_intervals_hold_their_value(value: float, below: float, above: float, level: float) -> None:
    rtn = Estimate(value, value - below, value + above)
    for law in LAWS:
        found = law.foretell(rtn, level)
        assert found.low <= found.value <= found.high


def test_where_rounding_costs_nothing_the_others_cost_the_same() -> None:
    nothing = Estimate(-0.001, -0.004, 0.002)
    assert all(law.foretell(nothing, 0.9) == nothing for law in LAWS)


def test_beyond_the_fitted_losses_there_is_no_upper_end() -> None:
    law = PowerLaw(0.3, 0.8, error=0.2, least=0.7, most=0.9)
    inside, beyond = (law.foretell(Estimate(rise, rise, rise), 0.9) for rise in (0.9, 9.0))
    assert inside.high < 0.4
    assert (beyond.value, beyond.low, beyond.high) == (pytest.approx(0.3 * 9**0.8), inside.low, math.inf)
    assert at_most(beyond, Estimate(9.0, 8.0, 10.0)).high == 10.0


def test_an_interval_of_rtn_that_reaches_beyond_the_fitted_losses_has_no_upper_end() -> None:
    law = PowerLaw(0.3, 0.8, error=0.2, least=0.7, most=0.9)
    assert math.isfinite(law.foretell(Estimate(0.85, 0.8, 0.9), 0.9).high)
    assert law.foretell(Estimate(0.85, 0.8, 0.91), 0.9).high == math.inf


def test_an_overflow_foretells_nothing() -> None:
    lost = Estimate(math.inf, -math.inf, math.inf)
    assert LAW.foretell(lost, 0.9) == lost


@given(st.floats(0.001, 2.0))
def test_a_limit_is_hopeless_where_the_best_cell_would_end_at_it(limit: float) -> None:
    rise = LAW.hopeless(limit)
    best = LAW.least * LAW.foretell(Estimate(rise, rise, rise), 0.9).value
    assert best == pytest.approx(limit) or (rise == limit and best > limit)


def test_rounding_within_the_limit_is_never_hopeless() -> None:
    """Where a law says that a way ends above RTN, which it starts from."""
    assert PowerLaw(2.0, 1.0, error=0.1, least=0.9).hopeless(0.1) == 0.1


def test_what_plain_training_gains_is_added_to_the_net_loss() -> None:
    raw = added(Estimate(0.2, 0.1, 0.4), Estimate(-0.1, -0.12, -0.08))
    assert [raw.value, raw.low, raw.high] == pytest.approx([0.1, -0.02, 0.32])


def test_a_way_that_would_end_above_rtn_is_not_shipped() -> None:
    rtn = Estimate(0.3, 0.25, 0.35)
    assert at_most(Estimate(0.5, 0.4, 0.6), rtn) == rtn
    assert at_most(Estimate(0.2, 0.1, 0.6), rtn) == Estimate(0.2, 0.1, 0.35)
