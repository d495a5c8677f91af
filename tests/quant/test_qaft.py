import functools
import inspect
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from quant.architecture import decoder_blocks
from quant.center import Center
from quant.errors import CorpusError, PointError, StoreError, UsageError
from quant.gptq import gptq
from quant.grid import GridTensor, QuantScheme, StraightThrough, fake_quantize
from quant.hashing import token_hash
from quant.nll import mean_nll, window_nll
from quant.point import WeightPoint
from quant.qaft import finetune, qaft
from quant.rtn import rtn
from quant.space import Slot, WeightSpace
from quant.training import TrainingOptions, run_training, window_order
from tests.tiny import ARCHITECTURES, windows

TRAIN, OTHER = windows(4), windows(3, seed=1)
INT2, INT4 = QuantScheme(2), QuantScheme(4)


@dataclass
class Setting:
    model: nn.Module
    space: WeightSpace
    start: WeightPoint


def make(name: str = "llama", scheme: QuantScheme = INT2, dtype: torch.dtype = torch.float32) -> Setting:
    """A tiny model whose matrices are ten times transformers' initial ones: else its output hardly depends on them."""
    model = ARCHITECTURES[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(10 if parameter.ndim == 2 else 1)
    model = model.to(dtype)
    space = WeightSpace.of(model)
    return Setting(model, space, rtn(space, Center.of(model, space), scheme))


def run(at: Setting, options: TrainingOptions, validation: Tensor = TRAIN, **more: object) -> WeightPoint:
    return qaft(at.model, at.space, at.start, TRAIN, validation, options, **more)


def contents(point: WeightPoint, space: WeightSpace) -> list[bytes]:
    return [point.tensor(slot).contiguous().numpy().tobytes() for slot in space]


def state_of(model: nn.Module) -> dict[str, bytes]:
    return {n: t.detach().view(torch.uint8).numpy().tobytes() for n, t in model.state_dict().items()}


def nll_of(at: Setting, point: WeightPoint, tokens: Tensor) -> float:
    at.space.write(at.model, point)
    return mean_nll([window_nll(at.model, window) for window in tokens])


@pytest.mark.parametrize("scheme", [INT2, INT4, QuantScheme(8), QuantScheme(3, "absmax", "channel")], ids=str)
def test_a_rate_of_zero_gives_rtn_to_the_bit(scheme: QuantScheme) -> None:
    at = make("gpt2", scheme)
    point = run(at, TrainingOptions(rates=(0.0,), epochs=2))
    for slot in at.space:
        assert torch.equal(point.parts[slot.name].codes, at.start.parts[slot.name].codes)
        assert torch.equal(point.parts[slot.name].scale, at.start.parts[slot.name].scale)
    curve = [row["validation_nll"] for row in point.provenance["curve"]]
    assert curve == [nll_of(at, at.start, TRAIN)] * 3
    assert point.provenance["chosen"]["epoch"] == 0


@pytest.mark.parametrize("ste", ["identity", "masked"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_result_lies_on_rtns_grid_and_nothing_else_moves(name: str, ste: StraightThrough) -> None:
    at = make(name)
    before = state_of(at.model)
    at.model.train()
    point = run(at, TrainingOptions(rates=(3e-3,), epochs=3, ste=ste))
    assert state_of(at.model) == before
    assert at.model.training
    assert all(p.requires_grad and p.grad is None for p in at.model.parameters())
    assert (point.method, point.scheme, point.provenance["chosen"]["epoch"] > 0) == ("qaft", INT2, True)
    changed = 0
    for slot in at.space:
        part, origin = point.parts[slot.name], at.start.parts[slot.name]
        assert isinstance(part, GridTensor)
        assert isinstance(origin, GridTensor)
        assert part.codes.dtype == torch.int8
        assert set(part.codes.unique().tolist()) <= {-1, 0, 1}
        assert torch.equal(part.scale, origin.scale)
        changed += int((part.codes != origin.codes).sum())
    assert changed > 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_overfits_a_tiny_batch(name: str) -> None:
    at = make(name)
    point = run(at, TrainingOptions(rates=(1e-2,), epochs=10))
    assert nll_of(at, point, TRAIN) < nll_of(at, at.start, TRAIN) - 0.15


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_from_gptq_the_masters_start_at_its_weights(name: str) -> None:
    at = make(name)
    start = gptq(at.model, at.space, at.start, TRAIN)
    assert contents(start, at.space) != contents(at.start, at.space)
    still = qaft(at.model, at.space, start, TRAIN, TRAIN, TrainingOptions(rates=(0.0,), epochs=1))
    assert (still.method, contents(still, at.space)) == ("qaft-from-gptq", contents(start, at.space))
    assert still.provenance["start"] == start.fingerprint(at.space)
    # One step of Adam moves every master by the rate at most: not one leaves the middle of its cell.
    steps = [part.scale.max() for part in at.start.parts.values() if isinstance(part, GridTensor)]
    small = TrainingOptions(rates=(0.4 * float(min(steps)),), epochs=1)
    kept = qaft(at.model, at.space, start, TRAIN[:1], TRAIN[:1], small)
    from_w = qaft(at.model, at.space, at.start, TRAIN[:1], TRAIN[:1], small)
    assert contents(kept, at.space) == contents(start, at.space)
    assert contents(from_w, at.space) != contents(at.start, at.space)
    moved = qaft(at.model, at.space, start, TRAIN, TRAIN, TrainingOptions(rates=(1e-2,), epochs=10))
    assert nll_of(at, moved, TRAIN) < nll_of(at, start, TRAIN) - 0.1


@pytest.mark.parametrize("scheme", [INT2, QuantScheme(3, "absmax", "group:7", symmetric=False)], ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_learned_scales_move_and_stay_those_of_the_point(name: str, scheme: QuantScheme) -> None:
    at = make(name, scheme)
    fixed, learning = (TrainingOptions(rates=(1e-2,), epochs=8, learn_scale=learn) for learn in (False, True))
    point, plain = run(at, learning), run(at, fixed)
    assert (point.method, point.provenance["chosen"]["epoch"] > 0) == ("qaft-lsq", True)
    for slot in at.space:
        part, start = point.parts[slot.name], at.start.parts[slot.name]
        assert isinstance(part, GridTensor)
        assert part.scale.shape == start.scale.shape
        factor = (part.scale / start.scale).log().abs()
        assert 0 < float(factor.max()) <= 8 * len(TRAIN) * 1e-2  # Adam moves a logarithm by the rate at most
    nll = nll_of(at, point, TRAIN)
    assert nll == pytest.approx(point.provenance["chosen"]["validation_nll"], rel=1e-6)
    assert nll < nll_of(at, at.start, TRAIN)
    assert contents(point, at.space) != contents(plain, at.space)
    still = run(at, replace(learning, rates=(0.0,), epochs=1))
    assert contents(still, at.space) == contents(at.start, at.space)


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


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_finetune_improves_on_w_and_leaves_the_model_alone(name: str) -> None:
    at = make(name)
    before, w = state_of(at.model), Center.of(at.model, at.space)
    point = finetune(at.model, at.space, TRAIN, TRAIN, TrainingOptions(rates=(3e-3,), epochs=6))
    assert state_of(at.model) == before
    assert (point.method, point.scheme, point.name) == ("w_ft", None, "w_ft")
    assert all(point.tensor(slot).dtype == torch.float32 for slot in at.space)
    at.space.write(at.model, w)
    start = mean_nll([window_nll(at.model, window) for window in TRAIN])
    assert nll_of(at, point, TRAIN) < start - 0.1


@dataclass(frozen=True)
class Recorded:
    """A parametrization that keeps the masters themselves, so that a test can look at them."""

    start: WeightPoint
    ste: StraightThrough = "identity"
    extra: dict[str, Tensor] = field(default_factory=dict)

    def weight(self, slot: Slot, master: Tensor) -> Tensor:
        part = self.start.parts[slot.name]
        assert isinstance(part, GridTensor)
        return fake_quantize(master, part.grid, self.ste)

    def kept(self, slot: Slot, master: Tensor) -> Tensor:
        return master.clone()


def reference_masters(at: Setting, window: Tensor, rates: list[float], masked: bool) -> dict[str, Tensor]:
    """QAFT at int2 by the formulas: the chain rule through Q written out, Adam (Kingma & Ba 2015) in float64."""
    masters = {s.name: p.detach().double() for s, p in at.space.parameters(at.model)}
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
    for slot, parameter in at.space.parameters(at.model):
        weight = parameter.detach()
        saturated = (weight / at.start.parts[slot.name].scale).abs() > 1.5 + 1e-6
        shifted = result.kept[slot.name] != weight
        assert int(saturated.sum()) > 0
        assert float(shifted[saturated].double().mean()) == (pytest.approx(1, abs=0.05) if moves else 0)
        assert float(shifted[~saturated].double().mean()) > 0.9


def test_the_chosen_estimator_is_the_one_used() -> None:
    """The rate is high, for a saturated weight must cross a whole step of the grid before its code changes."""
    at = make()
    identity, masked = (run(at, TrainingOptions(rates=(1e-1,), epochs=2, ste=ste)) for ste in ("identity", "masked"))
    assert identity.provenance["curve"][0] == masked.provenance["curve"][0]
    assert identity.provenance["curve"][2] != masked.provenance["curve"][2]


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


def test_only_the_space_trains() -> None:
    at = make("gpt2")
    inside = {slot.name for slot in at.space}
    seen = []

    def look(done: int, total: int) -> None:
        seen.append({name for name, p in at.model.named_parameters() if p.requires_grad} == inside)
        assert not any(module.training for module in at.model.modules())

    run(at, TrainingOptions(rates=(1e-3,), epochs=1), progress=look)
    assert seen == [True] * 4


def test_provenance_is_strict_json_and_tells_the_data() -> None:
    at = make()
    options = TrainingOptions(rates=(1e-3,), epochs=1, seed=3)
    point = run(at, options, OTHER)
    record = json.loads(json.dumps(point.provenance, allow_nan=False))
    assert record["options"] == {
        "rates": [1e-3], "epochs": 1, "ste": "identity", "seed": 3, "learn_scale": False, "checkpointing": False,
    }  # fmt: skip
    assert record["data"]["train"] == {"sha256": token_hash(TRAIN), "shape": [4, 12]}
    assert record["data"]["validation"]["sha256"] == token_hash(OTHER) != token_hash(TRAIN)
    assert record["start"] == at.start.fingerprint(at.space)
    assert [sorted(row) for row in record["curve"]] == [["epoch", "rate", "training_nll", "validation_nll"]] * 2
    free = finetune(at.model, at.space, TRAIN, OTHER, options)
    assert json.loads(json.dumps(free.provenance, allow_nan=False))["options"] == {
        "rates": [1e-3], "epochs": 1, "seed": 3, "checkpointing": False,
    }  # fmt: skip


def test_training_nll_is_the_mean_over_steps_before_their_updates() -> None:
    at = make()
    point = run(at, TrainingOptions(rates=(0.0,), epochs=1), OTHER)
    assert point.provenance["curve"][1]["training_nll"] == pytest.approx(nll_of(at, at.start, TRAIN), abs=1e-6)


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


def test_the_state_of_another_run_is_not_taken(tmp_path: Path) -> None:
    """Whatever changes the outcome changes the state's name: each run below but the last starts at step 1."""
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


def test_an_unreadable_state_is_an_error(tmp_path: Path) -> None:
    at = make()
    options = TrainingOptions(rates=(3e-3, 1e-2), epochs=3)
    with pytest.raises(Killed):
        run(at, options, progress=Killer(6), folder=tmp_path)
    (state,) = tmp_path.iterdir()
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(StoreError, match="delete it"):
        run(at, options, folder=tmp_path)


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


def test_start_must_be_rtn_of_this_model() -> None:
    at = make()
    options = TrainingOptions(rates=(1e-3,), epochs=1)
    floats = WeightPoint("w_ft", None, {s.name: p.detach() for s, p in at.space.parameters(at.model)})
    other = rtn(at.space, Center.of(ARCHITECTURES["llama"](1), at.space), INT2)
    missing = WeightPoint("rtn", INT2, {})
    for start, message in ((floats, "on a grid"), (other, "weights rounded"), (missing, "got nothing")):
        with pytest.raises(PointError, match=message):
            qaft(at.model, at.space, start, TRAIN, TRAIN, options)


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
