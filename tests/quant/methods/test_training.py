from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from quant.architecture import decoder_blocks
from quant.center import Center
from quant.errors import CorpusError, UsageError
from quant.methods.options import TrainingOptions
from quant.methods.qaft import finetune
from quant.methods.training import run_training, window_order
from quant.scheme import StraightThrough
from quant.space import Slot
from tests.quant.finetuning import INT2, OTHER, TRAIN, Recorded, Setting, contents, make, nll_of, run, state_of
from tests.tiny import ARCHITECTURES


def reference_masters(at: Setting, window: Tensor, rates: list[float], masked: bool) -> dict[str, Tensor]:
    """QAFT at int2 by the formulas: the chain rule through Q written out, Adam (Kingma & Ba 2015) in float64."""
    masters = {s.name: p.detach().double() for s, p in at.space.weights(at.model)}
    first = {name: torch.zeros_like(m) for name, m in masters.items()}
    second = {name: torch.zeros_like(m) for name, m in masters.items()}
    rest = {n: p.detach() for n, p in at.model.named_parameters() if n not in masters}
    for step, rate in enumerate(rates, start=1):
        weights, saturated = {}, {}
        for name, master in masters.items():
            ratio = master.float() / at.start.parts[name].scale
            weights[name] = (ratio.round().clamp(-1, 1) * at.start.parts[name].scale).requires_grad_()
            saturated[name] = ratio.round().abs() > 1
        logits = functional_call(at.model, {**rest, **weights}, (window[None],), {"use_cache": False}).logits[0, :-1]
        loss = -logits.log_softmax(-1).gather(1, window[1:, None]).mean()
        for name, upstream in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
            gradient = upstream.double() * ~saturated[name] if masked else upstream.double()
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
            masters[name] = masters[name] - rate * mean / (square.sqrt() + 1e-8)
    return masters


