"""Measure the perturbation Δw that leads from w to a point: its length, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from landscape.positions.parts import PartStatistics, combined, part_statistics
from quant.space import Difference, Vector, WeightSpace, norm


@dataclass(frozen=True, eq=False)
class Perturbation:
    """The perturbation Δw of one point; each number is computed once, when it is first read."""

    space: WeightSpace
    center: Vector
    """The pretrained weights ``w``."""
    point: Vector
    """The point ``w + Δw``."""
    label: str
    """Label of the point in the atlas: the identity of Δw."""

    @property
    def delta(self) -> Vector:
        """Δw as a vector of the space."""
        return Difference(self.center, self.point)

    @cached_property
    def distance(self) -> float:
        """‖Δw‖, in float64."""
        return norm(self.space, self.delta)

    @cached_property
    def statistics(self) -> Mapping[str, PartStatistics]:
        """The parts of Δw in every tensor, by the slot's name.

        Raises:
            PointError: if the point is on no grid.
        """
        return part_statistics(self.space, self.center, self.point)

    @cached_property
    def total(self) -> PartStatistics:
        """The parts of all tensors together.

        Raises:
            PointError: if the point is on no grid.
        """
        return combined(self.statistics.values())
