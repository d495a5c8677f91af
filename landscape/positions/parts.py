"""Decompose Δw into shrinkage, rounding and clipping, tensor by tensor.

In one matrix, with C the weights more than half a step beyond the ends of the grid and U all others,

    Δw = shrink + round + clip        clip   = Δw on C, 0 on U
                                      shrink = −β w on U, 0 on C,   β = −⟨Δw_U, w_U⟩ / ‖w_U‖²
                                      round  = Δw + β w on U, 0 on C

The three are orthogonal: clip shares no coordinate with the others, and round is orthogonal to w_U. So their squares
sum to ‖Δw‖², and a share is a share of that. At the scale of least error ⟨Q(w), Δw⟩ = 0, hence ⟨w, Δw⟩ = −‖Δw‖²:
optimal rounding shrinks. The shrinkage by clipping is in clip; β is the shrinkage of the other weights.

Any point on a grid has these parts. For GPTQ and QAFT, round holds whatever moved the weights inside the grid.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from quant.errors import PointError
from quant.point import WeightPoint
from quant.space import Slot, Vector, WeightSpace
from quant.statistics import clipped_weights

Part = Literal["shrink", "round", "clip"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class PartStatistics:
    """The parts of Δw in one matrix or in several together; every field is a sum over weights."""

    weights: int
    """Number of weights."""
    clipped: int
    """Number of clipped weights."""
    shrink: float
    """Square of the norm of the shrinkage."""
    round: float
    """Square of the norm of the rounding."""
    clip: float
    """Square of the norm of the clipping."""
    inward: float
    """−⟨Δw_U, w_U⟩ over the weights that are not clipped."""
    unclipped: float
    """‖w_U‖², of the weights that are not clipped."""

    @property
    def distance(self) -> float:
        """‖Δw‖."""
        return math.sqrt(self.shrink + self.round + self.clip)

    def norm(self, part: Part) -> float:
        """Compute the norm of a part."""
        return math.sqrt(float(getattr(self, part)))

    def share(self, part: Part) -> float:
        """Compute the part's share of ‖Δw‖²; NaN where that is 0."""
        square = self.shrink + self.round + self.clip
        return float(getattr(self, part)) / square if square else math.nan

    @property
    def shrinkage(self) -> float:
        """β: the weights that are not clipped lie along w with the factor 1 − β; NaN if all are clipped."""
        return self.inward / self.unclipped if self.unclipped else math.nan


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Δw in one matrix, in float32."""

    weight: Tensor
    """w."""
    quantized: Tensor
    """w + Δw."""
    clipped: Tensor
    """bool, C."""
    shrinkage: float
    """β; 0 where w_U is."""

    def with_parts(self, parts: Collection[Part]) -> Tensor:
        """Move the matrix by these parts of Δw alone: none of them gives w, and all of them the point, to the bit."""
        on_clipped = self.quantized if "clip" in parts else self.weight
        match "shrink" in parts, "round" in parts:
            case True, True:
                others = self.quantized
            case True, False:
                others = (1 - self.shrinkage) * self.weight
            case False, True:
                others = self.quantized + self.shrinkage * self.weight
            case _:
                others = self.weight
        return torch.where(self.clipped, on_clipped, others)

    def statistics(self) -> PartStatistics:
        """Sum the squares of the parts, in float64."""
        w, delta = (t.double().masked_fill(self.clipped, 0) for t in (self.weight, self.quantized - self.weight))
        square, inward = float(w.square().sum()), -float((delta * w).sum())
        return PartStatistics(
            weights=w.numel(),
            clipped=int(self.clipped.sum()),
            shrink=self.shrinkage**2 * square,
            round=float((delta + self.shrinkage * w).square().sum()),
            clip=float((self.quantized - self.weight)[self.clipped].double().square().sum()),
            inward=inward,
            unclipped=square,
        )


def decompose(slot: Slot, center: Vector, point: Vector) -> Decomposition:
    """Decompose Δw of one matrix.

    Args:
        slot: The matrix.
        center: The pretrained weights ``w``.
        point: A point on a grid.

    Raises:
        PointError: if the matrix is on no grid, so that nothing says what is clipped.
    """
    if not isinstance(point, WeightPoint):
        raise PointError(f"expected a point on a grid, whose Δw has parts, got a {type(point).__name__}")
    w = center.tensor(slot).float()
    part = point.grid_tensor(slot).to(w.device)
    clipped, quantized = clipped_weights(part.grid, w), part.dequantize()
    kept = w.double().masked_fill(clipped, 0)
    square = float(kept.square().sum())
    shrinkage = -float(((quantized - w).double() * kept).sum()) / square if square else 0.0
    return Decomposition(w, quantized, clipped, shrinkage)


def part_statistics(space: WeightSpace, center: Vector, point: Vector) -> dict[str, PartStatistics]:
    """Measure the parts in every matrix, by the slot's name, one matrix after the other.

    Raises:
        PointError: if the point is not on a grid.
    """
    return {slot.name: decompose(slot, center, point).statistics() for slot in space}


def combined(statistics: Iterable[PartStatistics]) -> PartStatistics:
    """Add up the statistics of several matrices."""
    return PartStatistics(*(sum(column) for column in zip(*map(astuple, statistics), strict=True)))
