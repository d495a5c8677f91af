"""Changes of the perplexity as text, with the ends of their intervals."""

from __future__ import annotations

import math

import pytest

from landscape.estimators.intervals import Estimate
from landscape.report.perplexity_change import change_with_ends


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((math.log(1.14), math.log(1.05), math.log(1.25)), "+14 % (5.0 … 25)"),
        ((math.log(1.031), math.log(0.996), math.log(1.06)), "+3.1 % (−0.4 … 6.0)"),
        ((0.0, -0.001, 0.001), "±0 % (−0.1 … 0.1)"),
        ((math.log(27), math.log(19), math.log(38)), "×27 (19 … 38)"),
        ((math.log(5), math.log(2), 800.0), "+400 % (100 … over 100,000)"),
        ((900.0, 2.0, 1000.0), "over ×1,000 (7.4 … over 1,000)"),
        ((12.0, 11.0, 13.0), "over ×1,000"),
        ((0.05, -math.inf, math.inf), "+5.1 % (not bounded)"),
        ((math.inf, -math.inf, math.inf), "overflowed"),
    ],
)
def test_a_change_stands_with_its_ends(ends: tuple[float, float, float], text: str) -> None:
    assert change_with_ends(Estimate(*ends)) == text
