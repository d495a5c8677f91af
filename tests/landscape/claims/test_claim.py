"""Test the verdicts on intervals."""

import math

import pytest

from landscape.claims.claim import Threshold
from landscape.estimators.intervals import Estimate


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
