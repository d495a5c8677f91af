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
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from quant import gptq_solver
from quant.center import Center, preserved
from quant.errors import PointError, UsageError
from quant.gptq import GPTQOptions, gptq
from quant.gptq_solver import NoCandidateError, Problem, Solution
from quant.grid import Grid, GridTensor, QuantScheme, channel_view
from quant.layer_error import LayerHessians, layer_error, layer_errors
from quant.layers import walk
from quant.point import WeightPoint
from quant.rtn import rtn
from quant.scale import find_grid
from quant.space import Slot, WeightSpace
from tests import tiny
from tests.quant.test_layers import hooks, recorded_inputs

ALL = pytest.mark.parametrize("make", tiny.ARCHITECTURES.values(), ids=tiny.ARCHITECTURES.keys())
GRID = GPTQOptions().dampings


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated_hessian(columns: int, tokens: int, seed: int = 0) -> Tensor:
    x = randn(tokens, columns, seed=seed) @ randn(columns, columns, seed=seed + 1)
    return 2 / tokens * x.T @ x


def naive(weight: Tensor, scale: Tensor, hessian: Tensor, qmax: int, damping: float, order: list[int]) -> Tensor:
    """OBQ in a fixed order (Frantar and Alistarh 2022): every step inverts what is left of the Hessian anew."""
    w, codes = weight.clone(), torch.zeros_like(weight)
    damped = hessian + damping * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.float64)
    for step, column in enumerate(order):
        left = order[step:]
        inverse = torch.linalg.inv(damped[left][:, left])
        codes[:, column] = torch.clamp(torch.round(w[:, column] / scale[:, 0]), -qmax, qmax)
        error = w[:, column] - codes[:, column] * scale[:, 0]
        w[:, left] -= error[:, None] * inverse[0] / inverse[0, 0]
    return codes


def squared_error(codes: Tensor, problem: Problem, hessian: Tensor) -> float:
    delta = problem.grid.decode(codes) - problem.weight
    return float(torch.trace(delta @ hessian @ delta.T))


def solve(problem: Problem, hessian: Tensor, **changes: object) -> Solution:
    options = {"dampings": GRID, "block_size": 128, "act_order": False} | changes
    return gptq_solver.solve([problem], hessian, **options)[0]


def prepared(
    make: Callable[[], nn.Module], bits: int = 3, **scheme: object
) -> tuple[nn.Module, WeightSpace, WeightPoint]:
    model = make()
    space = WeightSpace.of(model)
    return model, space, rtn(space, Center.of(model, space), QuantScheme(bits, **scheme))


def codes_of(point: WeightPoint) -> dict[str, Tensor]:
    return {name: part.codes for name, part in point.parts.items() if isinstance(part, GridTensor)}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def state(model: nn.Module) -> tuple:
    """Bytes of parameters and buffers, modes, gradient flags, hooks, and the global RNG."""
    digest = hashlib.sha256()
    for tensor in [*model.parameters(), *model.buffers(), torch.get_rng_state()]:
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    modes = [m.training for m in model.modules()]
    return digest.hexdigest(), modes, [p.requires_grad for p in model.parameters()], hooks(model)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("block_size", [1, 5, 8, 128])
@pytest.mark.parametrize(
    "scale", [torch.full((1, 1), 0.4), torch.linspace(0.2, 0.9, 9)[:, None]], ids=["tensor", "row"]
)
def test_codes_equal_the_naive_loop(scale: Tensor, block_size: int, act_order: bool) -> None:
    hessian, problem = correlated_hessian(20, 60), Problem(randn(9, 20, seed=7), Grid(scale.double(), -3, 3))
    order = sorted(range(20), key=lambda i: -float(hessian[i, i])) if act_order else list(range(20))
    rows = problem.grid.scale.expand(9, 1)
    moved = 0
    for damping in GRID:
        expected = naive(problem.weight, rows, hessian, 3, damping, order)
        found = solve(problem, hessian, dampings=(damping,), block_size=block_size, act_order=act_order)
        assert torch.equal(found.codes.double(), expected)
        moved += int((expected != torch.clamp(torch.round(problem.weight / rows), -3, 3)).sum())
    assert moved > 100  # else RTN would pass as well


