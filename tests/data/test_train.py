"""The training of opt-nano: windows as described, and an interruption that changes nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

TRAIN = Path(__file__).parents[2] / "data" / "train.py"
spec = importlib.util.spec_from_file_location("opt_nano_train", TRAIN)
train = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = train  # dataclasses look their module up
spec.loader.exec_module(train)

VOCABULARY = 31
RECIPE = train.Recipe(
    hidden=16, layers=1, heads=2, positions=16, lengths=(8, 16), batch_tokens=32, steps=12, warmup=2, tail=2, every=3
)


def stories() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.concatenate([[0], rng.integers(2, VOCABULARY, n)]) for n in rng.integers(5, 25, 12)]


def test_windows_are_pieces_of_the_stream_and_the_aligned_ones_begin_a_story() -> None:
    stream = np.concatenate(stories()).tolist()
    pieces = [stream[i : i + 8] for i in range(len(stream) - 7)]
    free = train.windows(stories(), 8, 0.0, np.random.default_rng(1))
    aligned = train.windows(stories(), 8, 1.0, np.random.default_rng(1))
    assert all(row in pieces for row in [*free.tolist(), *aligned.tolist()])
    assert len(free) in (len(stream) // 8, len(stream) // 8 - 1)
    assert (aligned[:, 0] == 0).all()
    assert not (free[:, 0] == 0).all()


def test_learning_rate_rises_falls_and_ends_flat() -> None:
    rates = [train.learning_rate(RECIPE, step) for step in range(RECIPE.steps)]
    assert max(rates) == pytest.approx(RECIPE.lr)
    assert rates[:2] == pytest.approx([RECIPE.lr / 2, RECIPE.lr])
    assert rates[-2:] == pytest.approx([RECIPE.lr * RECIPE.floor] * 2)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_interrupted_training_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validation = np.concatenate(stories())
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    reference = train.train(stories(), validation, RECIPE, VOCABULARY, whole)

    step = train.train_step

    def stumble(state, recipe, batch):
        if state.step == 7:
            raise KeyboardInterrupt
        return step(state, recipe, batch)

    with monkeypatch.context() as patch:
        patch.setattr(train, "train_step", stumble)
        with pytest.raises(KeyboardInterrupt):
            train.train(stories(), validation, RECIPE, VOCABULARY, broken)
    torch.manual_seed(99)
    resumed = train.train(stories(), validation, RECIPE, VOCABULARY, broken)

    assert resumed.rows == reference.rows
    assert [row[0] for row in resumed.rows] == [3, 6, 9, 12]
    for name, weight in reference.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
