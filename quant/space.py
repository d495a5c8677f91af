"""Define the D-dimensional weight space: the matrices of the transformer stack, in one documented flat order.

``w ∈ R^D`` collects the weights of every linear layer inside the decoder blocks, each once, and each expert's slice of
a stack of experts; embeddings, head, norms, biases and routers are not in it (Xu et al. 2024, §3.2). The flat order is
the order of the modules in the model, each matrix row-major as it is stored. No flat vector is ever held, since that of
a 7B model takes 26 GB: norms and products are accumulated in float64, one tensor at a time.

A slot is a parameter and, in a stack of experts, an index: ``WeightSpace`` alone reads, writes and slices parameters.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import torch
from torch import Tensor, nn

from quant.architecture import UNKNOWN, BlockMatrix, Outside, block_contents, decoder_blocks
from quant.errors import CheckpointError, UsageError
from quant.slot import Slot as Slot

_NAMED = 3  # parameters that a message lists


class Vector(Protocol):
    """A vector of the space that can be read one tensor at a time."""

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``, in the stored shape."""
        ...


@dataclass(frozen=True)
class WeightSpace:
    """The slots of a model's weight space, in flat order."""

    slots: tuple[Slot, ...]
    outside: tuple[Outside, ...] = ()
    """Other parameters of the blocks with two or more axes, by their names in the model."""

    @classmethod
    def of(cls, model: nn.Module, exclude: Sequence[str] = ()) -> WeightSpace:
        """Find the weight space of a causal language model.

        Args:
            model: The model.
            exclude: Globs over the names of matrices (``*.experts.3.*``) or of their parameters that stay outside.

        Raises:
            CheckpointError: if no stack of decoder blocks, or no linear layer in it, is found, or a block holds a
                matrix of an unknown kind that is not excluded.
            UsageError: if a glob matches nothing.
        """
        found = _Finder(model, exclude)
        if not found.slots:
            raise CheckpointError(f"expected linear layers in the decoder blocks of {type(model).__name__}, found none")
        return cls(tuple(found.slots), tuple(found.outside))

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    @property
    def fingerprint(self) -> str:
        """sha256 over the names and shapes of its slots, in order: different for any two spaces of a model."""
        return hashlib.sha256(json.dumps([(slot.name, slot.shape) for slot in self.slots]).encode()).hexdigest()

    def identity(self, model: str) -> str:
        """Return the sha256 over a model's fingerprint and this space, under which a store keeps its results."""
        return hashlib.sha256(f"{model} {self.fingerprint}".encode()).hexdigest()

    @property
    def dimension(self) -> int:
        """D, the number of coordinates."""
        last = self.slots[-1]
        return last.offset + last.size

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """Return the live parameters that hold the slots, each once, in flat order."""
        return [model.get_parameter(name) for name in dict.fromkeys(slot.parameter for slot in self.slots)]

    def weights(self, model: nn.Module) -> Iterator[tuple[Slot, Tensor]]:
        """Yield the live matrix of each slot; writing into it changes the model."""
        for slot in self.slots:
            yield slot, slot.slice(model.get_parameter(slot.parameter).detach())

    @torch.no_grad()
    def write(self, model: nn.Module, vector: Vector) -> None:
        """Copy a vector into the model's parameters, rounding to their dtype."""
        for slot, weight in self.weights(model):
            weight.copy_(vector.tensor(slot))

    def slices(self, model: nn.Module, of: Callable[[nn.Parameter], Tensor | None]) -> Iterator[tuple[Slot, Tensor]]:
        """Yield for each slot its view of a tensor shaped like its parameter, such as the gradient.

        Args:
            model: The model.
            of: Function from a parameter to its tensor; zeros replace None.
        """
        found: dict[str, Tensor] = {}
        for slot in self.slots:
            if slot.parameter not in found:
                parameter = model.get_parameter(slot.parameter)
                tensor = of(parameter)
                found[slot.parameter] = torch.zeros_like(parameter) if tensor is None else tensor
            yield slot, slot.slice(found[slot.parameter])

    def assembled(
        self, model: nn.Module, parts: Mapping[Slot, Tensor], dtype: torch.dtype | None = None
    ) -> dict[str, Tensor]:
        """Build whole parameters from some of their matrices, by the parameter's name; the others are the model's.

        Args:
            model: The model.
            parts: Matrices of slots; gradients flow back to them.
            dtype: Dtype of the parameters; the model's own if None.
        """
        whole: dict[str, Tensor] = {}
        stacks: dict[str, dict[int, Tensor]] = {}
        for slot, part in parts.items():
            part = part.to(dtype or model.get_parameter(slot.parameter).dtype)
            if slot.stack is None:
                whole[slot.name] = part
            else:
                stacks.setdefault(slot.stack, {})[slot.index] = part
        for name, by_index in stacks.items():
            parameter = model.get_parameter(name).detach()
            shape = next(iter(by_index.values())).shape
            others = parameter.view(-1, *shape)
            matrices = [by_index.get(i, other.to(dtype or parameter.dtype)) for i, other in enumerate(others)]
            whole[name] = torch.stack(matrices).view(parameter.shape)
        return whole


