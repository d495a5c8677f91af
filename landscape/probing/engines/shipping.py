"""Pack a model, points, directions and plans for other processes: arrays of bytes, and small objects that name them.

Arrays travel once to each machine and are mapped there by all its processes. A tensor comes out with the same bits, in
the same layout. Nothing that is packed comes from a file: a checkpoint was read and checked before.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landscape.positions.directions import Family
from landscape.positions.position import Position
from landscape.probing.plan import PlanStep, ProbePlan, Window
from quant.center import Center
from quant.grid import Grid, GridTensor
from quant.point import PointTensor, WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, Vector, WeightSpace


@dataclass(frozen=True, eq=False)
class PackedTensor:
    """The bytes of a tensor, its dtype and its layout."""

    data: NDArray[np.uint8]
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> PackedTensor:
        """Pack a tensor of any device; its bytes are copied unless it lies contiguous on the CPU."""
        held = tensor.detach().cpu()
        flat = held.contiguous().reshape(-1).view(torch.uint8).numpy()
        return cls(flat, held.dtype, tuple(held.shape), held.stride())

    def shared(self) -> Tensor:
        """Return the tensor without a copy, contiguous; nobody may write to it."""
        if not self.data.size:
            return torch.empty(self.shape, dtype=self.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns of arrays that it cannot write to
            return torch.from_numpy(self.data).view(self.dtype).reshape(self.shape)

    def restored(self, device: str) -> Tensor:
        """Return a copy on a device, in the layout of the original."""
        empty = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device)
        return empty.copy_(self.shared())


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A model whose parameters and buffers are apart from it."""

    skeleton: nn.Module
    """The model with empty tensors on torch's meta device."""
    tensors: tuple[PackedTensor, ...]
    """Parameters and buffers of the model, each once, in the order of ``_tensors``."""

    @classmethod
    def of(cls, model: nn.Module) -> PackedModel:
        """Pack a model; it stays as it is."""
        held = list(_tensors(model))
        empty: dict[int, Any] = {id(tensor): _meta(tensor) for tensor in held}
        return cls(copy.deepcopy(model, empty), tuple(PackedTensor.of(tensor) for tensor in held))

    def restored(self, device: str) -> nn.Module:
        """Return the model on a device; tensors that the original shares between modules are shared again."""
        real: dict[int, Tensor] = {}
        for empty, packed in zip(_tensors(self.skeleton), self.tensors, strict=True):
            tensor = packed.restored(device)
            parameter = isinstance(empty, nn.Parameter)
            real[id(empty)] = nn.Parameter(tensor, requires_grad=empty.requires_grad) if parameter else tensor
        for module in self.skeleton.modules():
            groups: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for group in groups:
                group.update({name: real[id(held)] for name, held in group.items() if held is not None})
        return self.skeleton


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters and buffers of a model, each once."""
    yield from model.parameters()
    yield from model.buffers()


def _meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


class PackedCenter:
    """The centre, which every worker has already."""


@dataclass(frozen=True, eq=False)
class PackedVector:
    """A vector of the weight space, tensor by tensor."""

    parts: Mapping[str, PackedTensor]

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``."""
        return self.parts[slot.name].shared()


@dataclass(frozen=True, eq=False)
class PackedPoint:
    """A point: its codes as int8 with their grid, where it lies on one."""

    method: str
    scheme: QuantScheme | None
    parts: Mapping[str, tuple[PackedTensor, Grid | None]]

    def restored(self) -> WeightPoint:
        """Return the point, whose tensors are not copied."""
        parts: dict[str, PointTensor] = {
            name: packed.shared() if grid is None else GridTensor(packed.shared(), grid)
            for name, (packed, grid) in self.parts.items()
        }
        return WeightPoint(self.method, self.scheme, parts)


def pack_vector(vector: Vector, space: WeightSpace) -> PackedCenter | PackedVector | PackedPoint:
    """Pack the centre as a name, a point on a grid as codes, and any other vector as it is in each slot."""
    if isinstance(vector, Center):
        return PackedCenter()
    if isinstance(vector, WeightPoint):
        return PackedPoint(vector.method, vector.scheme, {s.name: _pack_part(vector.parts[s.name]) for s in space})
    return PackedVector({slot.name: PackedTensor.of(vector.tensor(slot)) for slot in space})


def unpack_vector(packed: Any, center: Center) -> Vector:
    """Return the vector that ``pack_vector`` packed."""
    if isinstance(packed, PackedCenter):
        return center
    vector: Vector = packed.restored() if isinstance(packed, PackedPoint) else packed
    return vector


def pack_family(family: Family, space: WeightSpace) -> Family:
    """Return a family of directions whose vectors are packed."""
    return _with_vectors(family, lambda vector: pack_vector(vector, space), lambda value: hasattr(value, "tensor"))


def unpack_family(family: Family, center: Center) -> Family:
    """Return the family that ``pack_family`` packed."""
    packed = (PackedCenter, PackedVector, PackedPoint)
    return _with_vectors(family, lambda value: unpack_vector(value, center), lambda value: isinstance(value, packed))


def _with_vectors(family: Family, change: Any, concerns: Any) -> Family:
    assert is_dataclass(family)
    values = ((field.name, getattr(family, field.name)) for field in fields(family))
    changed: Family = replace(family, **{name: change(value) for name, value in values if concerns(value)})
    return changed


def _pack_part(part: PointTensor) -> tuple[PackedTensor, Grid | None]:
    if isinstance(part, GridTensor):
        return PackedTensor.of(part.codes), part.grid.to(torch.device("cpu"))
    return PackedTensor.of(part), None


@dataclass(frozen=True, eq=False)
class PackedPlan:
    """A plan in which every window stands once."""

    steps: tuple[tuple[Position, tuple[str, ...], bool], ...]
    """Positions, the identities of their windows, and whether predictions are compared with those at w."""
    tokens: Mapping[str, NDArray[np.int64]]
    """Token ids of the windows by identity; a view of a tensor would travel with all windows of its split."""

    @classmethod
    def of(cls, plan: ProbePlan) -> PackedPlan:
        """Pack a plan."""
        windows = {window.identity: window for step in plan.steps for window in step.windows}
        steps = tuple((s.position, tuple(window.identity for window in s.windows), s.fidelity) for s in plan.steps)
        return cls(steps, {identity: window.tokens.cpu().numpy().copy() for identity, window in windows.items()})

    def restored(self) -> ProbePlan:
        """Return the plan; its windows name no article."""
        windows = {identity: Window(identity, torch.tensor(tokens)) for identity, tokens in self.tokens.items()}
        return ProbePlan(
            tuple(PlanStep(position, tuple(windows[i] for i in ids), f) for position, ids, f in self.steps)
        )