def full(values: Tensor, group: int | None, like: Tensor) -> Tensor:
    """One value per weight, by index."""
    rows, columns = like.shape
    at = [[values[i % len(values), 0 if group is None else j // group] for j in range(columns)] for i in range(rows)]
    return torch.tensor(at, dtype=torch.float64).reshape(rows, columns)


def naive_on_any_grid(
    weight: Tensor, scale: Tensor, zero: Tensor, limits: tuple[int, int], damped: Tensor, order: list[int]
) -> tuple[Tensor, float]:
    """The same loop with a scale and a zero for every weight; also the loss that GPTQ libraries print, Σ e²."""
    w, codes, loss = weight.clone(), torch.zeros_like(weight), 0.0
    for step, column in enumerate(order):
        left = order[step:]
        inverse = torch.linalg.inv(damped[left][:, left])
        s, z = scale[:, column], zero[:, column]
        codes[:, column] = torch.clamp(torch.round(w[:, column] / s) + z, *limits)
        error = w[:, column] - (codes[:, column] - z) * s
        loss += float((error**2).sum() / inverse[0, 0])
        w[:, left] -= error[:, None] * inverse[0] / inverse[0, 0]
    return codes, loss


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 24)),
    bits=st.integers(2, 8),
    granularity=st.sampled_from(["tensor", "channel", "group:5", "group:8"]),
    symmetric=st.booleans(),
    block_size=st.integers(1, 30),
    act_order=st.booleans(),
    damping=st.sampled_from(GRID),
)
def test_codes_equal_the_naive_loop_on_every_grid(
    seed: int, shape: tuple[int, int], bits: int, granularity: str, symmetric: bool, block_size: int, act_order: bool,
    damping: float,
) -> None:  # fmt: skip
    weight = randn(*shape, seed=seed)
    hessian = correlated_hessian(shape[1], 3 * shape[1], seed)
    scheme = QuantScheme(bits, "absmax", granularity, symmetric)
    # A smaller scale than absmax: some weights are clipped, so that errors of more than half a step are fed forward.
    grid = find_grid(Slot("w", shape, False, 0, 0), 0.7 * weight, scheme)
    order = sorted(range(shape[1]), key=lambda i: -float(hessian[i, i])) if act_order else list(range(shape[1]))
    damped = hessian + damping * hessian.diagonal().mean() * torch.eye(shape[1], dtype=torch.float64)
    scale = full(grid.scale.double(), scheme.group, weight)
    zero = torch.zeros(shape).double() if grid.zero is None else full(grid.zero, scheme.group, weight)
    codes, loss = naive_on_any_grid(weight, scale, zero, (scheme.low, scheme.high), damped, order)
    problem = Problem(weight, grid)
    found = solve(problem, hessian, dampings=(damping,), block_size=block_size, act_order=act_order).codes.double()
    assert torch.equal(found, codes)
    delta = (found - zero) * scale - weight
    assert float(torch.trace(delta @ damped @ delta.T)) == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("act_order", [False, True])
def test_float32_agrees_with_the_naive_loop_in_float64(act_order: bool) -> None:
    """A code may fall on the other side of a tie, and its error moves the codes after it."""
    weight, hessian = randn(48, 96, seed=3), correlated_hessian(96, 400, seed=4)
    grid = find_grid(Slot("w", (48, 96), False, 0, 0), weight, QuantScheme(3, "exact", "channel"))
    order = sorted(range(96), key=lambda i: -float(hessian[i, i])) if act_order else list(range(96))
    single = Problem(weight.float(), grid)
    for damping in GRID:
        expected = naive(weight, grid.scale.double(), hessian, 3, damping, order).float()
        found = solve(single, hessian.float(), dampings=(damping,), act_order=act_order).codes.float()
        assert float((found == expected).double().mean()) >= 0.999
        ours, reference = (layer_error(grid.decode(codes) - single.weight, hessian) for codes in (found, expected))
        assert ours == pytest.approx(reference, rel=1e-3)


@pytest.mark.parametrize("chunk_bytes", [1, 3 * 8 * 20 * (5 * 20 + 3 * 9), 2**29])
def test_the_best_damping_by_undamped_error_wins(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptq_solver, "_CHUNK_BYTES", chunk_bytes)
    winners = set()
    scale = torch.linspace(0.1, 1.5, 9, dtype=torch.float64)[:, None]  # a row's error counts with its scale squared
    for seed in range(4):
        hessian, problem = correlated_hessian(20, 60, seed), Problem(randn(9, 20, seed=seed + 7), Grid(scale, -3, 3))
        single = {d: naive(problem.weight, scale, hessian, 3, d, list(range(20))) for d in GRID}
        best = min(GRID, key=lambda d: squared_error(single[d], problem, hessian))
        found = solve(problem, hessian)
        assert found.damping == best
        assert torch.equal(found.codes.double(), single[best])
        winners.add(best)
    assert len(winners) > 1


