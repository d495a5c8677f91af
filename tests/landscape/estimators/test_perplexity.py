"""Perplexity is exp of the loss, and so are the ends of its change."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from landscape.estimators.divergence import mean_per_token
from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.perplexity import perplexity, perplexity_change


def test_perplexity_of_a_uniform_guess_is_the_size_of_the_vocabulary() -> None:
    logits, targets = torch.zeros(7, 61), torch.arange(7)
    assert perplexity(float(torch.nn.functional.cross_entropy(logits, targets))) == pytest.approx(61, rel=1e-6)


def test_the_change_is_the_ratio_of_two_perplexities() -> None:
    change = perplexity_change(Estimate(2.5 - 2.3, 0.1, 0.4))
    assert change.value == pytest.approx(perplexity(2.5) / perplexity(2.3) - 1)
    assert (change.low, change.high) == pytest.approx((math.exp(0.1) - 1, math.exp(0.4) - 1))
    assert perplexity_change(Estimate(1e-9, 0.0, 0.0)).value == pytest.approx(1e-9, rel=1e-6)


def test_an_overflow_stays_infinite() -> None:
    assert perplexity(math.inf) == perplexity(800.0) == math.inf
    assert perplexity_change(Estimate(math.inf, -math.inf, math.inf)) == Estimate(math.inf, -1.0, math.inf)


def test_a_mean_per_token_is_a_paired_difference_from_nothing_within_its_range() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 20, 12)
    sums = tokens * (1 + 0.2 * rng.standard_normal(12))
    found = mean_per_token(sums, tokens, np.arange(12) // 2)
    assert found == paired_difference(sums, np.zeros(12), tokens, blocks=np.arange(12) // 2)
    near_zero = mean_per_token(np.array([0.0, 0.0, 3.0]), np.array([10, 10, 10]))
    assert near_zero.low == 0.0
    assert near_zero.value == pytest.approx(0.1)
    assert mean_per_token(np.array([10.0, 10.0, 5.0]), np.array([10, 10, 10]), most=1.0).high == 1.0
    assert mean_per_token(np.array([1.0, math.nan]), np.array([10, 10])) == Estimate(math.inf, -math.inf, math.inf)
