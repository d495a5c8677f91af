"""Watch a model multiply: which inputs each matrix of the weight space is applied to.

A matrix may be the weight of a linear layer, a slice of a stack of experts, or shared by several blocks, and be applied
by ``linear``, ``@``, ``bmm``, ``einsum`` or ``grouped_mm``. All of these end in a few products of two tensors, which
are watched here: a factor in the memory of a slot is that slot's matrix, and the other factor is its input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from quant.errors import PointError
from quant.space import Slot

Observer = Callable[[Slot, Tensor], None]
"""Function called with a slot and its input, (tokens, in), before every product."""

_ATEN = torch.ops.aten
_FACTORS = {
    _ATEN.mm.default: 0,
    _ATEN.bmm.default: 0,
    _ATEN.addmm.default: 1,
    _ATEN.baddbmm.default: 1,
}
"""Products, and the position of the first of their two factors among the arguments."""
_GROUPED = ("aten::_grouped_mm", "transformers::grouped_mm_fallback")
"""Products (tokens, in) by (experts, in, out): consecutive tokens for each expert, up to the index in the third
argument. They are given by name, since the second exists only where transformers defines it."""


class WatchedProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Report every product of an input with a slot's matrix that is made inside this context."""

    def __init__(self, weights: Iterable[tuple[Slot, Tensor]], observe: Observer) -> None:
        """Watch these matrices.

        Args:
            weights: The live matrix of each slot, as ``WeightSpace.weights`` yields them.
            observe: Called for each product while its input is alive.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._observe = observe
        self._places = {_place(weight): (slot, weight) for slot, weight in weights}
        self._storages = {storage for storage, _ in self._places}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Report the factors, then make the product."""
        first = _FACTORS.get(func)
        if first is not None:
            left, right = args[first], args[first + 1]
            self._report(right, left)
            self._report(left.mT, right.mT)  # W x as xᵀ Wᵀ
        elif func.name().partition(".")[0] in _GROUPED:
            self._report_grouped(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _report_grouped(self, inputs: Tensor, weight: Tensor, offs: Tensor | None = None, *_: Any, **__: Any) -> None:
        """Report a grouped product, expert by expert; an expert without tokens has no input."""
        if weight.untyped_storage().data_ptr() not in self._storages:
            return
        if offs is None or (inputs.ndim, weight.ndim) != (2, 3):
            self._report(weight, inputs)
            return
        ends = offs.tolist()
        for matrix, start, end in zip(weight, [0, *ends], ends, strict=False):
            if end > start:
                self._report(matrix, inputs[start:end])

    def _report(self, weight: Tensor, inputs: Tensor) -> None:
        """Report ``inputs @ weight``, (…, tokens, in) and (…, in, out), for each matrix of a batch that is a slot."""
        if weight.untyped_storage().data_ptr() not in self._storages:
            return
        if weight.ndim == 3 and weight.stride(0) == 0:  # one matrix for the whole batch
            weight, inputs = weight[0], inputs.flatten(0, 1)
        pairs = zip(weight, inputs, strict=True) if weight.ndim == 3 else [(weight, inputs)]
        for matrix, rows in pairs:
            found = self._places.get(_place(matrix))
            if found is not None:
                _check_orientation(matrix, *found)
                every = weight.ndim == 3 and found[0].stack is not None
                self._observe(found[0], _routed(rows) if every else rows)


def _routed(rows: Tensor) -> Tensor:
    """Leave out rows of zeros: where all experts compute on all tokens, these tokens are routed elsewhere."""
    here = rows.any(1)
    return rows if bool(here.all()) else rows[here]


def _place(tensor: Tensor) -> tuple[int, int]:
    """Return where a tensor begins in memory."""
    return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset())


def _check_orientation(matrix: Tensor, slot: Slot, weight: Tensor) -> None:
    """Check that a factor (in, out) is the whole matrix of the slot, its inputs along the slot's axis.

    Raises:
        PointError: if the model multiplies by a part of it, or along its other axis.
    """
    expected = weight if slot.transposed else weight.T
    if (matrix.shape, matrix.stride()) != (expected.shape, expected.stride()):
        raise PointError(
            f"expected {slot.name} to be applied as a matrix of {expected.shape[0]} inputs and {expected.shape[1]} "
            f"outputs, the model applies a part of it, or its transpose; leave it out with --exclude {slot.name}"
        )
