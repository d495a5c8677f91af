"""Hold a weight point: one vector of the weight space, with the record of how it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from quant.errors import PointError
from quant.grid import GridTensor
from quant.hashing import tensor_bytes
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace

PointTensor = GridTensor | Tensor
"""One matrix of a point: on a grid, or as floats."""


@dataclass(frozen=True)
class WeightPoint:
    """One vector of the weight space."""

    method: str
    """The method, ``rtn``, ``gptq``, ``qaft``, ``w_ft`` …; the user's own name for a point of another tool."""
    scheme: QuantScheme | None
    """The scheme by which it was rounded; None if it is on no grid."""
    parts: Mapping[str, PointTensor]
    """One part per slot, by the slot's name; may be read lazily from a store."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able record of how it was made: options, hashes of the data, choices."""

    @property
    def name(self) -> str:
        """``rtn-int4-exact``; the method alone if the point is on no grid."""
        return f"{self.method}-{self.scheme}" if self.scheme else self.method

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``, in float32."""
        try:
            part = self.parts[slot.name]
        except KeyError:
            raise PointError(
                f"point {self.name} has no weights for {slot.name}; was it made for another model?"
            ) from None
        weight = part.dequantize() if isinstance(part, GridTensor) else part
        if tuple(weight.shape) != slot.shape:
            raise PointError(f"expected shape {slot.shape} in {slot.name}, point {self.name} has {tuple(weight.shape)}")
        return weight

    def grid_tensor(self, slot: Slot) -> GridTensor:
        """Return its codes in ``slot``, with their grid.

        Raises:
            PointError: if it has no codes there, or none of the slot's shape.
        """
        part = self.parts.get(slot.name)
        found = "nothing" if part is None else "floats"
        if isinstance(part, GridTensor):
            if tuple(part.codes.shape) == slot.shape:
                return part
            found = f"shape {tuple(part.codes.shape)}"
        raise PointError(
            f"expected codes of shape {slot.shape} for {slot.name} in {self.name}, got {found}; "
            "make the point from this model, with a method that stays on the grid such as rtn"
        )

    def fingerprint(self, space: WeightSpace) -> str:
        """Return the sha256 over its content: the bytes of each tensor in flat order, whatever made them."""
        digest = hashlib.sha256(json.dumps([(s.name, s.shape) for s in space]).encode())
        for slot in space:
            digest.update(tensor_bytes(self.tensor(slot)))
        return digest.hexdigest()
