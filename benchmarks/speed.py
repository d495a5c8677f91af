"""Measure speed and memory of `quant` as ratios within one run:  python -m benchmarks.speed  (or `make bench`).

Two implementations of the same task are timed in turns, so that a machine that slows down slows both; the median and
the quartiles of the ratios of neighbours are printed. Shapes are those of SmolLM2-135M, with random weights. Every
benchmark runs in a process of its own, whose peak memory is printed beside the model's.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from quant import Center, GPTQOptions, QuantScheme, TrainingOptions, WeightPoint, WeightSpace, gptq, qaft, rtn
from quant.grid import Grid
from quant.methods.gptq_solver import Problem, solve
from quant.nll import token_nll
from quant.scale import exact_scales

ROUNDS = 9
SHAPES = {"q, o": (576, 576), "k, v": (192, 576), "gate, up": (1536, 576), "down": (576, 1536)}  # (out, in)


def timed(work: Callable[[], object]) -> float:
    """Time one call, in seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def ratio(ours: Callable[[], object], theirs: Callable[[], object]) -> str:
    """Measure our time over theirs, in turns."""
    ours(), theirs()
    pairs = [(timed(ours), timed(theirs)) for _ in range(ROUNDS)]
    return spread(*zip(*pairs, strict=True))


def spread(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Format the median of the ratios of neighbours, their quartiles, and our median seconds."""
    low, middle, high = statistics.quantiles((a / b for a, b in zip(ours, theirs, strict=True)), n=4)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}] ({statistics.median(ours):.2f} s)"


def report(what: str, value: str, goal: str = "") -> None:
    """Print one line."""
    print(f"{what:64} {value:>28}   {goal}", flush=True)


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


def smollm(layers: int) -> nn.Module:
    """Build a model in the shape of SmolLM2-135M with fewer blocks and random weights."""
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=layers, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def prepared(layers: int) -> tuple[nn.Module, WeightSpace, Center, WeightPoint]:
    """Build a model, and round its weights to int4."""
    model = smollm(layers)
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    return model, space, center, rtn(space, center, QuantScheme(4, "absmax"))


def bench_dampings() -> None:
    """Compare eight dampings with one, in the solver alone and in the whole of GPTQ."""
    eight, one = GPTQOptions().dampings, (0.1,)
    for name, shape in SHAPES.items():
        task, hessian = problem(shape)

        def run(dampings: tuple[float, ...], task: Problem = task, hessian: Tensor = hessian) -> object:
            return solve([task], hessian, dampings=dampings, block_size=128, act_order=False)

        found = ratio(lambda run=run: run(eight), lambda run=run: run(one))
        report(f"GPTQ solver, 8 dampings over 1, {name} {shape}", found)
    model, space, center, start = prepared(2)
    windows = torch.randint(0, 49152, (128, 128), generator=torch.Generator().manual_seed(0))

    def whole(dampings: tuple[float, ...]) -> object:
        return gptq(model, space, start, windows, GPTQOptions(dampings=dampings), center=center)

    found = ratio(lambda: whole(eight), lambda: whole(one))
    report("GPTQ, 8 dampings over 1, 2 blocks, 128 × 128 tokens", found, "goal ≤ 1.5")


def bench_loop() -> None:
    """Compare our solver with the plain loop, at one damping."""
    for name, shape in SHAPES.items():
        task, hessian = problem(shape)
        scale = task.grid.scale
        codes = solve([task], hessian, dampings=(0.1,), block_size=128, act_order=False)[0].codes
        same = float((plain_gptq(task.weight, scale, hessian, 0.1) == codes * scale).float().mean())
        found = ratio(
            lambda t=task, h=hessian: solve([t], h, dampings=(0.1,), block_size=128, act_order=False),
            lambda t=task, h=hessian, s=scale: plain_gptq(t.weight, s, h, 0.1),
        )
        report(f"GPTQ over the plain loop, {name} {shape}, {same:.2%} of weights alike", found, "goal ≤ 0.7")


def bench_scale() -> None:
    """Time the exact search for the scale of a million weights, and for the scales of a thousand rows of them."""
    weight = torch.randn(1, 1_000_000, generator=torch.Generator().manual_seed(0))
    for rows in (1, 1000):
        for bits in (8, 4, 2):
            shaped, high = weight.view(rows, -1), 2 ** (bits - 1) - 1
            seconds = statistics.median(timed(lambda s=shaped, h=high: exact_scales(s, h)) for _ in range(ROUNDS))
            report(f"exact scales of 10⁶ weights in {rows} rows, int{bits}", f"{seconds:.2f} s")


def bench_qaft() -> None:
    """Compare a step of QAFT with a bare forward and backward of the same tokens; only matrices of w have gradients."""
    model, space, center, start = prepared(30)
    for length in (128, 512):
        tokens = torch.randint(0, 49152, (ROUNDS + 1, length), generator=torch.Generator().manual_seed(0))
        value = spread(*step_times(model, space, center, start, tokens))
        report(f"QAFT step over forward and backward, {length} tokens", value, "goal ≤ 1.15")


def step_times(
    model: nn.Module, space: WeightSpace, center: Center, start: WeightPoint, tokens: Tensor
) -> tuple[list[float], list[float]]:
    """Time QAFT's steps, and bare passes in between, in seconds; the first of each warms up and is left out."""
    steps: list[float] = []
    bare: list[float] = []
    clock = time.perf_counter()

    def between(done: int, total: int) -> None:
        nonlocal clock
        steps.append(time.perf_counter() - clock)
        bare.append(timed(lambda: token_nll(model, tokens[:1]).mean().backward()))
        for parameter in model.parameters():
            parameter.grad = None
        clock = time.perf_counter()

    qaft(model, space, start, tokens, tokens[:1, :2], TrainingOptions((1e-5,), 1), center=center, progress=between)
    return steps[1:], bare[1:]


BENCHMARKS = {"dampings": bench_dampings, "loop": bench_loop, "scale": bench_scale, "qaft": bench_qaft}


def peak() -> float:
    """Return the peak memory of this process, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> None:
    """Run one benchmark here, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=BENCHMARKS)
    name = parser.parse_args().only
    if name is None:
        for each in BENCHMARKS:
            subprocess.run([sys.executable, Path(__file__), "--only", each], check=True)
        return
    before = peak()
    BENCHMARKS[name]()
    report(f"peak memory of '{name}' / before it began", f"{peak():.2f} / {before:.2f} GiB")


if __name__ == "__main__":
    main()
