"""Find how data flows between a model's norms and matrices, by running it once on a few tokens.

Nothing here depends on names. The memory of a norm's output shows which matrices read it. A trial shows whether a scale
can move from one place to another: the output of one module is multiplied by powers of two, and the input of the other
divided by them. Such products are exact, so that the logits stay the same if and only if nothing else reads the tensor
between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from quant.architecture import input_device

_TOKENS = 8
_POWERS = (1.0, 2.0)
"""Factors for a trial; none is below one, so that nothing underflows."""
_TOLERANCES = {torch.float16: torch.finfo(torch.float16).eps}
"""Largest change of logits relative to the greatest one: float16 rounds small products more coarsely than large ones.
In wider dtypes nothing changes."""
_EXACT = 4 * torch.finfo(torch.float32).eps


@dataclass
class Flow:
    """The record of one forward pass of the model."""

    model: PreTrainedModel
    tokens: Tensor
    logits: Tensor
    readers: dict[str, list[str]] = field(default_factory=dict)
    """The matrices that read the output of each norm, by the names of the modules."""
    calls: list[str] = field(default_factory=list)
    """The matrices in the order of their calls."""

    def moves(self, outputs: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> bool:
        """Return whether the model stays the same function when scales are moved.

        Args:
            outputs: Factors of each module's output along the last axis: powers of two.
            inputs: Factors of each module's input.
        """
        with _hooked(self.model, outputs, inputs):
            moved = _logits(self.model, self.tokens)
        error = (moved.double() - self.logits.double()).abs().max()
        dtype = next(self.model.parameters()).dtype
        return bool(error <= _TOLERANCES.get(dtype, _EXACT) * self.logits.double().abs().max())


def trace(model: PreTrainedModel) -> Flow:
    """Run the model once on a few tokens, and record which matrices read which norm."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocabulary, (1, _TOKENS), generator=generator).to(input_device(model))
    readers: dict[str, list[str]] = {}
    calls: list[str] = []
    owners: dict[int, str] = {}
    kept: list[Tensor] = []  # so that no memory is used twice
    handles: list[RemovableHandle] = []

    def norm_hook(name: str) -> Any:
        def hook(module: nn.Module, given: object, output: object) -> None:
            if isinstance(output, Tensor):
                owners[output.untyped_storage().data_ptr()] = name
                kept.append(output)

        return hook

    def matrix_hook(name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            calls.append(name)
            if given and isinstance(given[0], Tensor):
                norm = owners.get(given[0].untyped_storage().data_ptr())
                if norm is not None and name not in readers[norm]:
                    readers[norm].append(name)
                kept.append(given[0])

        return hook

    for name, module in model.named_modules():
        if is_matrix(module):
            handles.append(module.register_forward_pre_hook(matrix_hook(name)))
        elif is_norm(module):
            readers[name] = []
            handles.append(module.register_forward_hook(norm_hook(name)))
    try:
        logits = _logits(model, tokens)
    finally:
        for handle in handles:
            handle.remove()
    return Flow(model, tokens, logits, readers, list(dict.fromkeys(calls)))


def is_matrix(module: nn.Module) -> bool:
    """Return whether a module is a linear layer."""
    return isinstance(module, nn.Linear | Conv1D)


def is_norm(module: nn.Module) -> bool:
    """Return whether a module has one factor for each feature, and perhaps a bias, and nothing else."""
    own = dict(module.named_parameters())
    return "weight" in own and own.keys() <= {"weight", "bias"} and own["weight"].ndim == 1


def powers_of_two(count: int, seed: int, like: Tensor) -> Tensor:
    """Draw factors, powers of two, to try a move with."""
    drawn = torch.randint(0, len(_POWERS), (count,), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(_POWERS)[drawn].to(like)


@torch.no_grad()
def gain_offset(norm: nn.Module) -> float | None:
    """Return what a norm adds to its weight: 0, or 1 as in Gemma; None if its weight is no factor of its output."""
    weight = norm.get_parameter("weight")
    factors = powers_of_two(weight.numel(), 1, weight)
    given = torch.randn((1, 4, weight.numel()), generator=torch.Generator().manual_seed(2)).to(weight)

    def output(gain: Tensor, offset: float) -> Tensor:
        changed = {"weight": gain - offset}
        if isinstance(norm.get_parameter("bias") if hasattr(norm, "bias") else None, Tensor):
            changed["bias"] = torch.zeros_like(weight)
        result: Tensor = functional_call(norm, changed, (given,))
        return result

    for offset in (0.0, 1.0):
        try:
            plain, scaled = output(torch.ones_like(factors), offset), output(factors, offset)
        except (TypeError, RuntimeError, AttributeError):
            return None
        eps = torch.finfo(weight.dtype).eps
        if torch.allclose(plain * factors, scaled, rtol=4 * eps, atol=eps) and bool(plain.any()):
            return offset
    return None


@torch.no_grad()
def _logits(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits


@contextmanager
def _hooked(model: nn.Module, outputs: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Iterator[None]:
    handles: list[RemovableHandle] = []
    try:
        for name, factors in outputs.items():
            handles.append(model.get_submodule(name).register_forward_hook(lambda m, x, y, f=factors: y * f))  # type: ignore[misc]
        for name, factors in inputs.items():
            handles.append(
                model.get_submodule(name).register_forward_pre_hook(lambda m, x, f=factors: (x[0] * f, *x[1:]))  # type: ignore[misc]
            )
        yield
    finally:
        for handle in handles:
            handle.remove()