class _Finder:
    """One walk over the blocks, which sorts their matrices into slots and others."""

    def __init__(self, model: nn.Module, exclude: Sequence[str]) -> None:
        self.slots: list[Slot] = []
        self.outside: list[Outside] = []
        self._seen: set[int] = set()
        self._exclude, self._used = tuple(exclude), set[str]()
        stack, blocks = decoder_blocks(model)
        for index, block in enumerate(blocks):
            for found in block_contents(block):
                parameter = block.get_parameter(found.name)
                if id(parameter) in self._seen:  # a shared matrix is one set of coordinates
                    continue
                self._seen.add(id(parameter))
                self._sort(f"{stack}.{index}.{found.name}", index, found)
        self._check(model)

    def _sort(self, name: str, block: int, found: BlockMatrix | Outside) -> None:
        if isinstance(found, Outside):
            kind = "excluded" if found.kind == UNKNOWN and self._excluded(name) else found.kind
            self.outside.append(Outside(name, found.size, kind))
            return
        for index in range(found.count or 1):
            offset = self.slots[-1].offset + self.slots[-1].size if self.slots else 0
            slot = Slot(name, found.shape, found.transposed, block, offset)
            if found.count is not None:
                slot = Slot(_expert_name(name, index), found.shape, found.transposed, block, offset, name, index)
            if self._excluded(slot.name) | self._excluded(name):  # both: a glob that matches either counts as used
                self.outside.append(Outside(slot.name, slot.size, "excluded"))
            else:
                self.slots.append(slot)

    def _excluded(self, name: str) -> bool:
        matching = {glob for glob in self._exclude if fnmatchcase(name, glob)}
        self._used |= matching
        return bool(matching)

    def _check(self, model: nn.Module) -> None:
        unknown = [found.name for found in self.outside if found.kind == UNKNOWN]
        if unknown:
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            raise CheckpointError(
                f"expected linear layers or stacks of experts in the blocks of {type(model).__name__}, found "
                f"{', '.join(unknown[:_NAMED])}{more}, which the weight space does not hold; leave them as they are "
                f"with --exclude '*.{unknown[0].rpartition('.')[2]}'"
            )
        idle = [glob for glob in self._exclude if glob not in self._used]
        if idle:
            known = self.slots[0].name if self.slots else self.outside[0].name
            raise UsageError(f"expected names of matrices like {known} in --exclude, {idle[0]!r} matches none")


def _expert_name(parameter: str, index: int) -> str:
    """Name one matrix of a stack as in checkpoints with one tensor for each expert: ``…experts.3.down_proj``."""
    module, _, leaf = parameter.rpartition(".")
    return f"{module}.{index}.{leaf}"


def dot(space: WeightSpace, a: Vector, b: Vector) -> float:
    """Return ⟨a, b⟩ in float64."""
    return math.fsum(float((x := a.tensor(s).double()).mul(b.tensor(s).to(x.device).double()).sum()) for s in space)


def norm(space: WeightSpace, a: Vector) -> float:
    """Return ‖a‖ in float64."""
    return math.sqrt(math.fsum(float(a.tensor(s).double().square().sum()) for s in space))


@dataclass(frozen=True)
class Difference:
    """The vector b − a, computed one tensor at a time in float32, where a lies: stored points lie on the host."""

    a: Vector
    b: Vector

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``."""
        a = self.a.tensor(slot)
        return self.b.tensor(slot).to(a.device).float() - a.float()


def distance(space: WeightSpace, a: Vector, b: Vector) -> float:
    """Return ‖b − a‖ in float64."""
    return norm(space, Difference(a, b))