@pytest.mark.parametrize("ste", ["identity", "masked"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_steps_equal_a_reference_written_by_hand(name: str, ste: StraightThrough) -> None:
    at = make(name)
    window, w = TRAIN[:1], Center.of(at.model, at.space)
    rate = 4e-3
    for epochs, rates in ((1, [rate]), (3, [rate, 0.55 * rate, 0.1 * rate])):
        expected = reference_masters(at, window[0], rates, ste == "masked")
        options = TrainingOptions(rates=(rate,), epochs=epochs)
        result = run_training(at.model, at.space, Recorded(at.start, ste), window, window, options)
        assert result.chosen.epoch == epochs
        for slot in at.space:
            difference = (result.kept[slot.name].double() - expected[slot.name]).abs()
            # Where a gradient is at the noise of float32, Adam's first steps (rate × its sign) are noise as well.
            assert float((difference > 1e-3 * rate).double().mean()) < 0.01
            assert float((result.kept[slot.name] - w.tensor(slot)).abs().max()) <= sum(rates) * 1.01


@pytest.mark.parametrize(("ste", "moves"), [("identity", True), ("masked", False)])
def test_saturated_weights_learn_only_with_identity(ste: StraightThrough, moves: bool) -> None:
    at = make()
    options = TrainingOptions(rates=(1e-3,), epochs=2)
    result = run_training(at.model, at.space, Recorded(at.start, ste), TRAIN, TRAIN, options)
    assert result.chosen.epoch > 0
    for slot, parameter in at.space.weights(at.model):
        weight = parameter.detach()
        saturated = (weight / at.start.parts[slot.name].scale).abs() > 1.5 + 1e-6
        shifted = result.kept[slot.name] != weight
        assert int(saturated.sum()) > 0
        assert float(shifted[saturated].double().mean()) == (pytest.approx(1, abs=0.05) if moves else 0)
        assert float(shifted[~saturated].double().mean()) > 0.9


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_checkpointing_computes_activations_twice_and_changes_nothing(name: str) -> None:
    at = make(name)
    block = decoder_blocks(at.model)[1][0]
    calls: list[int] = []
    next(m for m in block.modules() if not list(m.children())).register_forward_hook(lambda *_: calls.append(1))
    plain = run(at, TrainingOptions(rates=(3e-3,), epochs=2))
    once = len(calls)
    again = run(at, TrainingOptions(rates=(3e-3,), epochs=2, checkpointing=True))
    assert len(calls) == 2 * once + 2 * len(TRAIN)
    assert contents(again, at.space) == contents(plain, at.space)
    assert again.provenance["curve"] == plain.provenance["curve"]
    assert "forward" not in vars(block)


def test_only_the_space_trains() -> None:
    at = make("gpt2")
    inside = {slot.name for slot in at.space}
    seen = []

    def look(done: int, total: int) -> None:
        seen.append({name for name, p in at.model.named_parameters() if p.requires_grad} == inside)
        assert not any(module.training for module in at.model.modules())

    run(at, TrainingOptions(rates=(1e-3,), epochs=1), progress=look)
    assert seen == [True] * 4


def seen_windows(at: Setting, method: str, seed: int) -> list[tuple[int, ...]]:
    """The training windows in the order in which the model's forward meets them with gradients on."""
    seen: list[tuple[int, ...]] = []

    def note(module: nn.Module, args: tuple, kwargs: dict) -> None:
        if torch.is_grad_enabled():
            seen.extend(tuple(row) for row in kwargs["input_ids"].tolist())

    handle = at.model.register_forward_pre_hook(note, with_kwargs=True)
    options = TrainingOptions(rates=(1e-3, 1e-2), epochs=2, seed=seed)
    if method == "qaft":
        run(at, options)
    else:
        finetune(at.model, at.space, TRAIN, TRAIN, options)
    handle.remove()
    return seen


def test_every_epoch_sees_every_window_once_in_an_order_of_its_own() -> None:
    at = make()
    seen = seen_windows(at, "qaft", 0)
    epochs = [seen[i : i + 4] for i in range(0, 16, 4)]
    assert len(seen) == 16
    assert all(sorted(epoch) == sorted(tuple(row) for row in TRAIN.tolist()) for epoch in epochs)
    assert epochs[:2] == epochs[2:]  # the same for each rate
    assert epochs[0] != epochs[1]
    assert seen_windows(at, "w_ft", 0) == seen
    assert seen_windows(at, "qaft", 1) != seen
    assert len({tuple(window_order(seed, epoch, 50)) for seed in range(5) for epoch in range(5)}) == 25


def test_same_result_again_and_no_global_randomness() -> None:
    at = make("gpt2")
    options = TrainingOptions(rates=(1e-3, 1e-2), epochs=2)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tobytes()
    first = run(at, options, OTHER)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tobytes() == numpy_state
    torch.manual_seed(17)
    with torch.no_grad():
        second = run(at, options, OTHER)
    assert contents(first, at.space) == contents(second, at.space)
    assert first.provenance == second.provenance


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_have_float32_masters(dtype: torch.dtype) -> None:
    at = make("llama", INT2, dtype)
    before = state_of(at.model)
    options = TrainingOptions(rates=(1e-3,), epochs=4)
    free = finetune(at.model, at.space, TRAIN, TRAIN, options)
    assert free.provenance["chosen"]["epoch"] > 0
    for slot in at.space:
        weight = free.tensor(slot)
        assert weight.dtype == torch.float32
        assert float((weight != weight.to(dtype).float()).double().mean()) > 0.5
    point = run(at, TrainingOptions(rates=(1e-2,), epochs=8))
    assert state_of(at.model) == before
    assert all(p.dtype == dtype for p in at.model.parameters())
    nll = nll_of(at, point, TRAIN)
    assert nll == point.provenance["chosen"]["validation_nll"]
    assert nll < nll_of(at, at.start, TRAIN) - 0.05


def test_small_steps_add_up_in_half_precision() -> None:
    """Steps far below bfloat16's spacing of the weights: they vanish unless the masters are float32."""
    at = make("llama", INT2, torch.bfloat16)
    options = TrainingOptions(rates=(1e-6,), epochs=4)

    class Fine:
        extra: dict[str, Tensor] = {}  # noqa: RUF012
        weight = staticmethod(lambda slot, master: master)
        kept = staticmethod(lambda slot, master: master.clone())

    w = Center.of(at.model, at.space)
    masters: list[Tensor] = []

    class Watched(Fine):
        @staticmethod
        def weight(slot: Slot, master: Tensor) -> Tensor:
            if slot == at.space.slots[0]:
                masters.append(master.detach().clone())
            return master

    run_training(at.model, at.space, Watched(), TRAIN, TRAIN, options)
    moved = (masters[-1] - w.tensor(at.space.slots[0]).float()).abs()
    assert 1e-6 < float(moved.median()) < 2e-5


@pytest.mark.parametrize(
    "wrong", [TRAIN[0], TRAIN[:0], TRAIN[:, :1], TRAIN.float()], ids=["1-D", "empty", "short", "floats"]
)
def test_windows_are_checked(wrong: Tensor) -> None:
    at = make()
    options = TrainingOptions(rates=(1e-3,), epochs=1)
    with pytest.raises(CorpusError, match="training windows"):
        finetune(at.model, at.space, wrong, TRAIN, options)
    with pytest.raises(CorpusError, match="validation windows"):
        finetune(at.model, at.space, TRAIN, wrong, options)


@pytest.mark.parametrize(
    "wrong",
    [{"rates": ()}, {"rates": (-1e-3,)}, {"rates": (math.inf,)}, {"epochs": 0}, {"seed": -1}, {"ste": "no"}],
)
def test_options_are_checked(wrong: dict) -> None:
    with pytest.raises(UsageError, match="expected"):
        TrainingOptions(**wrong)


def test_paper_defaults() -> None:
    assert TrainingOptions() == TrainingOptions((1e-6, 1e-5, 1e-4, 1e-3), 8, "identity", 0, False, False)
