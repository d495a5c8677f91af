import numpy as np
import pytest
from scipy import stats

from landscape.estimators.direction_spread import direction_spread


def tables(rng, directions, windows, spread, noise, count):
    """Crossed tables with a spread over directions, a larger one over windows, and noise."""
    for _ in range(count):
        rows = spread * rng.standard_normal((directions, 1))
        yield rows + 0.5 * rng.standard_normal(windows) + noise * rng.standard_normal((directions, windows))


@pytest.mark.parametrize(("directions", "windows"), [(4, 4), (8, 4), (8, 16)])
def test_intervals_hold_as_often_as_they_say(directions, windows):
    """Not below 95 % by more than chance makes of 1000 tables: they may be a little wide."""
    rng = np.random.default_rng(directions * windows)
    found = [direction_spread(x) for x in tables(rng, directions, windows, 0.1, 0.1, 1000)]
    covered = sum(e.low <= 0.1 <= e.high for e in found)
    assert covered >= stats.binom.ppf(0.01, 1000, 0.95)
    assert covered <= stats.binom.ppf(0.999, 1000, 0.975)


def test_the_part_that_windows_add_is_taken_out():
    """Row means scatter by √(σ²_d + σ²_ε/4) = 0.18; the component is 0.1."""
    found = [direction_spread(x).value ** 2 for x in tables(np.random.default_rng(0), 8, 4, 0.1, 0.3, 4000)]
    assert np.mean(found) == pytest.approx(0.1**2 + _clipped_bias(), rel=0.1)


def _clipped_bias():
    """The mean of the estimate of σ²_d is right; negative ones count as zero, which adds this much, by simulation."""
    rng = np.random.default_rng(1)
    of_directions = (0.1**2 + 0.3**2 / 4) * rng.chisquare(7, 400_000) / 7
    rest = 0.3**2 / 4 * rng.chisquare(21, 400_000) / 21
    return np.maximum(0, of_directions - rest).mean() - 0.1**2


def test_without_noise_it_is_the_standard_deviation():
    rows = np.array([1.0, 1.1, 0.9, 1.3])
    cells = rows[:, None] + np.array([0.0, 0.5, -0.5])
    found = direction_spread(cells)
    assert found.value == pytest.approx(rows.std(ddof=1))
    textbook = [rows.std(ddof=1) * np.sqrt(3 / stats.chi2.ppf(p, 3)) for p in (0.975, 0.025)]
    assert (found.low, found.high) == pytest.approx(textbook)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_a_single_row_or_column_has_no_spread(shape):
    assert direction_spread(np.ones(shape)) is None
