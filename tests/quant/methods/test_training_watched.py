"""Check that the NLL on watched windows is recorded after every epoch, and that nothing depends on it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from quant.errors import CorpusError
from quant.hashing import token_hash
from quant.methods.options import TrainingOptions
from quant.methods.qaft import finetune
from quant.methods.training import EpochResult, window_order
from quant.point import WeightPoint
from tests.quant.finetuning import OTHER, TRAIN, Setting, contents, make, nll_of, run
from tests.tiny import windows

WATCHED = windows(5, seed=2)
OPTIONS = TrainingOptions(rates=(3e-3, 1e-2), epochs=3)


def made(at: Setting, method: str, watched: Tensor | None, **more: Any) -> WeightPoint:
    if method == "qaft":
        return run(at, OPTIONS, OTHER, watched=watched, **more)
    return finetune(at.model, at.space, TRAIN, OTHER, OPTIONS, watched=watched, **more)


def test_nlls(point: WeightPoint) -> list[float | None]:
    return [row["test_nll"] for row in point.provenance["curve"]]


test_nlls.__test__ = False  # type: ignore[attr-defined]


def without_test(point: WeightPoint) -> dict[str, Any]:
    """The provenance, less all that speaks of watched windows."""
    record = {key: value for key, value in point.provenance.items() if key != "watched"}
    for key in ("curve", "chosen"):
        rows = record[key] if key == "curve" else [record[key]]
        record[key] = [{name: value for name, value in row.items() if name != "test_nll"} for row in rows]
    return record


def by_torch(at: Setting, tokens: Tensor) -> list[float]:
    """Train a copy with torch's own AdamW and cross entropy, and return the loss on ``tokens`` after every epoch."""

    def loss(model: Any, rows: Tensor) -> Tensor:
        logits = model(input_ids=rows).logits[:, :-1]
        return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))

    found = [float(loss(at.model, tokens).detach())]
    for rate in OPTIONS.rates:
        model = copy.deepcopy(at.model)
        inside = {slot.name for slot in at.space}
        trained = [parameter for name, parameter in model.named_parameters() if name in inside]
        optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
        steps, step = OPTIONS.epochs * len(TRAIN), 0
        for epoch in range(OPTIONS.epochs):
            for index in window_order(OPTIONS.seed, epoch, len(TRAIN)):
                optimizer.param_groups[0]["lr"] = rate * (1 - 0.9 * step / (steps - 1))
                optimizer.zero_grad()
                loss(model, TRAIN[index][None]).backward()
                optimizer.step()
                step += 1
            found.append(float(loss(model, tokens).detach()))
    return found


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_the_nll_after_every_epoch_is_that_of_a_plain_training_loop(name: str) -> None:
    at = make(name)
    expected = by_torch(at, WATCHED)
    assert test_nlls(made(at, "w_ft", WATCHED)) == pytest.approx(expected, rel=1e-4)  # float32 sums in another order
    assert max(expected) - min(expected) > 1e-2


def test_the_nll_of_the_chosen_epoch_is_the_points_own() -> None:
    at = make()
    point = made(at, "qaft", WATCHED)
    assert point.provenance["chosen"]["epoch"] > 0
    assert point.provenance["chosen"]["test_nll"] == pytest.approx(nll_of(at, point, WATCHED), abs=1e-9)


@pytest.mark.parametrize("method", ["qaft", "w_ft"])
def test_watched_windows_change_no_weight_and_no_choice(method: str) -> None:
    at = make()
    plain, watched, other = (made(at, method, rows) for rows in (None, WATCHED, WATCHED.flip(1)))
    assert contents(plain, at.space) == contents(watched, at.space) == contents(other, at.space)
    assert without_test(plain) == without_test(watched) == without_test(other)
    assert set(test_nlls(plain)) == {None}
    assert not set(test_nlls(watched)) & set(test_nlls(other))
    assert "watched" not in plain.provenance
    assert watched.provenance["watched"] == {"sha256": token_hash(WATCHED), "shape": [5, 12]}


class Killed(BaseException):
    pass


def interrupted(at: Setting, method: str, watched: Tensor | None, folder: Path) -> None:
    """Run to the fourth step of the second epoch of the second rate."""

    def kill(done: int, total: int) -> None:
        if done == 20:
            raise Killed

    with pytest.raises(Killed):
        made(at, method, watched, folder=folder, progress=kill)


@pytest.mark.parametrize("method", ["qaft", "w_ft"])
def test_an_interrupted_run_resumes_to_the_same_record(method: str, tmp_path: Path) -> None:
    at = make()
    whole = made(at, method, WATCHED)
    interrupted(at, method, WATCHED, tmp_path)
    resumed = made(at, method, WATCHED, folder=tmp_path)
    assert None not in test_nlls(whole)
    assert resumed.provenance == whole.provenance
    assert contents(resumed, at.space) == contents(whole, at.space)


@pytest.mark.parametrize("before", [None, WATCHED.flip(0)])
def test_a_run_resumed_with_other_watched_windows_mixes_no_losses(before: Tensor | None, tmp_path: Path) -> None:
    """The state is taken, for it trained the same weights; the epochs in it have no NLL on these windows."""
    at = make()
    whole = made(at, "qaft", WATCHED)
    interrupted(at, "qaft", before, tmp_path)
    resumed = made(at, "qaft", WATCHED, folder=tmp_path)
    assert contents(resumed, at.space) == contents(whole, at.space)
    assert test_nlls(resumed) == [None] * 5 + test_nlls(whole)[5:]
    assert resumed.provenance["watched"] == whole.provenance["watched"]


def test_a_loss_that_is_not_finite_is_null() -> None:
    row = EpochResult(1e-3, 1, 2.0, 2.5, test_nll=math.inf)
    assert row.record() == {"rate": 1e-3, "epoch": 1, "validation_nll": 2.0, "training_nll": 2.5, "test_nll": None}


def test_watched_windows_are_checked() -> None:
    with pytest.raises(CorpusError, match="expected watched windows as"):
        made(make(), "qaft", WATCHED[:0])
