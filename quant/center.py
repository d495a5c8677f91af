"""Keep a pristine copy of the weights, the centre ``w`` of the landscape, and put it back after use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from quant.space import Slot, WeightSpace


@dataclass(frozen=True)
class Center:
    """The pretrained weights ``w``, copied once."""

    weights: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, space: WeightSpace) -> Center:
        """Copy the model's present weights."""
        return cls({slot.name: p.detach().clone() for slot, p in space.weights(model)})

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``, in the model's own dtype."""
        return self.weights[slot.name]


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
