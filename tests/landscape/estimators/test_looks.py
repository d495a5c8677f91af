"""Sequential looks: the level holds over all of them, and a clear rise takes few windows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.looks import Look, decided, look, look_sizes, two_sided
from quant.errors import UsageError


@pytest.mark.parametrize(
    ("windows", "sizes"),
    [(2, (2,)), (4, (4,)), (5, (4, 5)), (16, (4, 8, 16)), (20, (4, 8, 16, 20)), (32, (4, 8, 16, 32))],
)
def test_windows_double_until_there_are_no_more(windows: int, sizes: tuple[int, ...]) -> None:
    assert look_sizes(windows) == sizes


def watched(rises: np.ndarray, marks: tuple[float, ...], confidence: float) -> Look:
    """Look at windows with these rises, nats per token, of a hundred tokens each."""
    tokens = np.full(len(rises), 100)

    def measure(windows: int, level: float) -> Estimate:
        some = slice(windows)
        return paired_difference(100 * rises[some], np.zeros(windows), tokens[some], level)

    return look(measure, len(rises), confidence, marks)


def test_the_level_holds_over_all_looks() -> None:
    """At a rise just beyond the limit "kept" is said as rarely as asked for, and more by looks of the same level."""
    rng = np.random.default_rng(5)
    limit, runs = 0.05, 1500
    said = naive = 0
    for _ in range(runs):
        rises = rng.normal(limit + 1e-9, 0.02, 32)
        found = watched(rises, (limit,), 0.9)
        said += found.decided and found.rise.high <= limit
        naive += any(
            rises[:n].mean() + stats.t.ppf(0.9, n - 1) * rises[:n].std(ddof=1) / np.sqrt(n) <= limit
            for n in look_sizes(32)
        )
    assert said / runs <= 0.1
    assert said / runs > 0.04  # Bonferroni, and not more than that
    assert naive / runs > 0.15


def test_an_end_holds_with_the_confidence_asked_for() -> None:
    rng = np.random.default_rng(6)
    truth, runs = 0.05, 1000
    missed = sum(watched(rng.normal(truth, 0.03, 16), (0.06,), 0.8).rise.high < truth for _ in range(runs))
    assert missed / runs <= 0.2


def test_a_clear_rise_takes_four_windows_and_a_tie_takes_all() -> None:
    rng = np.random.default_rng(7)
    clear = watched(rng.normal(3.0, 0.1, 32), (0.05, 0.14), 0.9)
    tie = watched(rng.normal(0.05, 0.1, 32), (0.05,), 0.9)
    assert (clear.windows, clear.decided) == (4, True)
    assert (tie.windows, tie.decided) == (32, False)


def test_a_model_that_overflowed_is_beyond_every_mark() -> None:
    assert decided(Estimate(np.inf, -np.inf, np.inf), (0.05,))
    assert not decided(Estimate(0.01, -np.inf, np.inf), (0.05,))


@pytest.mark.parametrize("confidence", [0.5, 1.0, -1.0, float("nan")])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(UsageError, match=r"confidence above 0\.5 and below 1"):
        two_sided(confidence, 4)
