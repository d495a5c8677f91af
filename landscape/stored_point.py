"""The content of a point file: one weight point, written and read one tensor at a time.

It holds a vector in the flat order of the weight space (``Slot.offset``), D coordinates long:

    codes, scales, scale_shapes     int8 (D,); float32, the slots' scales one after the other; int64 (slots, 2)
    weights                         float32 (D,), instead of those three, if the point is on no grid

and the attributes ``method``, ``scheme`` (JSON of its fields, or ``null``), ``provenance`` (JSON) and ``space`` (sha256
over the slots' names and shapes).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.shards import Array, Attribute, Shard, Streamed
from quant.errors import PointError
from quant.grid import GridTensor, QuantScheme
from quant.point import Part, WeightPoint
from quant.space import Slot, WeightSpace


class _StoredParts(Mapping[str, Part]):
    """The parts of a stored point; only the slice of one slot is read at a time."""

    def __init__(self, shard: Shard, space: WeightSpace, scale_shapes: NDArray[np.int64] | None) -> None:
        self._shard = shard
        self._slots = {slot.name: (index, slot) for index, slot in enumerate(space)}
        self._scale_shapes = scale_shapes
        self._scale_ends = None if scale_shapes is None else np.cumsum(scale_shapes.prod(axis=1))

    def __getitem__(self, name: str) -> Part:
        index, slot = self._slots[name]
        if self._scale_shapes is None or self._scale_ends is None:
            return self._read("weights", slot.offset, slot.shape)
        rows, columns = self._scale_shapes[index].tolist()
        scale = self._read("scales", int(self._scale_ends[index]) - rows * columns, (rows, columns))
        return GridTensor(self._read("codes", slot.offset, slot.shape), scale)

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def _read(self, key: str, start: int, shape: tuple[int, int]) -> Tensor:
        return torch.from_numpy(self._shard.numbers(key, start, start + shape[0] * shape[1])).reshape(shape)


def read_point(shard: Shard, space: WeightSpace) -> WeightPoint:
    """The point in an open file, which stays open as long as the point is used.

    Raises:
        PointError: if it is of another weight space.
    """
    attributes = shard.attributes
    if attributes["space"] != _space_hash(space):
        raise PointError(f"expected the slots of this model in {shard.path}, found others; make the point again")
    scheme = json.loads(attributes["scheme"])
    parts = _StoredParts(shard, space, shard.numbers("scale_shapes") if "codes" in shard else None)
    provenance = json.loads(attributes["provenance"])
    return WeightPoint(attributes["method"], QuantScheme(**scheme) if scheme else None, parts, provenance)


def point_attributes(space: WeightSpace, point: WeightPoint) -> dict[str, Attribute]:
    """What a point file says about its point."""
    return {
        "method": point.method,
        "scheme": json.dumps(asdict(point.scheme) if point.scheme else None),
        "provenance": json.dumps(dict(point.provenance), sort_keys=True),
        "space": _space_hash(space),
    }


def point_arrays(space: WeightSpace, point: WeightPoint) -> dict[str, Array]:
    """What a point file holds; the point is looked through once before anything is written.

    Raises:
        PointError: if the point does not fit.
    """
    scales = [part.scale for slot in space if isinstance(part := _checked_part(point, slot), GridTensor)]
    if not scales:
        return {"weights": Streamed("<f4", space.dimension, _pieces(space, point))}
    if len(scales) < len(space.slots):
        raise PointError(
            f"expected all parts of point {point.name} on the grid or none, "
            f"found {len(scales)} of {len(space.slots)}; dequantize it before it is stored"
        )
    return {
        "scale_shapes": np.array([scale.shape for scale in scales], np.int64),
        "scales": np.concatenate([_flat(scale) for scale in scales]),
        "codes": Streamed("<i1", space.dimension, _pieces(space, point)),
    }


def _pieces(space: WeightSpace, point: WeightPoint) -> Iterator[NDArray[Any]]:
    for slot in space:
        part = point.parts[slot.name]
        yield _flat(part.codes if isinstance(part, GridTensor) else part)


def _checked_part(point: WeightPoint, slot: Slot) -> Part:
    if slot.name not in point.parts:
        raise PointError(f"point {point.name} has no weights for {slot.name}; was it made for another model?")
    part = point.parts[slot.name]
    values, dtype = (part.codes, torch.int8) if isinstance(part, GridTensor) else (part, torch.float32)
    if (tuple(values.shape), values.dtype) != (slot.shape, dtype):
        raise PointError(
            f"expected {dtype} of shape {slot.shape} in {slot.name}, "
            f"point {point.name} has {values.dtype} of shape {tuple(values.shape)}"
        )
    if isinstance(part, GridTensor) and tuple(part.scale.shape) not in ((1, 1), slot.channel_shape):
        raise PointError(
            f"expected a scale of shape (1, 1) or {slot.channel_shape} in {slot.name}, got {part.scale.shape}"
        )
    return part


def _flat(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().contiguous().reshape(-1).numpy()


def _space_hash(space: WeightSpace) -> str:
    return hashlib.sha256(json.dumps([(slot.name, slot.shape) for slot in space]).encode()).hexdigest()
