"""The D-dimensional weight space: the matrices of the transformer stack, in one documented flat order.

``w ∈ R^D`` collects the weights of every linear layer inside the decoder blocks, each once; embeddings, head, norms and
biases are not in it (Xu et al. 2024, §3.2). The flat order is the order of the modules in the model, each matrix
row-major as it is stored. Nothing here ever holds a flat vector: a 7B model's is 26 GB, so norms and products are
accumulated in float64, one tensor at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from quant.architecture import block_matrices, decoder_blocks, is_transposed
from quant.errors import CheckpointError


@dataclass(frozen=True)
class Slot:
    """The place of one weight matrix in the space."""

    name: str
    """Name of the parameter in the model, ``model.layers.0.mlp.up_proj.weight``."""
    shape: tuple[int, int]
    """Shape as stored."""
    transposed: bool
    """Whether it is stored (in, out), as GPT-2's ``Conv1D`` does, rather than (out, in)."""
    block: int
    """Index of its decoder block."""
    offset: int
    """Index of its first coordinate in the flat order."""

    @property
    def size(self) -> int:
        """How many coordinates it has."""
        return self.shape[0] * self.shape[1]

    @property
    def channel_shape(self) -> tuple[int, int]:
        """Shape of one value per output channel that broadcasts against the stored matrix."""
        return (1, self.shape[1]) if self.transposed else (self.shape[0], 1)

    @property
    def input_dim(self) -> int:
        """The stored axis that runs over input features."""
        return 0 if self.transposed else 1


class Vector(Protocol):
    """A vector of the space that can be read one tensor at a time."""

    def tensor(self, slot: Slot) -> Tensor:
        """Its part in ``slot``, in the stored shape."""
        ...


@dataclass(frozen=True)
class WeightSpace:
    """The slots of a model's weight space, in flat order."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, model: nn.Module) -> WeightSpace:
        """The weight space of a causal language model.

        Raises:
            CheckpointError: if no stack of decoder blocks, or no linear layer in it, is found.
        """
        stack, blocks = decoder_blocks(model)
        slots: list[Slot] = []
        seen: set[int] = set()
        offset = 0
        for index, block in enumerate(blocks):
            for name, module in block_matrices(block):
                weight = module.get_parameter("weight")
                if id(weight) in seen:  # a shared matrix is one set of coordinates
                    continue
                seen.add(id(weight))
                rows, columns = weight.shape
                slot = Slot(f"{stack}.{index}.{name}.weight", (rows, columns), is_transposed(module), index, offset)
                slots.append(slot)
                offset += slot.size
        if not slots:
            raise CheckpointError(f"expected linear layers in the decoder blocks of {type(model).__name__}, found none")
        return cls(tuple(slots))

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    @property
    def dimension(self) -> int:
        """D."""
        last = self.slots[-1]
        return last.offset + last.size

    def parameters(self, model: nn.Module) -> Iterator[tuple[Slot, nn.Parameter]]:
        """The live parameter of each slot."""
        for slot in self.slots:
            yield slot, model.get_parameter(slot.name)

    @torch.no_grad()
    def write(self, model: nn.Module, vector: Vector) -> None:
        """Copy a vector into the model's parameters, rounding to their dtype."""
        for slot, parameter in self.parameters(model):
            parameter.copy_(vector.tensor(slot))


def dot(space: WeightSpace, a: Vector, b: Vector) -> float:
    """⟨a, b⟩ in float64."""
    return math.fsum(float((a.tensor(s).double() * b.tensor(s).double()).sum()) for s in space)


def norm(space: WeightSpace, a: Vector) -> float:
    """‖a‖ in float64."""
    return math.sqrt(math.fsum(float(a.tensor(s).double().square().sum()) for s in space))


@dataclass(frozen=True)
class Difference:
    """The vector b − a, computed one tensor at a time in float32."""

    a: Vector
    b: Vector

    def tensor(self, slot: Slot) -> Tensor:
        """Its part in ``slot``."""
        return self.b.tensor(slot).float() - self.a.tensor(slot).float()


def distance(space: WeightSpace, a: Vector, b: Vector) -> float:
    """‖b − a‖ in float64."""
    return norm(space, Difference(a, b))


def cosine(space: WeightSpace, a: Vector, b: Vector) -> float:
    """Cosine of the angle between two vectors; NaN if one is zero."""
    lengths = norm(space, a) * norm(space, b)
    return dot(space, a, b) / lengths if lengths else math.nan
