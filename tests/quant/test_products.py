"""Each way to multiply with a matrix is seen, and what it is multiplied with."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

from quant.errors import PointError
from quant.products import WatchedProducts
from quant.space import Slot

importlib.import_module("transformers.integrations.moe")  # brings the product that stands in for grouped_mm

TOKENS, IN, OUT, EXPERTS = 5, 4, 8, 3  # rows of whole 16 bytes, as grouped_mm wants them


def whole(transposed: bool = False) -> Slot:
    return Slot("w", (IN, OUT) if transposed else (OUT, IN), transposed, 0, 0)


def expert(index: int, transposed: bool = False) -> Slot:
    shape = (IN, OUT) if transposed else (OUT, IN)
    return Slot(f"experts.{index}.w", shape, transposed, 0, index * IN * OUT, "experts.w", index)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


WAYS = {
    "linear": lambda x, w: torch.nn.functional.linear(x, w),
    "linear with a bias": lambda x, w: torch.nn.functional.linear(x, w, torch.ones(OUT)),
    "x @ w.T": lambda x, w: x @ w.T,
    "w @ x.T": lambda x, w: w @ x.T,
    "einsum": lambda x, w: torch.einsum("ti,oi->to", x, w),
    "a batch": lambda x, w: x[None] @ w.T,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_matrix_by_itself(way: str) -> None:
    x, w, seen = drawn(TOKENS, IN), drawn(OUT, IN), []
    with WatchedProducts([(whole(), w)], lambda slot, inputs: seen.append(inputs)):
        WAYS[way](x, w)
    assert len(seen) == 1
    assert torch.equal(seen[0], x)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("product", ["grouped_mm", "fallback"])
def test_rows_grouped_by_their_expert(product: str, transposed: bool) -> None:
    sizes = [3, 0, 2]  # nothing is routed to the second
    x = drawn(sum(sizes), IN)
    stack = drawn(EXPERTS, IN, OUT) if transposed else drawn(EXPERTS, OUT, IN)
    factors = stack if transposed else stack.mT
    ends = torch.tensor(sizes).cumsum(0).to(torch.int32)
    multiply = torch.nn.functional.grouped_mm if product == "grouped_mm" else torch.ops.transformers.grouped_mm_fallback
    seen: dict[int, Tensor] = {}
    slots = [(expert(i, transposed), stack[i]) for i in range(EXPERTS)]
    with WatchedProducts(slots, lambda slot, inputs: seen.update({slot.index: inputs})):
        found = multiply(x, factors, offs=ends)
    expected = dict(zip(range(EXPERTS), x.split(sizes), strict=True))
    assert seen.keys() == {0, 2}
    assert all(torch.equal(rows, expected[index]) for index, rows in seen.items())
    torch.testing.assert_close(found, torch.cat([expected[i] @ factors[i] for i in range(EXPERTS)]))


def test_all_experts_at_once() -> None:
    x, stack, seen = drawn(EXPERTS, TOKENS, IN), drawn(EXPERTS, IN, OUT), {}
    slots = [(expert(i, True), stack[i]) for i in range(EXPERTS)]
    with WatchedProducts(slots, lambda slot, inputs: seen.update({slot.index: inputs})):
        torch.bmm(x, stack)
    assert all(torch.equal(seen[i], x[i]) for i in range(EXPERTS))


def test_zeros_are_tokens_but_where_every_expert_computes_on_all() -> None:
    x, stack, seen = drawn(EXPERTS, TOKENS, IN), drawn(EXPERTS, IN, OUT), []
    x[:, 1] = 0
    slots = [(expert(i, True), stack[i]) for i in range(EXPERTS)]
    with WatchedProducts(slots, lambda slot, inputs: seen.append(inputs)):
        x[0] @ stack[0]
        torch.bmm(x, stack)
    assert torch.equal(seen[0], x[0])
    assert all(torch.equal(rows, x[i][[0, 2, 3, 4]]) for i, rows in enumerate(seen[1:]))


def test_zeros_are_tokens_in_a_batch_of_one() -> None:
    x, w, seen = drawn(1, TOKENS, IN), drawn(OUT, IN), []
    x[0, 1] = 0
    with WatchedProducts([(whole(), w)], lambda slot, inputs: seen.append(inputs)):
        torch.bmm(x, w.T[None])
    assert torch.equal(seen[0], x[0])


def test_the_other_axis_is_refused() -> None:
    w = drawn(IN, IN)
    slot = Slot("w", (IN, IN), False, 0, 0)
    with WatchedProducts([(slot, w)], lambda *_: None), pytest.raises(PointError, match="its transpose"):
        drawn(TOKENS, IN) @ w


def test_a_part_is_refused() -> None:
    w = drawn(OUT, IN)
    with WatchedProducts([(whole(), w)], lambda *_: None), pytest.raises(PointError, match="a part of it"):
        drawn(TOKENS, IN) @ w[:2].T
