from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

from quant.center import Center, preserved
from quant.errors import PointError, UsageError
from quant.grid import channel_view
from quant.methods.block_stream import walk
from quant.methods.gptq import gptq
from quant.methods.layer_error import LayerHessians, layer_error, layer_errors
from quant.methods.options import GPTQOptions
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny
from tests.quant.calibration import ALL, codes_of, prepared, same, state
from tests.quant.methods.test_block_stream import recorded_inputs


@ALL
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group:7"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_infinite_damping_is_rtn(make: Callable[[], nn.Module], granularity: str, symmetric: bool) -> None:
    model, space, start = prepared(make, scale="absmax", granularity=granularity, symmetric=symmetric)
    point = gptq(model, space, start, tiny.windows(3), GPTQOptions(dampings=(1e12,)))
    assert same(codes_of(point), codes_of(start))
    assert all(torch.equal(point.parts[s.name].scale, start.parts[s.name].scale) for s in space)


@pytest.mark.parametrize("name", ["nvfp4", "fp8"])
def test_infinite_damping_is_rtn_in_a_float_format_and_a_small_one_is_better(name: str) -> None:
    """On GPT-2, whose matrices are stored (in, out): groups run down the columns."""
    model = tiny.gpt2()
    space = WeightSpace.of(model)
    start = rtn(space, Center.of(model, space), QuantScheme.of_format(name))
    still = gptq(model, space, start, tiny.windows(3), GPTQOptions(dampings=(1e12,)))
    assert same(codes_of(still), codes_of(start))
    point = gptq(model, space, start, tiny.windows(6), GPTQOptions(dampings=(0.01,)))
    assert point.name == f"gptq-{name}"
    assert not same(codes_of(point), codes_of(start))
    for slot in space:
        part = point.grid_tensor(slot)
        assert torch.equal(part.grid.scale, start.grid_tensor(slot).grid.scale)
        assert torch.equal(part.grid.encode(part.dequantize()).to(torch.int8), part.codes)
    layers = point.provenance["layers"].values()
    assert sum(layer["error"] for layer in layers) < sum(layer["rtn_error"] for layer in layers)


def test_conv1d_equals_the_transposed_linear() -> None:
    conv = tiny.gpt2().double()
    linear = copy.deepcopy(conv)
    for block in linear.transformer.h:
        for parent in (block.attn, block.mlp):
            for name in ("c_attn", "c_proj", "c_fc"):
                if hasattr(parent, name):
                    old = getattr(parent, name)
                    new = nn.Linear(*old.weight.shape, dtype=torch.float64)
                    new.weight.data, new.bias.data = old.weight.detach().T.contiguous(), old.bias.detach()
                    setattr(parent, name, new)
    for granularity in ("tensor", "channel"):
        a, b = (
            codes_of(gptq(*prepared(lambda m=m: m, granularity=granularity), tiny.windows(6))) for m in (conv, linear)
        )
        assert same({name: codes.T for name, codes in a.items()}, b)


@ALL
@pytest.mark.parametrize("inputs", ["quantized", "fp"])
def test_recorded_errors_are_those_of_the_calibration_inputs(make: Callable[[], nn.Module], inputs: str) -> None:
    """Block by block in the test: the model is quantized up to a block, run as a whole, and its inputs are recorded."""
    model, space, start = prepared(make)
    windows, center = tiny.windows(5), Center.of(model, space)
    point = gptq(model, space, start, windows, GPTQOptions(inputs=inputs))
    for block in range(2):
        if inputs == "quantized":
            parts = {s.name: point.tensor(s) if s.block < block else center.tensor(s) for s in space}
            space.write(model, WeightPoint("mixed", None, parts))
        with recorded_inputs(model, space) as xs, torch.no_grad():
            model(input_ids=windows)
        for slot in (s for s in space if s.block == block):
            record = point.provenance["layers"][slot.name]
            for key, quantized in (("error", point), ("rtn_error", start)):
                delta = (quantized.tensor(slot) - center.tensor(slot)).double()
                outputs = torch.cat(xs[slot.name]) @ (delta if slot.transposed else delta.T)
                assert record[key] == pytest.approx(float(outputs.square().sum()) / windows.numel(), rel=1e-3)


@ALL
def test_layers_mostly_get_better_than_rtn(make: Callable[[], nn.Module]) -> None:
    model, space, start = prepared(make)
    records = gptq(model, space, start, tiny.windows(8)).provenance["layers"].values()
    assert sum(r["error"] < r["rtn_error"] for r in records) >= 0.9 * len(space.slots)
    assert {r["chosen"] for r in records} == {"gptq"}


def test_inputs_agree_in_the_first_block_and_part_in_the_second() -> None:
    model, space, start = prepared(tiny.llama)
    a, b = (codes_of(gptq(model, space, start, tiny.windows(5), GPTQOptions(inputs=i))) for i in ("quantized", "fp"))
    assert all(torch.equal(a[s.name], b[s.name]) for s in space if s.block == 0)
    assert not all(torch.equal(a[s.name], b[s.name]) for s in space if s.block == 1)


