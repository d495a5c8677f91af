"""The entropy of unigrams: a level other than chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from landscape.session.subject import unigram_entropy


def test_a_text_of_equally_frequent_tokens_has_the_entropy_of_a_uniform_guess():
    every = torch.arange(7).repeat(3000).reshape(-1, 100)
    assert unigram_entropy(every) == pytest.approx(math.log(7), abs=6 / (2 * 21000) + 1e-12)


def test_it_is_the_entropy_of_the_shares_but_for_the_correction():
    counts = [50, 30, 15, 5]
    ids = torch.repeat_interleave(torch.tensor([3, 900, 17, 4]), torch.tensor(counts))
    assert unigram_entropy(ids) - stats.entropy(counts) == pytest.approx(3 / 200)


def test_short_texts_are_right_on_average():
    """400 tokens of 64 types of Zipf's law: the entropy of the shares alone is 0.06 nats low."""
    shares = 1 / np.arange(1, 65)
    shares /= shares.sum()
    rng = np.random.default_rng(0)
    drawn = [torch.from_numpy(rng.choice(64, 400, p=shares)) for _ in range(200)]
    found = np.array([unigram_entropy(ids) for ids in drawn])
    assert found.mean() == pytest.approx(stats.entropy(shares), abs=0.02)
    plain = np.array([stats.entropy(np.bincount(ids.numpy())) for ids in drawn])
    assert plain.mean() < stats.entropy(shares) - 0.04
