"""Write and read a point file: one weight point, one tensor at a time.

The file holds a vector in the flat order of the weight space (``Slot.offset``), D coordinates long:

    codes       int8 (D,)
    scales      float32, the slots' scales one after the other, each of ``QuantScheme.scale_shape`` and row-major; what
                a level of a float format is multiplied by
    zeros       float32, in the order of the scales, if the grid is asymmetric
    weights     float32 (D,), in place of the other three, if the point is on no grid

and the attributes ``method``, ``scheme`` (JSON of its fields, or ``null``), ``provenance`` (JSON) and ``space`` (sha256
over the slots' names and shapes).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.probing.shard_file import Array, Attribute, Shard, Streamed
from landscape.probing.shard_records import recipe_of, text_of
from quant.errors import PointError, StoreError, UsageError
from quant.grid import GridTensor, make_grid
from quant.point import PointTensor, WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace

_AGAIN = "move the file away, so that the point is made again"


class _StoredParts(Mapping[str, PointTensor]):
    """The parts of a stored point, of which one slot's slice is read at a time."""

    def __init__(self, shard: Shard, space: WeightSpace, scheme: QuantScheme | None) -> None:
        self._shard = shard
        self._scheme = scheme if "codes" in shard else None
        self._places: dict[str, tuple[Slot, int]] = {}  # the slot, and where its scales begin
        start = 0
        for slot in space:
            self._places[slot.name] = slot, start
            start += math.prod(scheme.scale_shape(slot)) if scheme else 0

    def __getitem__(self, name: str) -> PointTensor:
        slot, start = self._places[name]
        if self._scheme is None:
            return self._read("weights", slot.offset, slot.shape)
        shape = self._scheme.scale_shape(slot)
        zero = self._read("zeros", start, shape) if "zeros" in self._shard else None
        grid = make_grid(slot, self._scheme, self._read("scales", start, shape), zero)
        return GridTensor(self._read("codes", slot.offset, slot.shape), grid)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _read(self, key: str, start: int, shape: tuple[int, int]) -> Tensor:
        count, kind = shape[0] * shape[1], np.dtype("<i1" if key == "codes" else "<f4")
        values = self._shard.numbers(key, start, start + count)
        if values.size != count or values.dtype != kind:
            raise StoreError(
                f"expected {count} numbers of type {kind} as {key} in {self._shard.path}, found {values.size} of type "
                f"{values.dtype}; {_AGAIN}"
            )
        return torch.from_numpy(values).reshape(shape)


def read_point(shard: Shard, space: WeightSpace) -> WeightPoint:
    """Return the point in an open file, which stays open as long as the point is used.

    Raises:
        PointError: The point is of another weight space.
        StoreError: The file holds no point.
    """
    if text_of(shard, "space") != space.fingerprint:
        raise PointError(f"expected the slots of this model in {shard.path}, found others; make the point again")
    fields, provenance = recipe_of(shard)
    try:
        scheme = QuantScheme(**fields) if fields else None
    except (TypeError, UsageError) as error:
        raise StoreError(f"expected a grid as scheme in {shard.path}, got another: {error}; {_AGAIN}") from error
    return WeightPoint(text_of(shard, "method"), scheme, _StoredParts(shard, space, scheme), provenance)


def point_attributes(space: WeightSpace, point: WeightPoint) -> dict[str, Attribute]:
    """Describe a point in the attributes of its file."""
    return {
        "method": point.method,
        "scheme": json.dumps(point.scheme.record if point.scheme else None),
        "provenance": json.dumps(dict(point.provenance), sort_keys=True),
        "space": space.fingerprint,
    }


def point_arrays(space: WeightSpace, point: WeightPoint) -> dict[str, Array]:
    """Return the arrays of a point file, after a check of the whole point, before anything is written.

    Raises:
        PointError: The point does not fit the space.
    """
    grids = [part.grid for slot in space if isinstance(part := _checked_part(point, slot), GridTensor)]
    if not grids:
        return {"weights": Streamed("<f4", space.dimension, _pieces(space, point))}
    if len(grids) < len(space.slots):
        raise PointError(
            f"expected all parts of point {point.name} on the grid or none, "
            f"found {len(grids)} of {len(space.slots)}; dequantize it before it is stored"
        )
    arrays: dict[str, Array] = {"scales": np.concatenate([_flat(grid.scale) for grid in grids])}
    zeros = [_flat(grid.zero) for grid in grids if grid.zero is not None]
    if zeros:
        arrays["zeros"] = np.concatenate(zeros)
    return arrays | {"codes": Streamed("<i1", space.dimension, _pieces(space, point))}


def _pieces(space: WeightSpace, point: WeightPoint) -> Iterator[NDArray[Any]]:
    for slot in space:
        part = point.parts[slot.name]
        yield _flat(part.codes if isinstance(part, GridTensor) else part)


def _checked_part(point: WeightPoint, slot: Slot) -> PointTensor:
    if slot.name not in point.parts:
        raise PointError(f"point {point.name} has no weights for {slot.name}; was it made for another model?")
    part = point.parts[slot.name]
    values, dtype = (part.codes, torch.int8) if isinstance(part, GridTensor) else (part, torch.float32)
    if (tuple(values.shape), values.dtype) != (slot.shape, dtype):
        raise PointError(
            f"expected {dtype} of shape {slot.shape} in {slot.name}, "
            f"point {point.name} has {values.dtype} of shape {tuple(values.shape)}"
        )
    if isinstance(part, GridTensor):
        _check_grid(point, slot, part)
    return part


def _check_grid(point: WeightPoint, slot: Slot, part: GridTensor) -> None:
    """Check that a reader, who makes the grid again from the point's scheme and the slot, makes this grid."""
    if point.scheme is None:
        raise PointError(f"expected a scheme with the codes of point {point.name}, found none")
    expected, grid = make_grid(slot, point.scheme, part.grid.scale, part.grid.zero), part.grid
    same = all(
        getattr(expected, key) == getattr(grid, key) for key in ("low", "high", "group", "input_dim", "codebook")
    )
    wanted, found = point.scheme.scale_shape(slot), tuple(grid.scale.shape)
    if not same or wanted != found or (grid.zero is None) != point.scheme.symmetric:
        raise PointError(f"expected the grid of {point.scheme} with {wanted} scales in {slot.name}, got {found} scales")


def _flat(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().contiguous().reshape(-1).numpy()