def test_inputs_agree_for_a_model_of_one_block() -> None:
    config = copy.deepcopy(tiny.llama().config)
    config.num_hidden_layers = 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
    space, start = prepared(lambda: model)[1:]
    a, b = (gptq(model, space, start, tiny.windows(5), GPTQOptions(inputs=i)) for i in ("quantized", "fp"))
    assert same(codes_of(a), codes_of(b))
    assert a.provenance["layers"] == b.provenance["layers"]


def test_act_order_and_dampings_reach_the_solver() -> None:
    model, space, start = prepared(tiny.opt)
    run = partial(gptq, model, space, start, tiny.windows(5))
    plain = codes_of(run())
    assert not same(plain, codes_of(run(GPTQOptions(act_order=True))))
    assert not same(plain, codes_of(run(GPTQOptions(dampings=(10.0,)))))
    assert same(plain, codes_of(run(GPTQOptions(block_size=7))))


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_is_restored(make: Callable[[], nn.Module], dtype: torch.dtype) -> None:
    model, space, start = prepared(lambda: make().to(dtype))
    model.train()
    next(model.modules()).training = False
    next(model.parameters()).requires_grad_(False)
    before = state(model)
    first = gptq(model, space, start, tiny.windows(3))
    assert state(model) == before
    assert same(codes_of(first), codes_of(gptq(model, space, start, tiny.windows(3), center=Center.of(model, space))))
    assert state(model) == before

    def interrupt(done: int, total: int) -> None:
        assert not torch.equal(next(space.weights(model))[1], center.tensor(space.slots[0]))
        raise KeyboardInterrupt

    center = Center.of(model, space)
    with pytest.raises(KeyboardInterrupt):
        gptq(model, space, start, tiny.windows(3), progress=interrupt)
    assert state(model) == before


def test_progress_counts_blocks() -> None:
    calls: list[tuple[int, int]] = []
    gptq(*prepared(tiny.opt), tiny.windows(1), progress=lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]


def test_only_the_windows_matter() -> None:
    """Other windows of the same array, and what was run before, leave no trace; one other token does."""
    model, space, start = prepared(tiny.llama)
    data = tiny.windows(8)
    first = gptq(model, space, start, data[:4])
    data[4:] = 0
    gptq(model, space, start, data[4:])
    again = gptq(model, space, start, data[:4])
    data[0, 0] = (data[0, 0] + 1) % tiny.VOCABULARY
    other = gptq(model, space, start, data[:4])
    assert same(codes_of(first), codes_of(again))
    assert first.provenance == again.provenance
    assert not same(codes_of(first), codes_of(other))
    assert other.provenance["windows"]["sha256"] != first.provenance["windows"]["sha256"]


def test_provenance() -> None:
    model, space, start = prepared(tiny.gpt2)
    windows = tiny.windows(2)
    point = gptq(model, space, start, windows)
    record = point.provenance
    assert json.loads(json.dumps(record)) == record
    assert point.name == "gptq-int3-exact"
    sha256 = hashlib.sha256(windows.numpy().tobytes()).hexdigest()
    assert record["windows"] == {"sha256": sha256, "shape": [2, 12]}
    assert list(record["layers"]) == [s.name for s in space] == list(point.parts)
    assert record["options"]["dampings"] == [1e-3, 1e-2, 0.1, 1, 10, 100, 1e3, 1e4]
    assert record["rtn_chosen"] == 0
    assert {p.codes.dtype for p in point.parts.values()} == {torch.int8}
    assert all(
        p.codes.shape == s.shape and p.codes.is_contiguous() for s, p in zip(space, point.parts.values(), strict=True)
    )


def test_fp_errors_are_the_layer_errors() -> None:
    model, space, start = prepared(tiny.opt_350m)
    point = gptq(model, space, start, tiny.windows(4), GPTQOptions(inputs="fp"))
    recorded = {name: record["error"] for name, record in point.provenance["layers"].items()}
    assert recorded == pytest.approx(
        layer_errors(Center.of(model, space), {"": point}, walk(model, space, tiny.windows(4)))[""], rel=1e-5
    )


def test_collected_hessians_give_the_same_point() -> None:
    model, space, start = prepared(tiny.llama)
    options = GPTQOptions(inputs="fp")
    collected = LayerHessians.collect(model, space, tiny.windows(4))
    kept = [shared.hessian.clone() for shared in collected.shared]
    handle = model.register_forward_pre_hook(lambda *_: pytest.fail("the model ran again"))
    point = gptq(model, space, start, tiny.windows(4), options, hessians=collected)
    handle.remove()
    streamed = gptq(model, space, start, tiny.windows(4), options)
    assert same(codes_of(point), codes_of(streamed))
    assert point.provenance == streamed.provenance
    assert all(torch.equal(shared.hessian, old) for shared, old in zip(collected.shared, kept, strict=True))
    for windows, other in ((tiny.windows(5), options), (tiny.windows(4), GPTQOptions())):
        with pytest.raises(UsageError, match="expected collected Hessians of the same windows, with inputs='fp'"):
            gptq(model, space, start, windows, other, hessians=collected)