def test_row_errors_in_several_panels() -> None:
    """More columns than a panel holds."""
    delta, hessian = randn(2, 70, 5), correlated_hessian(70, 90)
    expected = torch.einsum("dir,ij,djr->dr", delta, hessian, delta)
    torch.testing.assert_close(gptq_solver._row_errors(delta, hessian, panel=32), expected)


def test_inverse_factor_is_the_upper_cholesky_of_the_inverse() -> None:
    hessian = correlated_hessian(12, 40)
    kept, factors = gptq_solver._inverse_factors(hessian, GRID)
    assert kept == list(GRID)
    for damping, factor in zip(GRID, factors, strict=True):
        damped = hessian + damping * hessian.diagonal().mean() * torch.eye(12, dtype=torch.float64)
        torch.testing.assert_close(factor, torch.linalg.cholesky(torch.linalg.inv(damped), upper=True))


@pytest.mark.parametrize("size", [1, 2, 7, 20, 33])
def test_triangular_inverse_in_parts(size: int) -> None:
    lower = torch.linalg.cholesky(torch.stack([correlated_hessian(size, 4 * size, seed) for seed in range(3)]))
    found = gptq_solver._triangular_inverse(lower, leaf=4)
    torch.testing.assert_close(found, torch.linalg.inv(lower), rtol=1e-9, atol=1e-9)
    assert not found.triu(1).any()


def test_singular_hessians_are_rejected_candidates() -> None:
    problem = Problem(randn(3, 2), Grid(torch.full((1, 1), 0.4, dtype=torch.float64), -3, 3))
    singular = torch.full((2, 2), 4.0, dtype=torch.float64)  # whose root is exact, so the second pivot is 0
    assert solve(problem, singular, dampings=(0.0, 0.1)).rejected == (0.0,)
    with pytest.raises(NoCandidateError, match="no damping in 0 "):
        solve(problem, singular, dampings=(0.0,))
    with pytest.raises(NoCandidateError):
        solve(problem, singular * torch.nan)


def test_dead_columns_become_zero_and_move_no_other() -> None:
    weight, live = randn(6, 10), [0, 1, 2, 4, 5, 6, 8, 9]
    hessian = torch.zeros(10, 10, dtype=torch.float64)
    hessian[torch.tensor(live)[:, None], torch.tensor(live)] = correlated_hessian(8, 30)
    grid = Grid(torch.full((1, 1), 0.4, dtype=torch.float64), -3, 3)
    for act_order in (False, True):
        assert not solve(Problem(weight, grid), hessian, act_order=act_order).codes[:, [3, 7]].any()
        # mean(diag H) counts the dead ones too, as in the original: codes are comparable without damping only
        alone = solve(Problem(weight[:, live], grid), correlated_hessian(8, 30), dampings=(0.0,), act_order=act_order)
        undamped = solve(Problem(weight, grid), hessian, dampings=(0.0,), act_order=act_order)
        assert torch.equal(undamped.codes[:, live], alone.codes)


@ALL
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group:7"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_infinite_damping_is_rtn(make: Callable[[], nn.Module], granularity: str, symmetric: bool) -> None:
    model, space, start = prepared(make, scale="absmax", granularity=granularity, symmetric=symmetric)
    point = gptq(model, space, start, tiny.windows(3), GPTQOptions(dampings=(1e12,)))
    assert same(codes_of(point), codes_of(start))
    assert all(torch.equal(point.parts[s.name].scale, start.parts[s.name].scale) for s in space)


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
def test_the_model_is_given_back(make: Callable[[], nn.Module], dtype: torch.dtype) -> None:
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
        assert not torch.equal(next(space.parameters(model))[1], center.tensor(space.slots[0]))
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
def test_true_sequential_calibrates_on_what_is_quantized_already(make: Callable[[], nn.Module]) -> None:
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
    with caplog.at_level(logging.WARNING, "quant.gptq"):
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
