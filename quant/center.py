"""Keep a pristine copy of the weights, the centre ``w`` of the landscape, and put it back after use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from quant.space import Slot, WeightSpace

_NARROWER = {
    torch.float64: (torch.bfloat16, torch.float16, torch.float32),
    torch.float32: (torch.bfloat16, torch.float16),
}
"""Dtypes in which a copy may be kept, the ones of fewest bytes first."""
_INTEGERS = {torch.float64: torch.int64, torch.float32: torch.int32}
_TRIED = 4096  # weights that rule out most narrower dtypes before a whole matrix is converted


@dataclass(frozen=True)
class Center:
    """The pretrained weights ``w``, copied once.

    A checkpoint in bfloat16 or float16 that is computed in float32 holds 16 bits of information per weight, so that its
    copy takes half of the model's memory: each matrix is kept in the narrowest dtype that gives it back to the bit.
    """

    weights: Mapping[str, Tensor]
    """The matrices by the slot's name, each in the dtype in which it is kept."""
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)
    """The model's own dtype of those that are kept in a narrower one."""

    @classmethod
    def of(cls, model: nn.Module, space: WeightSpace) -> Center:
        """Copy the model's present weights, one matrix at a time."""
        weights: dict[str, Tensor] = {}
        dtypes: dict[str, torch.dtype] = {}
        for slot, weight in space.weights(model):
            weights[slot.name] = _copied(weight.detach())
            if weights[slot.name].dtype != weight.dtype:
                dtypes[slot.name] = weight.dtype
        return cls(weights, dtypes)

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``, in the model's own dtype."""
        kept = self.weights[slot.name]
        return kept.to(self.dtypes.get(slot.name, kept.dtype))


def copy_bytes(model: nn.Module, space: WeightSpace) -> int:
    """Estimate the bytes of ``Center.of``, from the first weights of each matrix, and copy nothing."""
    return sum(slot.size * next(iter([*_candidates(w), w.dtype])).itemsize for slot, w in space.weights(model))


def _copied(weight: Tensor) -> Tensor:
    """Copy a matrix in the narrowest dtype that gives it back to the bit, else in its own."""
    for dtype in _candidates(weight):
        if _same_bits(weight, narrow := weight.to(dtype)):
            return narrow
    return weight.clone()


def _candidates(weight: Tensor) -> Iterator[torch.dtype]:
    """Yield the narrower dtypes that give the first weights of a matrix back."""
    few = weight.reshape(-1)[:_TRIED] if weight.is_contiguous() else weight[:1]
    for dtype in _NARROWER.get(weight.dtype, ()):
        if _same_bits(few, few.to(dtype)):
            yield dtype


def _same_bits(weight: Tensor, narrow: Tensor) -> bool:
    """Return whether a narrower copy gives a tensor back to the bit, with the sign of zero and the payload of NaN."""
    bits = _INTEGERS[weight.dtype]
    return torch.equal(narrow.to(weight.dtype).view(bits), weight.view(bits))


@contextmanager
def preserved(model: nn.Module, space: WeightSpace, center: Center | None = None) -> Iterator[Center]:
    """Restore the model's weights, gradient flags and train/eval modes when the block ends.

    The weights are restored bit for bit, however the block ends (return, exception, Ctrl-C). The model is in eval mode
    inside, so that dropout is off.

    Args:
        model: The model whose weights will be overwritten.
        space: Its weight space.
        center: The pristine copy; made here if None.
    """
    modes = {name: module.training for name, module in model.named_modules()}
    grads = {name: p.requires_grad for name, p in model.named_parameters()}
    center = center or Center.of(model, space)
    try:
        model.eval()
        yield center
    finally:
        space.write(model, center)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(grads[name])
            parameter.grad = None
        for name, module in model.named_modules():
            module.training = modes[name]