@ALL
def test_true_sequential_calibrates_on_already_quantized_matrices(make: Callable[[], nn.Module]) -> None:
    """The recorded errors are those of the inputs with every earlier matrix quantized, and no later one."""
    model, space, start = prepared(make)
    center = Center.of(model, space)
    point = gptq(model, space, start, tiny.windows(3), GPTQOptions(true_sequential=True))
    together = gptq(model, space, start, tiny.windows(3))
    groups = [shared.slots for shared in walk(model, space, tiny.windows(3))]
    for index, slots in enumerate(groups):
        with preserved(model, space, center), torch.no_grad():
            for slot in (slot for earlier in groups[:index] for slot in earlier):
                model.get_parameter(slot.name).copy_(point.tensor(slot))
            hessian = list(walk(model, space, tiny.windows(3)))[index].hessian
        for slot in slots:
            delta = channel_view(slot, point.tensor(slot) - center.tensor(slot))
            assert point.provenance["layers"][slot.name]["error"] == pytest.approx(
                layer_error(delta, hessian), rel=1e-4
            )
    first = groups[0][0].name
    assert torch.equal(codes_of(point)[first], codes_of(together)[first])
    assert not same(codes_of(point), codes_of(together))
    with pytest.raises(UsageError, match="true_sequential"):
        GPTQOptions(true_sequential=True, inputs="fp")


def test_rtn_as_a_candidate() -> None:
    """Next to no damping, on a grid so coarse that what is fed forward saturates: GPTQ loses some layers."""
    model, space, start = prepared(tiny.llama, bits=2)
    options = GPTQOptions(dampings=(1e-6,), inputs="fp")
    without = gptq(model, space, start, tiny.windows(3), options)
    point = gptq(model, space, start, tiny.windows(3), replace(options, rtn_candidate=True))
    lost = {name for name, r in without.provenance["layers"].items() if r["rtn_error"] < r["error"]}
    assert 0 < len(lost) < len(space.slots)
    assert without.provenance["rtn_chosen"] == 0
    assert point.provenance["rtn_chosen"] == len(lost)
    for name, record in point.provenance["layers"].items():
        assert record["chosen"] == ("rtn" if name in lost else "gptq")
        assert torch.equal(point.parts[name].codes, (start if name in lost else without).parts[name].codes)


def test_rejected_dampings_are_logged_and_recorded(caplog: pytest.LogCaptureFixture) -> None:
    """Two tokens cannot determine sixteen columns: without damping there is no Cholesky factor."""
    model, space, start = prepared(tiny.opt)
    before = state(model)
    with caplog.at_level(logging.WARNING, "quant.methods.gptq"):
        point = gptq(model, space, start, tiny.windows(1, length=2), GPTQOptions(dampings=(0.0, 0.1)))
    assert all(r["rejected"] == [0.0] for r in point.provenance["layers"].values())
    assert sum("damping 0 rejected" in message for message in caplog.messages) == len(space.slots)
    with pytest.raises(PointError, match=r"k_proj\.weight.*add calibration windows or larger dampings"):
        gptq(model, space, start, tiny.windows(1, length=2), GPTQOptions(dampings=(0.0,)))
    assert state(model) == before


def test_dead_inputs_are_counted() -> None:
    model = tiny.gpt2()
    with torch.no_grad():
        for parameter in (model.transformer.h[1].ln_1.weight, model.transformer.h[1].ln_1.bias):
            parameter[5] = 0
    space, start = prepared(lambda: model)[1:]
    point = gptq(model, space, start, tiny.windows(4))
    dead = {name: r["dead_columns"] for name, r in point.provenance["layers"].items() if r["dead_columns"]}
    name = "transformer.h.1.attn.c_attn.weight"
    assert dead == {name: 1}
    assert start.parts[name].codes[5].any()
    assert not point.parts[name].codes[5].any()


@pytest.mark.parametrize(
    "options",
    [{"dampings": ()}, {"dampings": (-1.0,)}, {"dampings": (float("nan"),)}, {"block_size": 0}, {"inputs": "exact"}],
)
def test_options_are_checked(options: dict) -> None:
    with pytest.raises(UsageError, match="expected"):
        GPTQOptions(**options)


def test_a_point_without_a_grid_is_refused() -> None:
    model, space, start = prepared(tiny.opt)
    floats = WeightPoint("w_ft", None, {s.name: start.tensor(s) for s in space})
    for point in (floats, replace(floats, scheme=start.scheme), replace(start, parts={})):
        with pytest.raises(PointError, match="expected"):
            gptq(model, space, point, tiny.windows(1))
