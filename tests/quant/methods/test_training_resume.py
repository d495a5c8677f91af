from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from quant.methods.options import TrainingOptions
from quant.methods.qaft import finetune, qaft
from quant.point import WeightPoint
from tests.quant.finetuning import INT4, OTHER, TRAIN, Setting, contents, make, run, state_of

TWO_RATES = TrainingOptions(rates=(3e-3, 1e-2), epochs=3)


class Killed(BaseException):
    pass


class Killer:
    """A progress callback that notes its calls and ends the run at a step."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.calls: list[int] = []

    def __call__(self, done: int, total: int) -> None:
        self.calls.append(done)
        assert total == 24
        if done == self.at:
            raise Killed


def go(at: Setting, method: str, progress: Killer, folder: Path | None) -> WeightPoint:
    if method == "qaft":
        return run(at, TWO_RATES, OTHER, progress=progress, folder=folder)
    return finetune(at.model, at.space, TRAIN, OTHER, TWO_RATES, progress=progress, folder=folder)


@functools.cache
def uninterrupted(method: str) -> WeightPoint:
    return go(make("opt"), method, Killer(), None)


@pytest.mark.parametrize("method", ["qaft", "w_ft"])
@pytest.mark.parametrize(("at_step", "resumed"), [(3, 1), (6, 5), (12, 9), (13, 13), (22, 21)])
def test_killed_and_resumed_is_the_same_to_the_bit(tmp_path: Path, method: str, at_step: int, resumed: int) -> None:
    """2 rates × 3 epochs × 4 windows: killed before the first, in the middle of and between epochs and rates."""
    at = make("opt")
    before = state_of(at.model)
    with pytest.raises(Killed):
        go(at, method, Killer(at_step), tmp_path)
    assert state_of(at.model) == before
    rest = Killer()
    point = go(at, method, rest, tmp_path)
    assert rest.calls == list(range(resumed, 25))
    assert contents(point, at.space) == contents(uninterrupted(method), at.space)
    assert point.provenance == uninterrupted(method).provenance
    assert list(tmp_path.iterdir()) == []


def test_learned_scales_survive_an_interruption(tmp_path: Path) -> None:
    at = make()
    options = TrainingOptions(rates=(1e-2, 1e-3), epochs=2, learn_scale=True)
    whole = run(at, options)

    def interrupt(done: int, total: int) -> None:
        if done == 2 * len(TRAIN) - 1:  # the first epoch is in the state
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(at, options, folder=tmp_path, progress=interrupt)
    assert len(list(tmp_path.iterdir())) == 1
    resumed = run(at, options, folder=tmp_path)
    assert contents(resumed, at.space) == contents(whole, at.space)
    assert resumed.provenance == whole.provenance


def test_the_state_of_another_run_is_not_taken(tmp_path: Path) -> None:
    """Every input that changes the outcome changes the state's name: each run but the last starts at step 1."""
    at = make()
    with pytest.raises(Killed):
        run(at, TWO_RATES, OTHER, progress=Killer(9), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1

    def first_step(at: Setting, options: TrainingOptions, training: Tensor, validation: Tensor) -> int:
        first: list[int] = []

        def note(done: int, total: int) -> None:
            first.append(done)
            raise Killed

        with pytest.raises(Killed):
            qaft(at.model, at.space, at.start, training, validation, options, progress=note, folder=tmp_path)
        return first[0]

    assert first_step(at, TrainingOptions(rates=(3e-3, 1e-2), epochs=3, seed=1), TRAIN, OTHER) == 1
    assert first_step(at, TrainingOptions(rates=(3e-3, 2e-2), epochs=3), TRAIN, OTHER) == 1
    assert first_step(at, TrainingOptions(rates=(3e-3, 1e-2), epochs=3, ste="masked"), TRAIN, OTHER) == 1
    assert first_step(at, TWO_RATES, TRAIN.flip(0), OTHER) == 1
    assert first_step(at, TWO_RATES, TRAIN, OTHER.flip(0)) == 1
    assert first_step(make(scheme=INT4), TWO_RATES, TRAIN, OTHER) == 1
    outside = make()
    with torch.no_grad():
        outside.model.model.norm.weight[0] += 1e-3
    assert first_step(outside, TWO_RATES, TRAIN, OTHER) == 1
    assert first_step(at, TWO_RATES, TRAIN, OTHER) == 9


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flipped(path: Path) -> None:
    """One bit of the last number, an exponent's."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_cut_short, _flipped])
def test_a_damaged_state_is_none(damage: Callable[[Path], None], tmp_path: Path) -> None:
    at = make()
    options = TrainingOptions(rates=(3e-3, 1e-2), epochs=3)
    whole = run(at, options)
    with pytest.raises(Killed):
        run(at, options, progress=Killer(6), folder=tmp_path)
    (state,) = tmp_path.iterdir()
    damage(state)
    with pytest.warns(UserWarning, match=f"{state.name} is damaged.*again"):
        again = run(at, options, folder=tmp_path)
    assert again.provenance["curve"] == whole.provenance["curve"]
