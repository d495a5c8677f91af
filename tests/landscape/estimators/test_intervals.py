import math

import numpy as np
import pytest
from scipy import stats

from landscape.estimators.intervals import Estimate, crossed_error, paired_difference
from quant.errors import UsageError

# --- means over directions and windows --------------------------------------------------------------------------------


def test_the_crossed_variance_is_unbiased():
    """E V = σ²_d/n_d + σ²_w/n_w + σ²_ε/(n_d n_w), the variance of the grand mean."""
    rng, (n_d, n_w), (d, w, e) = np.random.default_rng(5), (5, 7), (1.0, 1.5, 1.0)
    tables = (
        d * rng.standard_normal((4000, n_d, 1))
        + w * rng.standard_normal((4000, 1, n_w))
        + e * rng.standard_normal((4000, n_d, n_w))
    )
    mean_variance = np.mean([crossed_error(table).value ** 2 for table in tables])
    assert mean_variance == pytest.approx(d**2 / n_d + w**2 / n_w + e**2 / (n_d * n_w), rel=0.03)


def test_degrees_of_freedom_when_one_factor_is_all_the_noise():
    """Then the table has as many independent values as the factor has levels, and the interval is theirs."""
    values = np.array([0.3, -1.0, 0.4, 2.0])
    for table in (np.tile(values, (6, 1)), np.tile(values[:, None], (1, 6))):
        error = crossed_error(table)
        assert (error.value, error.df) == pytest.approx((values.std(ddof=1) / 2, 3.0))


def test_with_given_directions_windows_alone_are_uncertain() -> None:
    rng = np.random.default_rng(5)
    cells = rng.normal(size=(3, 7)) + rng.normal(size=(3, 1)) * 10
    error = crossed_error(cells, fixed=True)
    assert error.value == pytest.approx(cells.mean(0).std(ddof=1) / math.sqrt(7))
    assert error.df == pytest.approx(6)
    one = crossed_error(cells[:1], fixed=True)
    assert one.value == pytest.approx(cells[0].std(ddof=1) / math.sqrt(7))
    assert crossed_error(cells).value > 3 * error.value
    assert math.isinf(crossed_error(cells[:1]).value)


# --- windows that are not independent ---------------------------------------------------------------------------------


def test_equal_blocks_are_the_crossed_design_of_their_means():
    rng = np.random.default_rng(9)
    cells, labels = rng.standard_normal((5, 12)), np.array(list("bacd" * 3))
    means = np.stack([cells[:, labels == label].mean(1) for label in "abcd"], axis=1)
    got, expected = crossed_error(cells, blocks=labels), crossed_error(means)
    assert (got.value, got.df) == pytest.approx((expected.value, expected.df))


def test_windows_all_their_own_blocks_are_windows():
    rng = np.random.default_rng(10)
    cells, tokens = rng.standard_normal((5, 12)), rng.integers(20, 60, 12)
    got, expected = crossed_error(cells, tokens, rng.permutation(12)), crossed_error(cells, tokens)
    assert got == expected  # to the bit
    totals, center = rng.normal(160, 20, 12), rng.normal(150, 20, 12)
    assert paired_difference(totals, center, tokens, blocks=rng.permutation(12)) == paired_difference(
        totals, center, tokens
    )


def test_a_block_of_equal_windows_counts_once():
    """Windows that repeat one another say no more than one of them."""
    rng = np.random.default_rng(12)
    center, totals = rng.normal(150, 20, 6), rng.normal(160, 20, 6)
    once = paired_difference(totals, center, np.full(6, 50))
    thrice = paired_difference(
        np.repeat(totals, 3), np.repeat(center, 3), np.full(18, 50), blocks=np.repeat(np.arange(6), 3)
    )
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))


def test_the_variance_with_unequal_columns_is_unbiased():
    """Directions and tokens are the noise: E V = σ²_d/n_d + σ²_ε/(n_d·tokens) + σ²_w/tokens, whatever the sizes."""
    rng, n_d, (d, w, e) = np.random.default_rng(6), 5, (0.5, 1.5, 1.0)
    tokens, blocks = np.array([1, 2, 4, 8, 3, 6, 20]), np.array([0, 0, 1, 1, 2, 3, 4])
    spread = np.sqrt(tokens)
    tables = (
        d * rng.standard_normal((3000, n_d, 1)) * tokens
        + w * rng.standard_normal((3000, 1, 7)) * spread
        + e * rng.standard_normal((3000, n_d, 7)) * spread
    ) / tokens.mean()
    variance = np.mean([crossed_error(table, tokens, blocks).value ** 2 for table in tables])
    total = tokens.sum()
    assert variance == pytest.approx(d**2 / n_d + w**2 / total + e**2 / (n_d * total), rel=0.05)


# --- the difference of two losses on the same windows -----------------------------------------------------------------


def test_paired_difference_of_equal_windows_is_the_paired_t_test():
    rng = np.random.default_rng(1)
    center, shift = rng.normal(150, 30, 12), rng.normal(5, 2, 12)
    got = paired_difference(center + shift, center, np.full(12, 50))
    reference = stats.ttest_1samp(shift / 50, 0).confidence_interval(0.95)
    assert (got.value, got.low, got.high) == pytest.approx((np.mean(shift) / 50, reference.low, reference.high))


def test_paired_difference_of_ragged_windows_is_weighted_by_tokens():
    """The value is a ratio of sums; its error is that of a ratio estimator (Bell and McCaffrey 2002), and covers."""
    rng, covered, repetitions = np.random.default_rng(4), 0, 500
    for _ in range(repetitions):
        tokens = rng.integers(20, 200, 24)
        rise = 0.3 + 0.1 * rng.standard_normal(24)  # per token, independent of the length
        center = tokens * 3.0
        got = paired_difference(center + tokens * rise, center, tokens)
        assert got.value == pytest.approx(np.average(rise, weights=tokens))
        covered += got.low <= 0.3 <= got.high
    # The linearisation is good to a per cent or two at 24 windows as ragged as these.
    assert 0.91 <= covered / repetitions <= 0.98
    # CR2 and its degrees of freedom in matrices: residuals of a token-weighted mean of values with variances 1/tokens.
    remove = np.diag(np.ones(24)) - np.outer(tokens, np.ones(24)) / tokens.sum()
    covariance = remove @ np.diag(tokens) @ remove.T
    form = np.diag(tokens / np.diag(covariance)) @ covariance
    residuals = tokens * (rise - got.value)
    se = math.sqrt((residuals**2 * tokens / np.diag(covariance)).sum()) / tokens.sum()
    df = np.trace(form) ** 2 / np.trace(form @ form)
    assert df < 22
    assert got.high - got.value == pytest.approx(stats.t.ppf(0.975, df) * se)


def test_paired_difference_at_its_limits():
    one = paired_difference(np.array([160.0]), np.array([150.0]), np.array([50]))
    assert one == Estimate(0.2, -math.inf, math.inf)
    ruined = paired_difference(np.array([160.0, math.nan]), np.array([150.0, 150.0]), np.array([50, 50]))
    assert ruined == Estimate(math.inf, -math.inf, math.inf)
    with pytest.raises(UsageError, match="same windows"):
        paired_difference(np.zeros(3), np.zeros(2), np.ones(3))
    with pytest.raises(UsageError, match="finite losses at w"):
        paired_difference(np.zeros(2), np.array([1.0, math.nan]), np.ones(2))
