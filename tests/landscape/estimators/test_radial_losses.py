import math

import numpy as np
import pytest

from landscape.estimators.basin import estimate_basin
from landscape.estimators.crossing import crossing
from landscape.estimators.radial_losses import RadialProbes, direction_nll, saturation
from quant.errors import UsageError
from tests.landscape.wells import CENTER, CHANCE, make, profile


def test_an_overflow_counts_as_lost_and_is_reported():
    """NaN in one of two windows of one of two directions: it counts as chance, the others as they are."""
    lambdas = np.array([0.5, 1.0, 1.5, 2.0])
    nll = np.broadcast_to((CENTER + lambdas**2)[None, :, None], (2, 4, 2)).copy()
    clean = direction_nll(make(lambdas, nll))
    nll[0, 2, 1], nll[1, 3, 0] = np.nan, np.inf
    dirty = make(lambdas, nll)
    got = direction_nll(dirty)
    assert got[0, 2] == pytest.approx((nll[0, 2, 0] + CHANCE) / 2)
    assert got[1, 3] == pytest.approx((nll[1, 3, 1] + CHANCE) / 2)
    untouched = np.ones_like(got, bool)
    untouched[0, 2] = untouched[1, 3] = False
    assert np.array_equal(got[untouched], clean[untouched])
    assert estimate_basin(dirty).non_finite == pytest.approx(2 / 16)


def test_an_overflow_beyond_chance_does_not_look_like_a_return():
    """Llama-type models rise past C; the overflow after that must not fall back to C."""
    nll = np.array([4.0, 9.0, math.nan])[None, :, None] + np.zeros((2, 1, 1))
    assert direction_nll(make([1.0, 2.0, 3.0], nll))[:, 2] == pytest.approx(9.0)
    assert estimate_basin(make([1.0, 2.0, 3.0], nll)).monotone


@pytest.mark.parametrize("chance", [CENTER, CENTER - 1, math.nan])
def test_no_basin_around_weights_that_are_no_better_than_chance(chance):
    with pytest.raises(UsageError, match="below chance"):
        profile([1.0, 2.0], [0.1, 0.9], chance=chance)
    with pytest.raises(UsageError, match="below chance"):
        saturation(5.0, CENTER, chance)


def test_malformed_probes_are_refused():
    good = profile([1.0, 2.0], [0.1, 0.9])
    with pytest.raises(UsageError, match="increase strictly"):
        RadialProbes(np.array([0.0, 1.0]), good.totals, good.tokens, good.center, CHANCE)
    with pytest.raises(UsageError, match="shape"):
        RadialProbes(good.lambdas, good.totals[:, :1], good.tokens, good.center, CHANCE)
    with pytest.raises(UsageError, match="finite losses at w"):
        RadialProbes(good.lambdas, good.totals, good.tokens, good.center * math.nan, CHANCE)
    for level in (0.0, 1.0, -0.2):
        with pytest.raises(UsageError, match="level"):
            crossing(good, level)


def test_saturation():
    assert [saturation(nll, 3.0, 7.0) for nll in (3.0, 5.0, 7.0, 2.0)] == [0.0, 0.5, 1.0, -0.25]
