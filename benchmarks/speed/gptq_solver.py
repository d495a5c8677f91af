"""Measure GPTQ: eight dampings against one, and the solver against the plain loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.rows import Row
from benchmarks.speed.models import Options, random_tokens
from benchmarks.speed.training import prepared
from benchmarks.speed.turns import in_turns, ratio
from quant import GPTQOptions, gptq
from quant.grid import Grid
from quant.methods.gptq_solver import Problem, solve
from quant.scale import exact_scales

SHAPES = {"q, o": (576, 576), "k, v": (192, 576), "gate, up": (1536, 576), "down": (576, 1536)}
"""(out, in) of SmolLM2-135M's matrices."""
ONE = (0.1,)


def problem(shape: tuple[int, int]) -> tuple[Problem, Tensor]:
    """Draw a random matrix at int4, and the Hessian of 4096 correlated tokens."""
    generator = torch.Generator().manual_seed(0)
    out, columns = shape
    mixing = torch.randn(columns, columns, generator=generator) / columns**0.5
    x = torch.randn(4096, columns, generator=generator) @ mixing
    weight = torch.randn(out, columns, generator=generator) * 0.02
    scale = exact_scales(weight.reshape(1, -1), 7).float()[None]
    return Problem(weight, Grid(scale, -7, 7)), 2 / len(x) * x.T @ x


def plain_gptq(weight: Tensor, scale: Tensor, hessian: Tensor, damping: float) -> Tensor:
    """Run Algorithm 1 of Frantar et al. 2022 in its plain form: rows as rows, blocks of 128 columns."""
    w, columns = weight.clone(), weight.shape[1]
    damped = hessian + damping * hessian.diagonal().mean() * torch.eye(columns)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor = torch.linalg.cholesky(inverse, upper=True)
    quantized = torch.empty_like(w)
    for low in range(0, columns, 128):
        high = min(low + 128, columns)
        block, errors = w[:, low:high].clone(), torch.zeros(len(w), high - low)
        for i in range(high - low):
            column = block[:, i]
            q = torch.clamp(torch.round(column / scale[0]), -7, 7) * scale[0]
            error = (column - q) / factor[low + i, low + i]
            block[:, i:] -= error[:, None] @ factor[low + i, low + i : high][None]
            quantized[:, low + i], errors[:, i] = q, error
        w[:, high:] -= errors @ factor[low:high, high:]
    return quantized


def bench_dampings(options: Options) -> Iterator[Row]:
    """Compare eight dampings with one, in the solver alone and in the whole of GPTQ."""
    eight = GPTQOptions().dampings
    for name, shape in SHAPES.items():
        task, hessian = problem(shape)

        def run(dampings: tuple[float, ...], task: Problem = task, hessian: Tensor = hessian) -> object:
            return solve([task], hessian, dampings=dampings, block_size=128, act_order=False)

        seconds = in_turns({"8": lambda run=run: run(eight), "1": lambda run=run: run(ONE)}, options.rounds)
        yield ratio(f"dampings/{name}", seconds["8"], seconds["1"])
    model, space, center, start = prepared(min(2, options.blocks))
    windows = random_tokens(128, 128)

    def whole(dampings: tuple[float, ...]) -> object:
        return gptq(model, space, start, windows, GPTQOptions(dampings=dampings), center=center)

    seconds = in_turns({"8": lambda: whole(eight), "1": lambda: whole(ONE)}, options.rounds)
    yield ratio("dampings/gptq", seconds["8"], seconds["1"])


def bench_solver(options: Options) -> Iterator[Row]:
    """Compare our solver with the plain loop, at one damping."""
    for name, shape in SHAPES.items():
        task, hessian = problem(shape)
        scale = task.grid.scale
        codes = solve([task], hessian, dampings=ONE, block_size=128, act_order=False)[0].codes
        same = float((plain_gptq(task.weight, scale, hessian, ONE[0]) == codes * scale).float().mean())
        seconds = in_turns(
            {
                "ours": lambda t=task, h=hessian: solve([t], h, dampings=ONE, block_size=128, act_order=False),
                "plain": lambda t=task, h=hessian, s=scale: plain_gptq(t.weight, s, h, ONE[0]),
            },
            options.rounds,
        )
        yield ratio(f"solver/{name}", seconds["ours"], seconds["plain"], alike=same)
