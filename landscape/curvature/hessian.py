"""Multiply vectors with the Hessian of the loss: exactly, without the matrix, one window at a time.

H is the matrix of second derivatives of the token-mean NLL on given windows, in the D coordinates of the weight space
alone: embeddings, head, norms and biases are constants. ``Hv`` is the gradient of ``⟨∇L, v⟩`` (Pearlmutter 1994, "Fast
Exact Multiplication by the Hessian"), so that a second backward pass through the first gives it up to rounding.
Forward-over-reverse differentiation, as in curvlinops 3.0, would need less memory, but torch has no such rule for the
derivative of SiLU, and so for no Llama.

Memory, in vectors of D numbers: the model, its pristine copy (unless the caller has one), v, the gradient with its
graph, one window's product and the sum over windows; and the activations of one window with the graph of their
derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.probing.plan import Window, blocks_of
from quant.architecture import input_device
from quant.center import Center, preserved
from quant.errors import CheckpointError, UsageError
from quant.nll import whole_nll, window_nll
from quant.numerics import full_float32
from quant.space import Slot, Vector, WeightSpace

AGREEMENT = 1e-5
"""Largest relative difference of a window's loss between the kernels: float32 rounding makes a few 1e-7, another
mask far more."""


@dataclass(frozen=True, eq=False)
class FlatVector:
    """A vector of the space as one array in the flat order."""

    values: Tensor
    """(D,) numbers."""

    @classmethod
    def of(cls, space: WeightSpace, vector: Vector, dtype: torch.dtype = torch.float32) -> FlatVector:
        """Copy any vector."""
        flat = cls(torch.empty(space.dimension, dtype=dtype))
        for slot in space:
            flat.tensor(slot).copy_(vector.tensor(slot))
        return flat

    def tensor(self, slot: Slot) -> Tensor:
        """Return the part in ``slot``, as a view."""
        return self.values[slot.offset : slot.offset + slot.size].view(slot.shape)


@dataclass(frozen=True, eq=False)
class Hessian:
    """H at the weights that the model holds; from ``lent_hessian``."""

    model: nn.Module
    space: WeightSpace
    windows: tuple[Window, ...]
    """The text whose loss is differentiated."""

    @property
    def tokens(self) -> NDArray[np.int64]:
        """(n_w,) scored tokens of each window."""
        return np.array([len(window.tokens) - 1 for window in self.windows])

    @property
    def blocks(self) -> NDArray[np.int64] | None:
        """(n_w,) articles of the windows; None if not known."""
        return blocks_of(self.windows)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights and the products."""
        return next(self.space.weights(self.model))[1].dtype

    @property
    def weights(self) -> Vector:
        """Live weights of the model."""
        return Center({slot.name: weight for slot, weight in self.space.weights(self.model)})

    def product(self, vector: Vector) -> FlatVector:
        """Compute ``H v``, (D,)."""
        weight = next(self.space.weights(self.model))[1]
        total = FlatVector(torch.zeros(self.space.dimension, dtype=weight.dtype, device=weight.device))
        parts = self._parts(vector)
        for window in self.windows:
            for slot, part in zip(self.space, self._window_product(window, parts), strict=True):
                total.tensor(slot).add_(part.to(weight.device))
        total.values.div_(int(self.tokens.sum()))
        return total

    def forms(self, vector: Vector) -> NDArray[np.float64]:
        """Compute ``vᵀ ∇²T_w v`` for the NLL sum T_w of each window, (n_w,), in nats.

        ``vᵀ H v`` is their sum divided by the number of scored tokens.
        """
        parts = self._parts(vector)
        return np.array([_dot(parts, self._window_product(window, parts)) for window in self.windows])

    def _parts(self, vector: Vector) -> tuple[Tensor, ...]:
        return tuple(vector.tensor(s).to(p.device, p.dtype) for s, p in self.space.weights(self.model))

    def _window_product(self, window: Window, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Compute ``∇²T v`` for the NLL sum T of one window, by slot; zero for a matrix that no token reaches."""
        parameters = self.space.parameters(self.model)
        with _differentiable(), torch.enable_grad():
            total = _nll_sum(self.model, window)
            slope = torch.autograd.grad(total, parameters, create_graph=True, materialize_grads=True)
            products = (torch.sum(g * v).to(total.device) for g, v in zip(self._slices(slope), parts, strict=True))
            along = sum(products, torch.zeros_like(total))
            return self._slices(torch.autograd.grad(along, parameters, materialize_grads=True))

    def _slices(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Slice tensors, one per parameter, into the parts of the slots."""
        by_parameter = dict(zip(self.space.parameters(self.model), tensors, strict=True))
        return tuple(part for _, part in self.space.slices(self.model, by_parameter.__getitem__))


@contextmanager
def lent_hessian(
    model: nn.Module, space: WeightSpace, windows: Sequence[Window], center: Center | None = None
) -> Iterator[Hessian]:
    """Lend the Hessian at the model's present weights for the duration of the block.

    Inside, dropout is off and only the space's matrices require gradients. Afterwards weights, gradient flags and modes
    are as before, however the block ends.

    Args:
        model: A causal language model in float32 or float64.
        space: Its weight space.
        windows: The text, at least one window.
        center: The pristine copy of its present weights, if there is one.

    Raises:
        UsageError: no window, a window without a scored token, or a model in half precision.
        CheckpointError: the loss through the kernel that can be differentiated twice is not the model's ordinary loss.
    """
    if not windows or min(len(window.tokens) for window in windows) < 2:
        raise UsageError(f"expected at least one window, each of at least two tokens, got {len(windows)} window(s)")
    hessian = Hessian(model, space, tuple(windows))
    if hessian.dtype not in (torch.float32, torch.float64):
        raise UsageError(f"expected a model in float32 or float64, got {hessian.dtype}; load it with dtype float32")
    with preserved(model, space, center):
        model.requires_grad_(False)
        for parameter in space.parameters(model):
            parameter.requires_grad_(True)
        for window in hessian.windows:
            _check_agreement(model, window)
        yield hessian


@contextmanager
def _differentiable() -> Iterator[None]:
    """Use kernels with a second derivative, in full precision: torch's fused attention has none."""
    with full_float32(), sdpa_kernel(SDPBackend.MATH):
        yield


def _nll_sum(model: nn.Module, window: Window) -> Tensor:
    """Compute the NLL sum of one window, differentiably."""
    return whole_nll(model, window.tokens.to(input_device(model))[None]).double().sum()


def _check_agreement(model: nn.Module, window: Window) -> None:
    with full_float32():
        ordinary = window_nll(model, window.tokens).total
    with _differentiable(), torch.no_grad():
        other = float(_nll_sum(model, window))
    if not abs(other - ordinary) <= AGREEMENT * abs(ordinary):  # NaN does not agree
        raise CheckpointError(
            f"expected, to {AGREEMENT:g}, the same loss from attention that is twice differentiable, got {other:.9g} "
            f"for the model's {ordinary:.9g} nats; load the model with attn_implementation='eager'"
        )


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return math.fsum(float((x.double() * y.double()).sum()) for x, y in zip(a, b, strict=True))
