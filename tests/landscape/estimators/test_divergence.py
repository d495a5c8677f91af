"""Shares of tokens have Wilson's interval; means of what is never negative stay above 0."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from landscape.estimators.divergence import mean_per_token, share_of_tokens

TOKENS = np.full(8, 64)


def wilson(count: int, n: int) -> tuple[float, float]:
    found = binomtest(count, n).proportion_ci(0.95, method="wilson")
    return found.low, found.high


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_all_windows_agree_the_interval_is_that_of_independent_tokens(share: float) -> None:
    found = share_of_tokens(share * TOKENS, TOKENS)
    assert found.value == share
    assert (found.low, found.high) == pytest.approx(wilson(int(share * 512), 512), abs=1e-12)
    assert found.high > found.low


def test_windows_that_differ_less_than_independent_tokens_do_not_narrow_it() -> None:
    counts = np.array([57, 58, 57, 58, 57, 58, 57, 58], float)
    found = share_of_tokens(counts, TOKENS)
    assert (found.low, found.high) == pytest.approx(wilson(460, 512), abs=1e-12)


def test_windows_that_differ_more_widen_it_by_the_design_effect() -> None:
    """At a share of one half the interval is nearly that of the mean over windows, by Student's t."""
    counts = np.array([10, 54, 12, 50, 20, 44, 15, 51], float)
    found, plain = share_of_tokens(counts, TOKENS), mean_per_token(counts, TOKENS, most=1.0)
    assert found.value == plain.value == pytest.approx(0.5)
    ratio = (plain.high - plain.value) ** 2 / 0.25  # z² effect / n
    assert found.high - found.value == pytest.approx(math.sqrt(ratio * (0.25 + ratio / 4)) / (1 + ratio), rel=1e-9)
    assert found.low < wilson(256, 512)[0]


def test_it_covers_a_share_near_1_as_often_as_it_says() -> None:
    """Windows whose shares vary around 0.98: 95 % of the intervals hold it, in 400 samples of a fixed seed."""
    draw = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        counts = draw.binomial(64, draw.beta(49, 1, size=8)).astype(float)
        found = share_of_tokens(counts, TOKENS)
        hits += found.low <= 0.98 <= found.high
    assert hits >= 0.90 * 400  # 95 % less four standard errors of such a count


def test_one_window_bounds_nothing() -> None:
    found = share_of_tokens(np.array([60.0]), np.array([64]))
    assert (found.value, found.low, found.high) == (60 / 64, 0.0, 1.0)


def test_a_mean_below_0_by_rounding_is_0() -> None:
    found = mean_per_token(np.array([-1e-9, -2e-9, 1e-10]), np.array([8, 8, 8]))
    assert (found.value, found.low) == (0.0, 0.0)
