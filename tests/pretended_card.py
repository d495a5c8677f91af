"""Pretend that a model lies on a card: real numbers, and an error where a tensor of the host meets one of the card.

A tensor on the pretended card wraps one of the host and reports the device ``meta``, on which torch computes nothing
itself. Like CUDA, the card takes numbers and indices from the host, but no other tensors. Attention chooses another
kernel there, so that numbers agree with the host's to rounding, not to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
_MOVES = ("aten::copy_", "aten::_to_copy")


class OnCard(torch.Tensor):
    """A tensor on the pretended card."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        options = {"strides": held.stride(), "dtype": held.dtype, "device": DEVICE}
        made = torch.Tensor._make_wrapper_subclass(cls, held.size(), **options)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def storage_offset(self) -> Any:
        return self.held.storage_offset()

    def new_tensor(self, data: Any, **options: Any) -> Any:
        return OnCard(self.held.new_tensor(data, **options))


class _Factories(TorchDispatchMode):
    """Make tensors on the card that are asked for by its device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


@contextmanager
def pretended_card(monkeypatch: Any) -> Iterator[None]:
    """Make the device ``meta`` a card inside; threads, which would not know it, work in turns."""
    in_turns = lambda pool, function, *each: list(map(function, *each))  # noqa: E731
    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.map", in_turns)
    with _Factories():
        yield


def on_card(model: nn.Module) -> nn.Module:
    """Move a model to the card; matrices with two names stay one."""
    moved: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                there = nn.Parameter(OnCard(parameter.detach()), requires_grad=False)
                module._parameters[name] = moved.setdefault(id(parameter), there)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = OnCard(buffer)
    return model


def host(tensor: Tensor) -> Tensor:
    """Return the tensor of the host that one on the card wraps."""
    return tensor.held if isinstance(tensor, OnCard) else tensor


def _compute(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Compute on the host, for the device that torch would compute on."""
    name, options = func.name(), dict(kwargs)
    wanted = options.pop("device", None)
    tensors = [each for each in tree_flatten((args, options))[0] if isinstance(each, torch.Tensor)]
    there = any(isinstance(each, OnCard) for each in tensors)
    if there and not name.startswith(_MOVES):
        judged = [args[0]] if name.startswith(("aten::index", "aten::_index")) else tensors
        if any(each.ndim and not isinstance(each, OnCard) for each in judged):
            raise RuntimeError(f"expected all tensors on one device in {name}, found some on the host")
    if wanted is not None:
        there = torch.device(wanted) == DEVICE
    found = func(*tree_map(_held, args), **tree_map(_held, options))
    if func._schema.is_mutable and isinstance(found, torch.Tensor):
        return args[0]
    return tree_map(_wrapped, found) if there and name != "aten::_local_scalar_dense" else found


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnCard) else value


def _wrapped(value: Any) -> Any:
    return OnCard(value) if isinstance(value, torch.Tensor) and not isinstance(value, OnCard) else value
