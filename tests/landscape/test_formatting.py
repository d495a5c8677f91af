from __future__ import annotations

import pytest

from landscape.estimators.intervals import Estimate
from landscape.formatting import interval, number, why_unbounded, windows_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(71.24, "71.2"), (0.0284, "0.0284"), (1992.6, "1,993"), (0.0, "0"), (-3.456, "−3.46"), (2.5e-7, "2.50e−07"),
     (float("inf"), "∞"), (float("nan"), "not a number"), (9.999, "10.0")],
)  # fmt: skip
def test_numbers_are_written_out(value: float, text: str) -> None:
    assert number(value, 3) == text


def test_half_an_interval_keeps_its_known_end() -> None:
    assert interval(Estimate(2.0, 1.5, float("inf")), "2.00", "unbounded") == "2.00 [1.50, ∞]"
    assert interval(Estimate(2.0, 0.0, float("inf")), "2.00", "unbounded") == "2.00 (unbounded)"


@pytest.mark.parametrize(
    ("windows", "articles", "text"),
    [
        (8, 7, "8 windows in 7 articles"),
        (8, 1, "8 windows in 1 article"),
        (1, 1, "1 window in 1 article"),
        (8, None, "8 windows, each treated as independent"),
        (1, None, "1 window"),
    ],
)
def test_windows_are_told_with_their_articles(windows: int, articles: int | None, text: str) -> None:
    assert windows_text(windows, articles) == text


def test_one_article_is_named_where_it_bounds_nothing() -> None:
    assert "one article: use more of the text" in why_unbounded(8, 8, 1)
    assert [why_unbounded(8, 1, 1), why_unbounded(8, 8, 2)] == ["not bounded by one window", "not bounded by the data"]
