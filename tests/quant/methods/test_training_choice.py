from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor

from quant.methods.options import TrainingOptions
from quant.methods.qaft import finetune, qaft
from quant.methods.training import run_training
from quant.space import Slot
from tests.quant.finetuning import OTHER, TRAIN, Recorded, contents, make, nll_of, run


def test_the_best_epoch_of_the_best_rate_is_kept() -> None:
    at = make()
    point = run(at, TrainingOptions(rates=(1e-3, 1e-2, 3.0), epochs=5), OTHER)
    curve, chosen = point.provenance["curve"], point.provenance["chosen"]
    assert [(row["rate"], row["epoch"]) for row in curve] == [
        (None, 0), *((rate, epoch) for rate in (1e-3, 1e-2, 3.0) for epoch in range(1, 6))
    ]  # fmt: skip
    assert chosen == min(curve, key=lambda row: row["validation_nll"])
    assert chosen["validation_nll"] < max(row["validation_nll"] for row in curve)
    assert nll_of(at, point, OTHER) == chosen["validation_nll"]


def test_epoch_0_wins_when_training_only_harms() -> None:
    at = make()
    at.space.write(at.model, at.start)
    own = torch.arange(6)[:, None]  # RTN's own greedy text: any step towards random tokens makes it less likely
    for _ in range(8):
        own = torch.cat([own, at.model(input_ids=own, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    at = make()
    point = run(at, TrainingOptions(rates=(1e-1,), epochs=2), own)
    assert point.provenance["chosen"]["epoch"] == 0
    assert point.provenance["chosen"]["rate"] is None
    assert contents(point, at.space) == contents(at.start, at.space)


def test_validation_chooses_and_test_data_is_no_argument() -> None:
    at = make()
    options = TrainingOptions(rates=(1e-2,), epochs=6)
    chosen = [run(at, options, validation).provenance["chosen"]["epoch"] for validation in (TRAIN, OTHER)]
    assert chosen[0] != chosen[1]
    for function in (qaft, finetune):
        assert not [name for name in inspect.signature(function).parameters if "test" in name]


def test_a_later_epoch_does_not_touch_what_an_earlier_one_left() -> None:
    """The best of 1 + 3 epochs at rates that then ruin everything is still what a run of that rate alone gives."""
    at = make()
    alone = finetune(at.model, at.space, TRAIN, TRAIN, TrainingOptions(rates=(1e-3,), epochs=3))
    among = finetune(at.model, at.space, TRAIN, TRAIN, TrainingOptions(rates=(1e-3, 1e30), epochs=3))
    assert contents(alone, at.space) == contents(among, at.space)
    assert among.provenance["chosen"]["rate"] == 1e-3
    assert nll_of(at, among, TRAIN) == among.provenance["chosen"]["validation_nll"]


def test_a_rate_that_diverges_loses_and_is_recorded() -> None:
    at = make()
    calls: list[tuple[int, int]] = []
    point = finetune(
        at.model, at.space, TRAIN, TRAIN, TrainingOptions(rates=(1e30, 1e-3), epochs=2),
        progress=lambda *step: calls.append(step),
    )  # fmt: skip
    rows = point.provenance["curve"]
    assert [(row["rate"], row["epoch"]) for row in rows] == [(None, 0), (1e30, 1), (1e-3, 1), (1e-3, 2)]
    assert rows[1]["validation_nll"] is None
    assert rows[1]["training_nll"] is None
    assert point.provenance["chosen"]["rate"] == 1e-3
    assert calls[-1] == (16, 16)
    assert all(math.isfinite(float(point.tensor(slot).sum())) for slot in at.space)


def test_a_start_that_is_not_finite_loses_to_any_finite_epoch() -> None:
    at = make()
    pending = [True] * len(at.space.slots)

    class BrokenAtFirst(Recorded):
        def weight(self, slot: Slot, master: Tensor) -> Tensor:
            return super().weight(slot, master) * (math.nan if pending and pending.pop() else 1.0)

    result = run_training(
        at.model, at.space, BrokenAtFirst(at.start), TRAIN, TRAIN, TrainingOptions(rates=(1e-3,), epochs=2)
    )
    assert math.isnan(result.curve[0].validation_nll)
    assert result.chosen.epoch > 0


def test_training_nll_is_the_mean_over_steps_before_their_updates() -> None:
    at = make()
    point = run(at, TrainingOptions(rates=(0.0,), epochs=1), OTHER)
    assert point.provenance["curve"][1]["training_nll"] == pytest.approx(nll_of(at, at.start, TRAIN), abs=1e-6)
