from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from quant.center import Center
from quant.errors import PointError, UsageError
from quant.methods.awq import awq, channel_scales
from quant.methods.block_stream import walk
from quant.methods.layer_error import layer_errors
from quant.methods.options import AWQOptions
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny
from tests.quant.calibration import ALL, state
from tests.quant.methods.test_block_stream import recorded_inputs

INPUTS = pytest.mark.parametrize("inputs", ["quantized", "fp"])
SCHEME = QuantScheme(3)


def salient(make: Callable[[], nn.Module]) -> nn.Module:
    """With input channels of very different size, as large models have them: random weights give α no work."""
    model, generator = make(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and ("norm" in name or "ln_" in name) and name.endswith("weight"):
                parameter.mul_(torch.exp(torch.randn(parameter.shape, generator=generator)))
    return model


def reference(weights: list[Tensor], x: Tensor, qmax: int, alphas: list[float]) -> tuple[float, list[Tensor]]:
    """α and the folded weights, (out, in), by running every candidate on the activations (tokens, in); absmax scale."""
    best = None
    for alpha in alphas:
        s = x.abs().mean(0) ** alpha
        s = s / torch.sqrt(s.max() * s.min())
        folded = []
        for w in weights:
            step = (w * s).abs().max() / qmax
            folded.append((w * s / step).round().clamp(-qmax, qmax) * step / s)
        error = sum(float(((q - w) @ x.T).square().sum()) for q, w in zip(folded, weights, strict=True))
        if best is None or error < best[0]:
            best = error, alpha, folded
    assert best is not None
    return best[1:]


def groups(space: WeightSpace, block: int, xs: dict[str, list[Tensor]]) -> list[list]:
    """The block's matrices that read equal inputs."""
    found: list[list] = []
    for slot in (s for s in space if s.block == block):
        for group in found:
            if torch.equal(torch.cat(xs[group[0].name]), torch.cat(xs[slot.name])):
                group.append(slot)
                break
        else:
            found.append([slot])
    return found


@ALL
@INPUTS
def test_equals_the_naive_search_on_activations(make: Callable[[], nn.Module], inputs: str) -> None:
    """In float64, block by block: the model holds what the reference made of the blocks before, and is run as a whole.

    Here the errors are sums over recorded activations, there traces with a Hessian. Weights agree to float32's rounding
    of W·s and of its scale; a code that differed would show as a whole step, a thousand times more.
    """
    model = salient(make).double()
    space, windows = WeightSpace.of(model), tiny.windows(5)
    center, options = Center.of(model, space), AWQOptions(inputs=inputs)
    point = awq(model, space, center, QuantScheme(3, "absmax"), windows, options)
    expected, chosen = dict(center.weights), set()
    for block in range(2):
        if inputs == "quantized":
            space.write(model, WeightPoint("mixed", None, expected))
        with recorded_inputs(model, space) as xs, torch.no_grad():
            model(input_ids=windows)
        for slots in groups(space, block, xs):
            x = torch.cat(xs[slots[0].name])
            ws = [w.T if s.transposed else w for s in slots for w in [center.tensor(s)]]
            alpha, folded = reference(ws, x, 3, [k / 20 for k in range(20)])
            chosen.add(alpha)
            for slot, w, q in zip(slots, ws, folded, strict=True):
                record = point.provenance["layers"][slot.name]
                assert (record["alpha"], record["group"]) == (alpha, slots[0].name)
                assert record["error"] == pytest.approx(float(((q - w) @ x.T).square().sum()) / len(x), rel=1e-4)
                expected[slot.name] = q.T if slot.transposed else q
                torch.testing.assert_close(point.tensor(slot).double(), expected[slot.name], rtol=1e-5, atol=1e-8)
    assert len(chosen) > 2  # else any fixed α would pass


@ALL
@INPUTS
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_alpha_zero_is_rtn(make: Callable[[], nn.Module], inputs: str, granularity: str) -> None:
    model, scheme = salient(make), QuantScheme(3, granularity=granularity)
    space = WeightSpace.of(model)
    start = rtn(space, Center.of(model, space), scheme)
    point = awq(model, space, None, scheme, tiny.windows(3), AWQOptions((0.0,), inputs))
    assert all(torch.equal(point.tensor(slot), start.tensor(slot)) for slot in space)
    assert all(record["error"] == record["rtn_error"] for record in point.provenance["layers"].values())


@ALL
def test_fp_errors_are_the_layer_errors_and_below_rtns(make: Callable[[], nn.Module]) -> None:
    model, windows = salient(make), tiny.windows(4)
    space = WeightSpace.of(model)
    point = awq(model, space, None, SCHEME, windows, AWQOptions(inputs="fp"))
    records = point.provenance["layers"]
    w = Center.of(model, space)
    start = rtn(space, w, SCHEME)
    for key, other in (("error", point), ("rtn_error", start)):
        recorded = {name: record[key] for name, record in records.items()}
        assert recorded == pytest.approx(layer_errors(w, {"": other}, walk(model, space, windows))[""], rel=1e-5)
    better = 0
    for group in {record["group"] for record in records.values()}:
        members = [record for record in records.values() if record["group"] == group]
        assert sum(r["error"] for r in members) <= sum(r["rtn_error"] for r in members)
        assert len({r["alpha"] for r in members}) == 1
        better += sum(r["error"] for r in members) < sum(r["rtn_error"] for r in members)
    assert better >= 2  # of eight; where all channels are alike, s = 1 may be best


def test_inputs_agree_in_the_first_block_and_part_in_the_second() -> None:
    model = salient(tiny.llama)
    space = WeightSpace.of(model)
    a, b = (awq(model, space, None, SCHEME, tiny.windows(5), AWQOptions(inputs=i)) for i in ("quantized", "fp"))
    records = [p.provenance["layers"] for p in (a, b)]
    assert all(records[0][s.name] == records[1][s.name] for s in space if s.block == 0)
    assert all(records[0][s.name]["rtn_error"] != records[1][s.name]["rtn_error"] for s in space if s.block == 1)


def test_channel_scales_by_hand() -> None:
    magnitude = torch.tensor([1.0, 16.0, 4.0], dtype=torch.float64)
    assert torch.equal(channel_scales(magnitude, 0), torch.ones(3))
    assert torch.equal(channel_scales(magnitude, 0.5), torch.tensor([0.5, 2.0, 1.0]))  # (1, 4, 2) / √(4·1)
    assert torch.equal(channel_scales(magnitude, 1), torch.tensor([0.25, 4.0, 1.0]))


def test_channels_without_input() -> None:
    model = tiny.gpt2()
    with torch.no_grad():
        for parameter in (model.transformer.h[1].ln_1.weight, model.transformer.h[1].ln_1.bias):
            parameter[5] = 0
    space = WeightSpace.of(model)
    point = awq(model, space, None, SCHEME, tiny.windows(4), AWQOptions(alphas=(0.5,)))
    assert all(bool(point.tensor(slot).isfinite().all()) for slot in space)
    scales = channel_scales(torch.tensor([0.0, 1.0], dtype=torch.float64), 0.5)
    torch.testing.assert_close(scales, torch.tensor([1e-2, 1e2]))  # (1e-4, 1) / √1e-4


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_is_restored(make: Callable[[], nn.Module], dtype: torch.dtype) -> None:
    model = salient(make).to(dtype)
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    model.train()
    next(model.modules()).training = False
    next(model.parameters()).requires_grad_(False)
    before, run = state(model), partial(awq, model, space)
    point = run(None, SCHEME, tiny.windows(3))
    assert state(model) == before
    again = run(center, SCHEME, tiny.windows(3))
    assert again.fingerprint(space) == point.fingerprint(space)

    def interrupt(done: int, total: int) -> None:
        assert not torch.equal(next(space.weights(model))[1], center.tensor(space.slots[0]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(None, SCHEME, tiny.windows(3), progress=interrupt)
    assert state(model) == before


def test_progress_counts_blocks() -> None:
    calls: list[tuple[int, int]] = []
    model = tiny.opt()
    awq(model, WeightSpace.of(model), None, SCHEME, tiny.windows(1), progress=lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]


def test_only_the_windows_matter() -> None:
    model, data = salient(tiny.llama), tiny.windows(8)
    space = WeightSpace.of(model)
    run = partial(awq, model, space, None, SCHEME)
    first = run(data[:4])
    other = run(data[4:])
    again = run(data[:4])
    assert first.fingerprint(space) == again.fingerprint(space)
    assert first.provenance == again.provenance
    assert first.fingerprint(space) != other.fingerprint(space)
    assert first.provenance["windows"]["sha256"] != other.provenance["windows"]["sha256"]


def test_provenance() -> None:
    model, windows = tiny.gpt2(), tiny.windows(2)
    space = WeightSpace.of(model)
    point = awq(model, space, None, SCHEME, windows)
    record = point.provenance
    assert json.loads(json.dumps(record)) == record
    assert (point.name, point.scheme) == ("awq-int3-exact", SCHEME)
    sha256 = hashlib.sha256(windows.numpy().tobytes()).hexdigest()
    assert record["windows"] == {"sha256": sha256, "shape": [2, 12]}
    assert list(record["layers"]) == [s.name for s in space] == list(point.parts)
    assert record["options"] == {"alphas": [k / 20 for k in range(20)], "inputs": "quantized"}
    for slot in space:
        part = point.parts[slot.name]
        assert isinstance(part, Tensor)
        assert (part.dtype, part.shape, part.is_contiguous()) == (torch.float32, slot.shape, True)


@pytest.mark.parametrize("options", [{"alphas": ()}, {"alphas": (-0.1,)}, {"alphas": (1.5,)}, {"inputs": "exact"}])
def test_options_are_checked(options: dict) -> None:
    with pytest.raises(UsageError, match="expected"):
        AWQOptions(**options)


def test_inputs_that_are_not_finite_are_refused() -> None:
    model = tiny.opt()
    with torch.no_grad():
        model.model.decoder.layers[1].self_attn_layer_norm.weight[3] = torch.nan
    before = state(model)
    with pytest.raises(PointError, match=r"finite inputs of model\.decoder\.layers\.1\.self_attn\.k_proj"):
        awq(model, WeightSpace.of(model), None, SCHEME, tiny.windows(2))
    assert state(model) == before


def test_a_float_format_is_refused() -> None:
    model = tiny.gpt2()
    with pytest.raises(UsageError, match=r"expected an integer grid for AWQ, .* got nvfp4"):
        awq(model, WeightSpace.of(model), None, QuantScheme.of_format("nvfp4"), tiny.windows(2))


def test_windows_of_another_shape_are_refused() -> None:
    model = tiny.opt()
    with pytest.raises(UsageError, match="shape"):
        awq(model, WeightSpace.of(model), None, SCHEME, torch.zeros(12, dtype=torch.long))
