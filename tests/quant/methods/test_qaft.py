from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from quant.center import Center
from quant.errors import PointError, UsageError
from quant.grid import GridTensor
from quant.hashing import token_hash
from quant.methods.gptq import gptq
from quant.methods.options import TrainingOptions
from quant.methods.qaft import finetune, qaft
from quant.methods.rtn import rtn
from quant.nll import mean_nll, window_nll
from quant.point import WeightPoint
from quant.scheme import QuantScheme, StraightThrough
from tests.quant.finetuning import INT2, INT4, OTHER, TRAIN, contents, make, nll_of, run, state_of
from tests.tiny import ARCHITECTURES

FLOATS = (QuantScheme.of_format("nvfp4"), QuantScheme.of_format("fp8"))
"""Float formats whose groups fit the 16 and 64 inputs of the tiny GPT-2."""


@pytest.mark.parametrize("scheme", [INT2, INT4, QuantScheme(8), QuantScheme(3, "absmax", "channel"), *FLOATS], ids=str)
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


@pytest.mark.parametrize("ste", ["identity", "masked"])
@pytest.mark.parametrize("scheme", FLOATS, ids=str)
def test_result_lies_on_the_grid_of_a_float_format(scheme: QuantScheme, ste: StraightThrough) -> None:
    at = make("gpt2", scheme)
    point = run(at, TrainingOptions(rates=(3e-3,), epochs=3, ste=ste))
    assert point.provenance["chosen"]["epoch"] > 0
    levels = {0.5 * code for code in (0, 1, 2, 3, 4, 6, 8, 12)}
    for slot in at.space:
        part, origin = point.grid_tensor(slot), at.start.grid_tensor(slot)
        assert torch.equal(part.scale, origin.scale)
        assert not torch.equal(part.codes, origin.codes)
        multiples = (point.tensor(slot) / part.grid.steps(part.codes)).abs() * part.grid.codebook.widest
        if scheme.format == "nvfp4":
            assert set(multiples.mul(2).round().div(2).unique().tolist()) <= levels
        nearest = multiples.to(torch.float8_e4m3fn).float()  # levels of E2M1 are numbers of E4M3 too
        torch.testing.assert_close(multiples, nearest, rtol=1e-6, atol=0)


def test_scales_that_a_float_format_cannot_store_are_not_learned() -> None:
    at = make("gpt2", QuantScheme.of_format("nvfp4"))
    with pytest.raises(UsageError, match="expected an integer grid or fp8 with learned scales, got nvfp4"):
        run(at, TrainingOptions(learn_scale=True))
    learned = run(
        make("gpt2", QuantScheme.of_format("fp8")), TrainingOptions(rates=(1e-3,), epochs=1, learn_scale=True)
    )
    assert (learned.method, str(learned.scheme)) == ("qaft-lsq", "fp8")


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


def test_the_chosen_estimator_is_the_one_used() -> None:
    """The rate is high, for a saturated weight must cross a whole step of the grid before its code changes."""
    at = make()
    identity, masked = (run(at, TrainingOptions(rates=(1e-1,), epochs=2, ste=ste)) for ste in ("identity", "masked"))
    assert identity.provenance["curve"][0] == masked.provenance["curve"][0]
    assert identity.provenance["curve"][2] != masked.provenance["curve"][2]


def test_provenance_is_strict_json_with_hashes_of_the_data() -> None:
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
    assert [sorted(row) for row in record["curve"]] == [
        ["epoch", "rate", "test_nll", "training_nll", "validation_nll"]
    ] * 2
    free = finetune(at.model, at.space, TRAIN, OTHER, options)
    assert json.loads(json.dumps(free.provenance, allow_nan=False))["options"] == {
        "rates": [1e-3], "epochs": 1, "seed": 3, "checkpointing": False,
    }  # fmt: skip


def test_start_must_be_rtn_of_this_model() -> None:
    at = make()
    options = TrainingOptions(rates=(1e-3,), epochs=1)
    floats = WeightPoint("w_ft", None, {s.name: p.detach() for s, p in at.space.weights(at.model)})
    other = rtn(at.space, Center.of(ARCHITECTURES["llama"](1), at.space), INT2)
    missing = WeightPoint("rtn", INT2, {})
    for start, message in ((floats, "on a grid"), (other, "weights rounded"), (missing, "got nothing")):
        with pytest.raises(PointError, match=message):
            qaft(at.model, at.space, start, TRAIN, TRAIN, options)
