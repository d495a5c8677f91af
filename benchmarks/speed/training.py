"""Measure a step of QAFT against a bare forward and backward pass of the same tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from torch import Tensor, nn

from benchmarks.rows import Row
from benchmarks.speed.models import Options, random_tokens, smollm
from benchmarks.speed.turns import in_turns, ratio, timed
from quant import Center, QuantScheme, TrainingOptions, WeightPoint, WeightSpace, qaft, rtn
from quant.nll import token_nll


def prepared(blocks: int) -> tuple[nn.Module, WeightSpace, Center, WeightPoint]:
    """Build a model, and round its weights to int4."""
    model = smollm(blocks)
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    return model, space, center, rtn(space, center, QuantScheme(4, "absmax"))


def backward(model: nn.Module, loss: Callable[[], Tensor]) -> None:
    """Compute the gradients of a loss, and drop them."""
    loss().backward()
    for parameter in model.parameters():
        parameter.grad = None


def keep_gradients_of_w(model: nn.Module) -> None:
    """Let the matrices of w alone require gradients."""
    moved = {slot.parameter for slot in WeightSpace.of(model)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in moved)


def bench_qaft(options: Options) -> Iterator[Row]:
    """Compare steps with passes that have gradients of the matrices of w alone, as QAFT has."""
    model, space, center, start = prepared(options.blocks)
    for length in (128, 512):
        tokens = random_tokens(options.rounds + 1, length)
        steps, bare = step_times(model, space, center, start, tokens)
        yield ratio(f"qaft/{length}", steps, bare)


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
        bare.append(timed(lambda: backward(model, lambda: token_nll(model, tokens[:1]).mean())))
        clock = time.perf_counter()

    qaft(model, space, start, tokens, tokens[:1, :2], TrainingOptions((1e-5,), 1), center=center, progress=between)
    return steps[1:], bare[1:]


def bench_gradient(options: Options) -> Iterator[Row]:
    """Compare forward and backward of `token_nll` with those of transformers' own loss, gradients of w alone."""
    model = smollm(options.blocks)
    keep_gradients_of_w(model)
    tokens = random_tokens(1, 512)
    seconds = in_turns(
        {
            "ours": lambda: backward(model, lambda: token_nll(model, tokens).mean()),
            "theirs": lambda: backward(model, lambda: model(input_ids=tokens, labels=tokens).loss),
        },
        options.rounds,
    )
    yield ratio("gradient/transformers", seconds["ours"], seconds["theirs"])
