"""The formulas for GPTQ and QAFT: medians, intervals that compose, and what cannot be foretold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.advice.foretell import FORMULAS, added, at_most
from landscape.estimators.intervals import Estimate

EXACT = Estimate(0.5, 0.5, 0.5)


def test_the_median_is_the_formula() -> None:
    assert FORMULAS.gptq(EXACT, 0.9).value == pytest.approx(0.73 * 0.5)
    assert FORMULAS.qaft(EXACT, 0.2, 0.9).value == pytest.approx(0.92 * 0.5**0.64 * 0.2**0.475)


@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.95])
def test_an_end_holds_with_the_confidence_where_the_logarithm_is_off_as_said(confidence: float) -> None:
    """By drawing shares whose logarithm is normal, with RTN's loss known exactly."""
    rng = np.random.default_rng(1)
    drawn = FORMULAS.gptq_share * 0.5 * np.exp(FORMULAS.gptq_error * rng.standard_normal(20_000))
    found = FORMULAS.gptq(EXACT, confidence)
    assert np.mean(drawn <= found.high) == pytest.approx(confidence, abs=0.01)
    assert np.mean(drawn >= found.low) == pytest.approx(confidence, abs=0.01)


def test_errors_of_rtn_and_of_the_formula_add_as_independent_ones() -> None:
    """By drawing both, RTN's logarithm normal with the ends of its interval as quantiles."""
    rng = np.random.default_rng(2)
    spread = 0.25
    quantile = 1.2815515655446004  # of 0.9
    rtn = Estimate(0.5, 0.5 * math.exp(-quantile * spread), 0.5 * math.exp(quantile * spread))
    losses = 0.5 * np.exp(spread * rng.standard_normal(40_000))
    drawn = 0.92 * losses**0.64 * 0.3**0.475 * np.exp(FORMULAS.qaft_error * rng.standard_normal(40_000))
    found = FORMULAS.qaft(rtn, 0.3, 0.9)
    assert np.quantile(drawn, 0.9) == pytest.approx(found.high, rel=0.02)
    assert np.quantile(drawn, 0.1) == pytest.approx(found.low, rel=0.02)


@given(st.floats(-1, 15), st.floats(0, 2), st.floats(0, 2), st.floats(0.01, 2), st.floats(0.55, 0.99))
def test_intervals_hold_their_value(value: float, below: float, above: float, distance: float, level: float) -> None:
    rtn = Estimate(value, value - below, value + above)
    for found in (FORMULAS.gptq(rtn, level), FORMULAS.qaft(rtn, distance, level)):
        assert found.low <= found.value <= found.high


def test_where_rounding_costs_nothing_the_others_cost_the_same() -> None:
    nothing = Estimate(-0.001, -0.004, 0.002)
    assert FORMULAS.gptq(nothing, 0.9) == FORMULAS.qaft(nothing, 0.1, 0.9) == nothing


def test_an_overflow_foretells_nothing() -> None:
    lost = Estimate(math.inf, -math.inf, math.inf)
    assert FORMULAS.gptq(lost, 0.9) == lost


def test_what_plain_training_gains_is_added_to_the_net_loss() -> None:
    raw = added(Estimate(0.2, 0.1, 0.4), Estimate(-0.1, -0.12, -0.08))
    assert [raw.value, raw.low, raw.high] == pytest.approx([0.1, -0.02, 0.32])


def test_a_way_that_would_end_above_rtn_is_not_shipped() -> None:
    rtn = Estimate(0.3, 0.25, 0.35)
    assert at_most(Estimate(0.5, 0.4, 0.6), rtn) == rtn
    assert at_most(Estimate(0.2, 0.1, 0.6), rtn) == Estimate(0.2, 0.1, 0.35)
