"""The ratio of two rises of the loss on the same windows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from landscape.estimators.intervals import paired_difference, paired_ratio

TOKENS = np.full(40, 100)


def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """NLL sums of a point with 0.3 of the rise of another one, (n_w,) each; windows share their difficulty."""
    center = 300 + 40 * rng.standard_normal(40)
    rise = 20 + 5 * rng.standard_normal(40)
    return center + 0.3 * rise + rng.standard_normal(40), center + rise, center


def test_the_value_is_the_ratio_of_the_rises_and_the_error_that_of_the_jackknife() -> None:
    totals, reference, center = sample(np.random.default_rng(1))
    found = paired_ratio(totals, reference, center, TOKENS)
    assert found is not None
    assert found.value == pytest.approx((totals - center).sum() / (reference - center).sum())
    left_out = [
        np.delete(totals - center, i).sum() / np.delete(reference - center, i).sum() for i in range(len(TOKENS))
    ]
    jackknife = math.sqrt(39 / 40 * np.square(left_out - np.mean(left_out)).sum())
    assert (found.high - found.value) / stats.t.ppf(0.975, 39) == pytest.approx(jackknife, rel=0.05)


def test_the_interval_covers() -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(1000):
        found = paired_ratio(*sample(rng), TOKENS)
        assert found is not None
        hits += found.low <= 0.3 <= found.high
    assert stats.binomtest(hits, 1000, 0.95).pvalue > 0.001


def test_windows_of_one_block_count_as_one() -> None:
    """Each window twice: the same information, and the same interval as from each once."""
    totals, reference, center = sample(np.random.default_rng(3))
    once = paired_ratio(totals, reference, center, TOKENS)
    twice = paired_ratio(*(np.repeat(x, 2) for x in (totals, reference, center, TOKENS)), blocks=np.arange(80) // 2)
    assert once is not None
    assert twice is not None
    assert twice.high - twice.low == pytest.approx(once.high - once.low)


def test_a_reference_without_a_rise_gives_no_ratio() -> None:
    ones = np.ones(40)
    assert paired_ratio(2 * ones, ones, ones, TOKENS) is None
    assert paired_ratio(2 * ones, math.inf * ones, ones, TOKENS) is None
    overflow = paired_ratio(math.inf * ones, 2 * ones, ones, TOKENS)
    assert overflow is not None
    assert math.isinf(overflow.high)


def test_intervals_over_articles_are_those_of_a_bootstrap_of_articles() -> None:
    """ΔL and ΔL/ΔL' with 80 articles of 1 to 6 unequal windows: the standard errors are those of resampled articles."""
    rng = np.random.default_rng(7)
    blocks = np.repeat(np.arange(80), rng.integers(1, 7, 80))
    tokens, shared = rng.integers(200, 600, len(blocks)), rng.standard_normal((2, 80))[:, blocks]
    center = 3.0 * tokens
    totals = center + tokens * (0.5 + 0.2 * shared[0] + 0.1 * rng.standard_normal(len(blocks)))
    reference = center + tokens * (0.9 + 0.2 * shared[0] + 0.1 * shared[1])
    members = [np.flatnonzero(blocks == block) for block in range(80)]
    drawn = [np.concatenate([members[i] for i in rng.integers(0, 80, 80)]) for _ in range(2000)]
    rises = [(totals - center)[rows].sum() / tokens[rows].sum() for rows in drawn]
    ratios = [(totals - center)[rows].sum() / (reference - center)[rows].sum() for rows in drawn]
    for found, resampled in (
        (paired_difference(totals, center, tokens, blocks=blocks), rises),
        (paired_ratio(totals, reference, center, tokens, blocks=blocks), ratios),
    ):
        half = stats.t.ppf(0.975, 79) * np.std(resampled)
        assert found is not None
        assert found.high - found.value == pytest.approx(half, rel=0.07)
    blind = paired_difference(totals, center, tokens)
    assert blind.high - blind.value < 0.75 * stats.t.ppf(0.975, 79) * np.std(rises)
