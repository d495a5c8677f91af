"""Ratios are those of neighbours, and the plain references compute what transformers computes."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.models import random_llama, random_tokens
from benchmarks.speed.reference import bare_loss, floor
from benchmarks.speed.turns import in_turns, ratio


def test_a_ratio_is_the_median_over_neighbours() -> None:
    """Medians of the seconds themselves would give 3/2."""
    ours, theirs = [1.0, 6.0, 3.0, 8.0, 2.0], [1.0, 3.0, 1.0, 2.0, 2.0]
    row = ratio("a/b", ours, theirs, more=1)
    assert row["ratio"] == pytest.approx(np.percentile([1, 2, 3, 4, 1], [25, 50, 75]).tolist())
    assert row["seconds"] == [3.0, 2.0]
    assert (row["rounds"], row["more"]) == (5, 1)
    assert ratio("a/b", [3.0], [2.0])["ratio"] == [1.5, 1.5, 1.5]


def test_works_take_turns_after_one_call_each() -> None:
    calls: list[str] = []
    seconds = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert "".join(calls) == "ababab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return random_llama(vocabulary=97, blocks=2, width=48, inner=64, heads=3, groups=1)


@torch.inference_mode()
def test_the_bare_loss_is_that_of_transformers(model: torch.nn.Module) -> None:
    """600 tokens are two chunks and a part of one."""
    window = random_tokens(1, 600, 97)[0]
    expected = float(model(input_ids=window[None], labels=window[None]).loss) * 599
    assert float(bare_loss(model, window)) == pytest.approx(expected, rel=1e-5)


@torch.inference_mode()
def test_the_floor_does_the_products_of_a_forward_pass_and_no_others(model: torch.nn.Module) -> None:
    """Rotary angles are a product too, of one entry a pair, which is not a layer's."""

    def products(work) -> int:
        with FlopCounterMode(display=False) as counter:
            work()
        counts = counter.get_flop_counts()["Global"]
        return sum(flops for operator, flops in counts.items() if str(operator) in ("aten.mm", "aten.addmm"))

    window = random_tokens(1, 64, 97)
    weights = sum(p.numel() for n, p in model.named_parameters() if "proj" in n) + 97 * 48
    assert products(floor(model, 64)) == 2 * 64 * weights
    assert products(lambda: model(input_ids=window, use_cache=False)) == 2 * 64 * weights
