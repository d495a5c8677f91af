"""One part of Δw as a vector, by the formulas that ``landscape.positions.parts`` begins with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from landscape.positions.parts import Decomposition, Part, decompose
from quant.space import Slot, Vector


def part_of(found: Decomposition, part: Part) -> Tensor:
    """Return one part of Δw in a matrix, in float32."""
    delta, shrunk = found.quantized - found.weight, -found.shrinkage * found.weight
    on_clipped = {"clip": delta}.get(part, 0 * delta)
    elsewhere = {"shrink": shrunk, "round": delta - shrunk}.get(part, 0 * delta)
    return on_clipped.where(found.clipped, elsewhere)


@dataclass(frozen=True)
class PartVector:
    """One part of a point's Δw as a vector of the space."""

    center: Vector
    point: Vector
    part: Part

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``."""
        return part_of(decompose(slot, self.center, self.point), self.part)
