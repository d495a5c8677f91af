import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.estimators.lambda_grid import pilot_radius, sweep_grid
from quant.errors import UsageError


@given(st.floats(1e-2, 5.0), st.floats(1e-3, 1e4))
def test_the_pilot_finds_the_crossing_of_a_gaussian_well(ratio, norm):
    s = ratio * norm
    found = pilot_radius(lambda lam: 1 - math.exp(-(lam**2) / (2 * s * s)), norm)
    truth = s * math.sqrt(2 * math.log(2))
    assert found == pytest.approx(truth, rel=0.1)


def test_the_pilot_counts_overflow_as_a_rise_and_finds_none_in_a_flat_loss():
    assert pilot_radius(lambda lam: math.nan if lam > 0.3 else 0.0, 1.0) == pytest.approx(0.3, rel=0.1)
    assert pilot_radius(lambda lam: 0.4, 1.0) is None


def test_the_pilot_is_cheap():
    asked = []
    pilot_radius(lambda lam: asked.append(lam) or 1 - math.exp(-((lam / 0.2) ** 2)), 1.0)
    assert len(asked) <= 8
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("count", [4, 10, 14, 20, 33])
def test_the_grid_covers_bottom_rise_and_plateau(count):
    grid = np.array(sweep_grid(2.0, count))
    assert len(grid) == count
    assert (np.diff(grid) > 0).all()
    assert grid[0] > 0
    assert grid[-1] == pytest.approx(6.0)  # three radii
    assert (grid <= 4.4001).sum() >= 0.75 * count  # most of it up to 2.2 radii


def test_the_grid_goes_on_to_the_farthest_point_and_does_not_move():
    near, far = sweep_grid(1.0, 10), sweep_grid(1.0, 10, reach=20.0)
    assert far[: len(near)] == near
    assert far[-2] < 20.0 <= far[-1]
    with pytest.raises(UsageError, match="at least 4"):
        sweep_grid(1.0, 3)
