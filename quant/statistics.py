"""Count what a grid does to the weights: how far they move, how many vanish, how many are clipped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass

from torch import Tensor

from quant.errors import PointError
from quant.grid import Grid, GridTensor
from quant.point import WeightPoint
from quant.scale import find_grid
from quant.scheme import QuantScheme, Scale
from quant.space import Vector, WeightSpace

_HALF_A_STEP = 0.5 + 1e-4  # float32 rounding of a code of at most 128: quotient, product and scale, 128 · 3 · 2⁻²⁴


@dataclass(frozen=True)
class GridStatistics:
    """Statistics of one matrix, or of all together."""

    weights: int
    """Number of weights."""
    squared_error: float
    """Σ (Q(w) − w)²."""
    least_squared_error: float
    """Σ (Q(w) − w)² of rounding at the scale of ``reference_scale``, with the same bits and granularity; NaN for a
    float format, which has no other scale."""
    zeros: int
    """Weights whose value on the grid is 0."""
    clipped: int
    """Weights of ``w`` more than half a step beyond the ends of the grid, the last step where steps differ."""

    @property
    def over_optimum(self) -> float:
        """MSE over that of rounding at the scale of ``reference_scale``; NaN where the latter is 0 or NaN."""
        return self.squared_error / self.least_squared_error if self.least_squared_error else math.nan

    @property
    def zero_fraction(self) -> float:
        """Share of weights that became 0."""
        return self.zeros / self.weights

    @property
    def clipped_fraction(self) -> float:
        """Share of weights that are clipped."""
        return self.clipped / self.weights


def reference_scale(scheme: QuantScheme) -> Scale | None:
    """Return the kind of scale that a point is compared with: the exact optimum, where its search is cheap or was made.

    None for a float format, whose scales follow from the weights: there is no better one to compare with.

    It is cheap for tensors, and was made for points of that scale. For channels and groups it takes minutes to hours:
    they are compared with ``mse``, whose error is within 0.12 % of the least at 2 to 4 bits, and some per cent larger
    at 8.
    """
    if scheme.format is not None:
        return None
    return "exact" if scheme.granularity == "tensor" or scheme.scale == "exact" else "mse"


def clipped_weights(grid: Grid, weight: Tensor) -> Tensor:
    """Return which weights lie more than half a step beyond the ends of a grid.

    Where steps differ, as those of a float format, it is half of the last step, the largest: no weight between the ends
    is as far from its grid point.

    Args:
        grid: The grid of the matrix.
        weight: The matrix in float32, on the grid's device.

    Returns:
        bool, in the shape of ``weight``.
    """
    return (grid.nearest(weight) - weight).abs() / grid.steps(weight) > _HALF_A_STEP


def grid_counts(part: GridTensor, weight: Tensor) -> tuple[int, int]:
    """Count the weights that became 0, and those that are clipped.

    Args:
        part: The codes and grid of a matrix.
        weight: The matrix in float32, on the same device.
    """
    return int((part.dequantize() == 0).sum()), int(clipped_weights(part.grid, weight).sum())


def grid_statistics(space: WeightSpace, center: Vector, point: WeightPoint) -> dict[str, GridStatistics]:
    """Return the statistics of every matrix of a point.

    Args:
        space: The weight space.
        center: The pretrained weights ``w``.
        point: A point whose matrices are on grids.

    Returns:
        The statistics by the slot's name.

    Raises:
        PointError: if the point is not on a grid.
    """
    if point.scheme is None:
        raise PointError(f"expected a point on a grid, got {point.name}")
    reference = reference_scale(point.scheme)
    best_scheme = QuantScheme(point.scheme.bits, reference, point.scheme.granularity) if reference else None
    found = {}
    for slot in space:
        weight = center.tensor(slot).float()
        part = point.grid_tensor(slot).to(weight.device)
        rounded = part.dequantize()
        least = math.nan
        if best_scheme is not None:
            least = _squared(find_grid(slot, weight, best_scheme).nearest(weight) - weight)
        found[slot.name] = GridStatistics(
            slot.size,
            _squared(rounded - weight),
            least,
            *grid_counts(part, weight),
        )
    return found


def _squared(delta: Tensor) -> float:
    return float(delta.double().square().sum())


def total(statistics: Iterable[GridStatistics]) -> GridStatistics:
    """Return the statistics of all matrices together."""
    rows = [astuple(row) for row in statistics]
    return GridStatistics(*(sum(column) for column in zip(*rows, strict=True)))
