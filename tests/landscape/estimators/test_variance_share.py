"""η² against scipy's analysis of variance, its p against the F distribution."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from landscape.estimators.variance_share import variance_share

GROUPS = ["a", "b", "c"] * 10


def test_the_share_is_that_of_scipys_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=30) + np.tile([0.0, 0.5, 1.0], 10)
    found = variance_share(y.tolist(), GROUPS)
    assert found is not None
    f = stats.f_oneway(*(y[np.array(GROUPS) == g] for g in "abc"))
    ratio = f.statistic * 2 / 27  # F = (η²/2)/((1 − η²)/27)
    assert found.value == pytest.approx(ratio / (1 + ratio), abs=1e-12)
    assert found.groups == 3
    assert abs(found.p - f.pvalue) < 4 * np.sqrt(f.pvalue / 9999) + 2e-3  # sampling noise of 9,999 permutations


def test_groups_that_explain_all_have_the_least_p_there_is() -> None:
    found = variance_share([1.0, 2.0, 3.0] * 10, GROUPS)
    assert found is not None
    assert found.value == pytest.approx(1.0)
    assert found.p == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("values", "groups"),
    [([1.0] * 4, "abab"), ([1.0, 2.0, 3.0, 4.0], "aaaa"), ([1.0, 2.0, 3.0, 4.0], "abcd"), ([], "")],
)
def test_nothing_to_explain_or_to_explain_with_has_no_share(values: list[float], groups: str) -> None:
    assert variance_share(values, groups) is None


def unlike_units(seed: int) -> tuple[list[float], list[str], list[int]]:
    """Six units with a level of their own, dealt to two groups by chance, five values each."""
    rng = np.random.default_rng(seed)
    levels, groups = rng.normal(size=6), rng.permutation(list("aaabbb"))
    values = [float(level + 0.1 * rng.normal()) for level in levels for _ in range(5)]
    return values, [str(g) for g in groups for _ in range(5)], [unit for unit in range(6) for _ in range(5)]


def test_whole_units_are_dealt_to_groups_as_all_deals_counted_by_hand() -> None:
    values, groups, units = unlike_units(5)
    found = variance_share(values, groups, units)
    assert found is not None
    means = np.reshape(values, (6, 5)).mean(1)

    def spread(group: tuple[int, ...]) -> float:
        return abs(means[list(group)].mean() - np.delete(means, group).mean())

    own = tuple(unit for unit in range(6) if groups[5 * unit] == "a")
    exact = np.mean([spread(group) >= spread(own) - 1e-12 for group in combinations(range(6), 3)])
    assert abs(found.p - exact) < 4 * np.sqrt(exact / 9999) + 2e-4
    alone = variance_share(values, groups)
    assert alone is not None
    assert found.value == pytest.approx(alone.value, abs=1e-12)  # η² itself is that of all values


def test_units_that_differ_by_chance_alone_are_no_pattern() -> None:
    """As independent values, thirty of six units make a pattern of pure chance in most draws."""
    draws = [unlike_units(seed) for seed in range(12)]
    as_units = [variance_share(*draw) for draw in draws]
    as_values = [variance_share(*draw[:2]) for draw in draws]
    assert sum(each is not None and each.p < 0.05 for each in as_values) > 6
    assert sum(each is not None and each.p < 0.05 for each in as_units) == 0  # of 20 deals the least p is 0.1


def test_values_are_dealt_within_units_that_lie_across_the_groups() -> None:
    """Friedman's setting: every unit has each condition once, and its own level drowns the condition."""
    rng = np.random.default_rng(7)
    levels = 10 * rng.normal(size=4)
    values = [float(level + condition) for level in levels for condition in range(3)]
    groups, units = list("abc") * 4, [unit for unit in range(4) for _ in range(3)]
    found, alone = variance_share(values, groups, units), variance_share(values, groups)
    assert found is not None
    assert alone is not None
    expected = 6 * 6.0**-4  # only the 3! deals that treat all units alike keep the means of the groups as far apart
    assert abs(found.p - expected) < 4 * np.sqrt(expected / 9999) + 2e-4
    assert alone.p > 0.5
