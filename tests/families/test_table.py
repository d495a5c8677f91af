"""The table of model families: each is measured right, or refused in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache

import pytest
import torch
from torch import nn

from quant.errors import CheckpointError
from quant.nll import mean_nll, window_nll
from quant.space import WeightSpace
from tests.families import FAMILIES, VOCABULARY, Family, train_briefly, windows

CHANCE = math.log(VOCABULARY)
LEARNT = 1.0  # nats below chance: far above what sampling of 240 tokens could feign


def rows(refused: bool = True) -> list[object]:
    """Return the families as parameters, the slow half marked."""
    chosen = [family for family in FAMILIES.values() if refused or not family.refusal]
    return [pytest.param(f, id=f.name, marks=[pytest.mark.slow] if f.slow else []) for f in chosen]


@pytest.fixture(scope="session")
def trained() -> Callable[[Family], nn.Module]:
    """Make a family's trained model anew, trained once a session: some modules keep states that cannot be copied."""

    @cache
    def once(name: str) -> dict[str, torch.Tensor]:
        model = FAMILIES[name].build()
        train_briefly(model, FAMILIES[name].steps)
        return model.state_dict()

    def make(family: Family) -> nn.Module:
        model = family.build()
        model.load_state_dict(once(family.name))
        return model

    return make


def by_hand(model: nn.Module, window: torch.Tensor) -> torch.Tensor:
    """Return −ln p of each scored token in float64, from the logits of a plain forward."""
    with torch.no_grad():
        logits = model(window[None]).logits[0, :-1].double()
    return torch.logsumexp(logits, dim=-1) - logits[torch.arange(len(window) - 1), window[1:]]


@pytest.mark.parametrize("family", rows())
def test_the_loss_is_that_of_plain_transformers(family: Family, trained: Callable[[Family], nn.Module]) -> None:
    model, text = trained(family), windows(16, seed=99)
    ours = [window_nll(model, window) for window in text]
    theirs = torch.stack([by_hand(model, window) for window in text])
    assert [w.total for w in ours] == pytest.approx(theirs.sum(dim=1).tolist(), abs=1e-6 * theirs.shape[1])
    assert mean_nll(ours) == pytest.approx(theirs.mean().item(), abs=1e-6)
    assert mean_nll(ours) < CHANCE - LEARNT


@pytest.mark.parametrize("family", rows(refused=False))
def test_w_holds_the_matrices_of_the_blocks(family: Family) -> None:
    model = family.build()
    assert WeightSpace.of(model).dimension == family.dimension(model)


@pytest.mark.parametrize("family", [f for f in rows() if f.values[0].refusal])  # type: ignore[attr-defined]
def test_a_family_without_a_weight_space_is_refused(family: Family) -> None:
    with pytest.raises(CheckpointError, match=family.refusal):
        WeightSpace.of(family.build())


@pytest.mark.parametrize("family", rows())
def test_every_parameter_named_as_outside_exists(family: Family) -> None:
    model = family.build()
    names = [name for name, _ in family.block_parameters(model)]
    assert names, "no parameter of two dimensions in the blocks"
    for glob in family.outside:
        assert any(fnmatchcase(name, glob) for name in names), f"{glob} names nothing"


def test_training_is_repeatable(trained: Callable[[Family], nn.Module]) -> None:
    family = FAMILIES["qwen3_moe"]
    again = family.build()
    train_briefly(again, family.steps)
    state = trained(family).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())


def test_the_table_is_as_wide_as_it_says() -> None:
    kinds = [family.kind for family in FAMILIES.values()]
    assert kinds.count("dense") >= 30
    assert kinds.count("mixture") >= 12
    assert kinds.count("recurrent") >= 12
