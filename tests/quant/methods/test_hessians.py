"""Matrices share the Hessian of what they read together, and of nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quant.errors import PointError
from quant.methods.hessians import GramMatrices
from quant.space import Slot

A, B, C = (Slot(name, (2, 3), False, 0, 6 * i) for i, name in enumerate("abc"))
Reads = list[list[tuple[Slot, int]]]
"""By window: which matrix reads input number n."""


def inputs() -> list[Tensor]:
    return [torch.randn(4, 3, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(6)]


def collected(windows: Reads, slots: list[Slot]) -> dict[frozenset[str], tuple[Tensor, int]]:
    gram, x = GramMatrices(), inputs()
    for reads in windows:
        gram.end_window()
        for slot, index in reads:
            gram.observe(slot, x[index])
    return {frozenset(s.name for s in each.slots): (each.hessian, each.tokens) for each in gram.hessians(slots)}


def by_hand(*indices: int) -> Tensor:
    x = torch.cat([inputs()[i] for i in indices])
    return 2 / len(x) * x.T @ x


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([[(A, 0), (B, 0)], [(A, 1), (B, 1)]], {"ab": (0, 1)}),
        ([[(A, 0), (B, 1)], [(A, 2), (B, 3)]], {"a": (0, 2), "b": (1, 3)}),
        # a matrix that two blocks share reads twice, and each time another matrix reads with it
        (
            [[(A, 0), (B, 0), (A, 1), (C, 1)], [(A, 2), (B, 2), (A, 3), (C, 3)]],
            {"a": (0, 1, 2, 3), "b": (0, 2), "c": (1, 3)},
        ),
        ([[(A, 0), (A, 1), (B, 1)]], {"a": (0, 1), "b": (1,)}),
        ([[(B, 1), (A, 0), (A, 1)]], {"a": (0, 1), "b": (1,)}),
    ],
)
def test_groups_have_the_hessians_of_their_inputs(windows: Reads, expected: dict[str, tuple[int, ...]]) -> None:
    slots = [slot for slot in (A, B, C) if any(slot is s for reads in windows for s, _ in reads)]
    found = collected(windows, slots)
    assert found.keys() == {frozenset(names) for names in expected}
    for names, indices in expected.items():
        hessian, tokens = found[frozenset(names)]
        torch.testing.assert_close(hessian, by_hand(*indices), rtol=1e-12, atol=1e-14)
        assert tokens == 4 * len(indices)


def test_a_matrix_that_reads_with_another_in_some_windows_is_refused() -> None:
    with pytest.raises(PointError, match="in some"):
        collected([[(A, 0), (B, 0)], [(A, 1), (B, 2)]], [A, B])


def test_a_matrix_that_reads_nothing_is_refused() -> None:
    with pytest.raises(PointError, match="reach b"):
        collected([[(A, 0)]], [A, B])
