"""Ticks of logarithmic axes: their places against a brute force, their texts against Python's own reading of them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.report.ticks import log_ticks

RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def read(text: str) -> float:
    """Value of the text of a tick."""
    factor, _, power = text.rpartition("·")
    if power.startswith("10") and len(power) > 2 and power[2] in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹":
        return float(factor or 1) * 10.0 ** int(power[2:].translate(RAISED))
    return float(text)


@given(st.floats(-9, 9), st.floats(0.02, 15))
def test_texts_are_the_full_numbers_and_do_not_collide(start: float, span: float) -> None:
    low, high = 10**start, 10 ** (start + span)
    ticks = log_ticks(low, high)
    values = [value for value, _ in ticks]
    assert 2 <= len(values) <= 8
    assert values == sorted(set(values))
    assert all(low * (1 - 1e-6) <= value <= high * (1 + 1e-6) for value in values)
    assert [read(text) for _, text in ticks] == pytest.approx(values, rel=1e-3)


@given(st.integers(-6, 6), st.floats(0.8, 1.9))
def test_one_two_and_five_are_there_where_there_is_room(start: int, span: float) -> None:
    low, high = 10.0**start * 0.9, 10.0 ** (start + span)
    wanted = [m * 10.0**k for k in range(start, start + 3) for m in (1, 2, 5) if m * 10.0**k <= high * (1 + 1e-9)]
    assert [value for value, _ in log_ticks(low, high, room=2000)] == pytest.approx(wanted)


def test_less_room_leaves_decades_and_then_fewer() -> None:
    every = ["0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5"]
    assert [text for _, text in log_ticks(0.002, 0.5, room=600)] == every
    assert [text for _, text in log_ticks(0.002, 0.5, room=120)] == ["0.01", "0.1"]
    places = [math.log10(value) for value, _ in log_ticks(1e-8, 1e8, room=150)]
    assert len({round(b - a) for a, b in pairwise(places)}) == 1
