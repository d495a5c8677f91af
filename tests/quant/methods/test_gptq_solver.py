from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quant.grid import Grid
from quant.methods import gptq_solver
from quant.methods.gptq_solver import NoCandidateError, Problem, Solution
from quant.methods.layer_error import layer_error
from quant.methods.options import GPTQOptions
from quant.scale import find_grid
from quant.scheme import QuantScheme
from quant.space import Slot

GRID = GPTQOptions().dampings


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated_hessian(columns: int, tokens: int, seed: int = 0) -> Tensor:
    x = randn(tokens, columns, seed=seed) @ randn(columns, columns, seed=seed + 1)
    return 2 / tokens * x.T @ x


def naive(weight: Tensor, scale: Tensor, hessian: Tensor, qmax: int, damping: float, order: list[int]) -> Tensor:
    """OBQ in a fixed order (Frantar and Alistarh 2022): every step inverts the rest of the Hessian again."""
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


def naive_on_levels(weight: Tensor, scale: Tensor, levels: Tensor, damped: Tensor, order: list[int]) -> Tensor:
    """The same loop with the nearest of some levels, found among all of them."""
    w, points = weight.clone(), torch.zeros_like(weight)
    for step, column in enumerate(order):
        left = order[step:]
        inverse = torch.linalg.inv(damped[left][:, left])
        candidates = scale[:, column, None] * levels
        points[:, column] = candidates.gather(1, (candidates - w[:, column, None]).abs().argmin(1, keepdim=True))[:, 0]
        w[:, left] -= (w[:, column] - points[:, column])[:, None] * inverse[0] / inverse[0, 0]
    return points


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), name=st.sampled_from(["nvfp4", "mxfp4", "fp8"]), groups=st.integers(1, 2),
    block_size=st.integers(1, 70), act_order=st.booleans(), damping=st.sampled_from(GRID),
)  # fmt: skip
def test_points_equal_the_naive_loop_on_the_levels_of_float_formats(
    seed: int, name: str, groups: int, block_size: int, act_order: bool, damping: float
) -> None:
    shape = (4, 32 * groups)
    weight, hessian = randn(*shape, seed=seed), correlated_hessian(shape[1], 3 * shape[1], seed)
    scheme = QuantScheme.of_format(name)
    # As above, some weights are clipped, so that errors of more than half a step are fed forward.
    grid = find_grid(Slot("w", shape, False, 0, 0), 0.7 * weight, scheme)
    magnitudes = {"fp8": torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).double()}.get(
        name, torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)
    )
    levels = torch.cat([-magnitudes.flip(0), magnitudes])
    order = sorted(range(shape[1]), key=lambda i: -float(hessian[i, i])) if act_order else list(range(shape[1]))
    damped = hessian + damping * hessian.diagonal().mean() * torch.eye(shape[1], dtype=torch.float64)
    expected = naive_on_levels(weight, full(grid.scale.double(), scheme.group, weight), levels, damped, order)
    found = solve(Problem(weight, grid), hessian, dampings=(damping,), block_size=block_size, act_order=act_order).codes
    assert found.dtype == torch.int8
    torch.testing.assert_close(grid.decode(found.double()), expected, rtol=1e-12, atol=0)
    if damping <= 0.1:
        assert not torch.equal(found.double(), grid.encode(weight))  # else RTN would pass as well


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


@pytest.mark.parametrize("chunk_bytes", [1, 3 * 8 * 5 * 20**2, 2**29])
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
    kept, factors = gptq_solver._inverse_factors(hessian, GRID, float(hessian.diagonal().mean()))
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
