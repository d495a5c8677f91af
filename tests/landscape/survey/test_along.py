"""Check R along Δw on an analytic segment."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.estimators.intervals import CONFIDENCE
from landscape.positions.position import CENTER, on_segment
from landscape.probing.losses import Probes
from landscape.probing.plan import Probe, ProbeResult, identified
from landscape.survey.along import radius_along, ray_to
from tests import tiny

CHANCE, BASE, DISTANCE = 6.0, 2.0, 4.0
TOKENS = 11
ALPHAS = (-0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)


def on_well(width: float, spread: float = 0.0, count: int = 6) -> Probes:
    """A Gaussian well along one direction, whose width differs by the window: R = s·√(2 ln 2) of the mean profile."""
    windows = identified(tiny.windows(count))
    widths = width * (1 + spread * np.linspace(-1, 1, count))
    known = {}
    for alpha in ALPHAS:
        position = CENTER if alpha == 0 else str(on_segment(CENTER, "point/a", alpha))
        for window, s in zip(windows, widths, strict=True):
            nll = CHANCE - (CHANCE - BASE) * math.exp(-((alpha * DISTANCE) ** 2) / (2 * s**2))
            known[Probe(position, window.identity)] = ProbeResult(
                Probe(position, window.identity), TOKENS * nll, TOKENS
            )
    return Probes(known, {"validation": windows})


def found(probes: Probes, distance: float = DISTANCE):
    return radius_along(probes, "point/a", distance, ALPHAS, "validation", CHANCE)


def test_the_radius_along_a_given_direction_comes_out() -> None:
    crossing = found(on_well(1.5))
    true = 1.5 * math.sqrt(2 * math.log(2))
    assert crossing.value == pytest.approx(true, rel=0.01)
    assert DISTANCE / crossing.value > 1  # ρ_Δ: the point lies beyond
    assert 0.998 * true < crossing.low < true < crossing.high < 1.002 * true  # all windows are alike


def test_its_interval_is_that_of_the_mean_over_windows() -> None:
    """One direction, which is no sample of directions: to first order R of single windows, with Student's t."""
    from scipy import stats

    spread, count = 0.03, 6
    crossing = found(on_well(1.5, spread, count))
    radii = 1.5 * (1 + spread * np.linspace(-1, 1, count)) * math.sqrt(2 * math.log(2))
    half = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * radii.std(ddof=1) / math.sqrt(count)
    assert crossing.high - crossing.value == pytest.approx(half, rel=0.05)
    assert crossing.value - crossing.low == pytest.approx(half, rel=0.05)


def test_a_radius_just_beyond_the_point_is_seen_and_one_farther_out_is_censored() -> None:
    just = 1.05 * DISTANCE / math.sqrt(2 * math.log(2))
    assert found(on_well(just)).value == pytest.approx(1.05 * DISTANCE, rel=0.01)
    beyond = found(on_well(2 * just))
    assert (beyond.value, beyond.low, beyond.high) == (None, pytest.approx(1.1 * DISTANCE), math.inf)


def test_positions_behind_w_are_left_out_and_w_itself_has_no_direction() -> None:
    probes = on_well(1.5)
    assert found(probes, distance=0.0) is None
    ray = ray_to(probes, "point/a", DISTANCE, [0.5, 1.0], "validation", CHANCE)
    assert ray.lambdas.tolist() == [2.0, 4.0]
    assert ray.fixed
    assert ray.totals[0, 1].sum() / ray.tokens.sum() == pytest.approx(
        CHANCE - (CHANCE - BASE) * math.exp(-(DISTANCE**2) / (2 * 1.5**2))
    )
