"""How data flows between the norms and the matrices of a model, found by running it once on a few tokens.

Nothing here goes by names. Which matrices read a norm is seen in the memory of the tensor that they are given, and
whether a scale can be moved from one place to another is tried: the output of one module times powers of two, the input
of the other over the same ones. Such products are exact, so that the logits stay as they are if and only if nothing
else reads what lies between.
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

_TOKENS = 8
_POWERS = (1.0, 2.0)
"""None below one, so that nothing underflows on the way."""
_TOLERANCES = {torch.float16: torch.finfo(torch.float16).eps}
"""How far logits may move, relative to the greatest one: in float16 small products are rounded more coarsely than large
ones. In the wider dtypes nothing moves."""
_EXACT = 4 * torch.finfo(torch.float32).eps


@dataclass
class Flow:
    """What one forward of the model showed."""

    model: PreTrainedModel
    tokens: Tensor
    logits: Tensor
    readers: dict[str, list[str]] = field(default_factory=dict)
    """The matrices that are given the output of each norm, by the names of the modules."""
    calls: list[str] = field(default_factory=list)
    """The matrices in the order in which they are called."""

    def moves(self, outputs: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> bool:
        """Whether the model stays the same function when scales are moved.

        Args:
            outputs: By module, what its output is multiplied by, along the last axis: powers of two.
            inputs: By module, what its input is multiplied by.
        """
        with _hooked(self.model, outputs, inputs):
            moved = _logits(self.model, self.tokens)
        error = (moved.double() - self.logits.double()).abs().max()
        dtype = next(self.model.parameters()).dtype
        return bool(error <= _TOLERANCES.get(dtype, _EXACT) * self.logits.double().abs().max())


def trace(model: PreTrainedModel) -> Flow:
    """Run the model once on a few tokens, and see what reads what."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocabulary, (1, _TOKENS), generator=generator).to(model.device)
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
    """Whether a module is a linear layer."""
    return isinstance(module, nn.Linear | Conv1D)


def is_norm(module: nn.Module) -> bool:
    """Whether a module has one factor for each feature, and perhaps a bias, and nothing else."""
    own = dict(module.named_parameters())
    return "weight" in own and own.keys() <= {"weight", "bias"} and own["weight"].ndim == 1


def powers_of_two(count: int, seed: int, like: Tensor) -> Tensor:
    """Factors to try a move with."""
    drawn = torch.randint(0, len(_POWERS), (count,), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(_POWERS)[drawn].to(like)


@torch.no_grad()
def gain_offset(norm: nn.Module) -> float | None:
    """What a norm adds to its weight before it multiplies: 0, or 1 as Gemma's do; None if it is another function."""
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
