"""Spearman's correlation against scipy's, its p against all orders counted by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from landscape.estimators.rank_correlation import matched_rank_correlation, rank_correlation

X, Y = [1.0, 2.5, 2.5, 4.0, 7.0], [0.3, 0.1, 0.5, 2.0, 1.5]


def test_the_value_is_scipys_with_ties_and_without() -> None:
    rng = np.random.default_rng(0)
    for x, y in ((X, Y), (rng.normal(size=30).tolist(), rng.normal(size=30).tolist())):
        found = rank_correlation(x, y)
        assert found is not None
        assert found.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert found.pairs == len(x)


def test_p_counts_all_orders_of_a_few_pairs() -> None:
    found = rank_correlation(X, Y)
    assert found is not None
    values = np.array([stats.spearmanr(order, Y).statistic for order in permutations(X)])
    observed = stats.spearmanr(X, Y).statistic
    # Both tails, the smaller one doubled, as scipy's permutation test does.
    tails = min((values >= observed - 1e-9).mean(), (values <= observed + 1e-9).mean())
    assert found.p == pytest.approx(min(1.0, 2 * tails), abs=1e-12)


def test_p_of_many_pairs_is_near_that_of_the_t_distribution_and_the_same_again() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=40)
    y = 0.4 * x + rng.normal(size=40)
    found = rank_correlation(x.tolist(), y.tolist())
    assert found is not None
    expected = stats.spearmanr(x, y).pvalue
    assert abs(found.p - expected) < 4 * np.sqrt(2 * expected / 9999) + 0.003  # its sampling noise, and that of t
    assert found == rank_correlation(x.tolist(), y.tolist())


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), ([1.0] * 5, Y), (X, [2.0] * 5), ([], [])])
def test_too_few_pairs_or_no_order_has_no_correlation(x: list[float], y: list[float]) -> None:
    assert rank_correlation(x, y) is None


def test_with_one_condition_whole_units_are_pairs() -> None:
    found = matched_rank_correlation([[each] for each in X], [[each] for each in Y])
    assert found is not None
    expected = rank_correlation(X, Y)
    assert expected is not None
    assert (found.value, found.p) == pytest.approx((expected.value, expected.p), abs=1e-12)


def test_p_of_whole_units_counts_all_orders_of_them() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    found = matched_rank_correlation(x, y)
    assert found is not None

    def mean_of_conditions(order: tuple[int, ...]) -> float:  # without ties the scales of the conditions are alike
        return float(np.mean([stats.spearmanr(x[list(order), j], y[:, j]).statistic for j in range(3)]))

    values = np.array([mean_of_conditions(order) for order in permutations(range(5))])
    observed = values[0]
    assert found.value == pytest.approx(observed, abs=1e-12)
    tails = min((values >= observed - 1e-9).mean(), (values <= observed + 1e-9).mean())
    assert found.p == pytest.approx(min(1.0, 2 * tails), abs=1e-12)


def test_a_condition_that_raises_both_is_no_correlation() -> None:
    """Values that only the condition orders: Spearman's r_s over all pairs is near 1, that of the units is not."""
    rng = np.random.default_rng(3)
    base = np.arange(5.0) * 10
    x, y = base + rng.normal(size=(6, 5)), base + rng.normal(size=(6, 5))
    assert stats.spearmanr(x.ravel(), y.ravel()).statistic > 0.95
    found = matched_rank_correlation(x, y)
    assert found is not None
    assert found.p > 0.05


def test_few_units_or_no_order_of_them_have_no_correlation() -> None:
    rows = np.arange(6.0).reshape(3, 2)
    assert matched_rank_correlation(rows, rows) is None
    assert matched_rank_correlation(np.tile([1.0, 2.0], (5, 1)), np.arange(10.0).reshape(5, 2)) is None
