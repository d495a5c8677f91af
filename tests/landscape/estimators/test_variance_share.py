"""η² against scipy's analysis of variance, its p against the F distribution."""

from __future__ import annotations

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
