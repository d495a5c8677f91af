"""The working memory of GPTQ's solver is what ``quant/README.md`` says, and what the chunks are cut by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakSet

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from quant.grid import Grid
from quant.methods import gptq_solver
from quant.methods.gptq_solver import Problem, solve

DAMPINGS = tuple(10.0**power for power in range(-3, 5))
FACTORS, SWEEP = (64, 384), (1024, 576)  # (out, in): which of the two is larger


class LiveBytes(TorchDispatchMode):
    """The most bytes that the results of torch's operations held at once, counted by storages."""

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        super().__init__()
        self._inputs = {t.untyped_storage() for t in inputs}
        self._live: WeakSet[torch.UntypedStorage] = WeakSet()
        self.peak = 0

    def __torch_dispatch__(
        self, func: Callable, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = result if isinstance(result, tuple | list) else (result,)
        made = {t.untyped_storage() for t in tensors if isinstance(t, Tensor)}
        self._live.update(made - self._inputs)
        self.peak = max(self.peak, sum(storage.nbytes() for storage in self._live))
        return result


def peak(shape: tuple[int, int], dampings: tuple[float, ...], matrices: int = 1) -> int:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator)
    x = torch.randn(2 * shape[1], shape[1], generator=generator)
    hessian, scale = x.T @ x, torch.full((1, 1), 0.4)
    problems = [Problem(weight, Grid(scale, -3, 3))] * matrices
    with LiveBytes((weight, hessian, scale)) as live:
        solve(problems, hessian, dampings=dampings, block_size=64, act_order=False)
    return live.peak


def candidate(shape: tuple[int, int]) -> int:
    rows, columns = shape
    return 4 * max(5 * columns**2, columns**2 + 2 * rows * (columns + 256))


@pytest.mark.parametrize("shape", [FACTORS, SWEEP], ids=["factors", "sweep"])
def test_memory_follows_the_formula(shape: tuple[int, int]) -> None:
    """A candidate more costs the formula; without any there are the Hessian and the matrix in the sweep's layout."""
    two, five = peak(shape, DAMPINGS[:2]), peak(shape, DAMPINGS[:5])
    assert (five - two) / 3 == pytest.approx(candidate(shape), rel=0.01)
    fixed = 4 * (shape[1] ** 2 + shape[0] * shape[1])
    assert two == pytest.approx(2 * candidate(shape) + fixed, rel=0.01)


@pytest.mark.parametrize("shape", [FACTORS, SWEEP], ids=["factors", "sweep"])
def test_chunks_fill_the_limit_and_no_more(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three at a time: later chunks hold nothing of earlier ones but the best codes, and other matrices add theirs."""
    monkeypatch.setattr(gptq_solver, "_CHUNK_BYTES", 3 * candidate(shape))
    sizes = [len(chunk) for chunk in gptq_solver._chunks(DAMPINGS, shape[1], shape[0], 4)]
    assert sizes == [3, 3, 2]
    size = shape[0] * shape[1]
    best = 2 * size  # int8, of two matrices
    fixed = 4 * (shape[1] ** 2 + 2 * size) + best
    assert peak(shape, DAMPINGS, matrices=2) == pytest.approx(3 * candidate(shape) + fixed, rel=0.01)
