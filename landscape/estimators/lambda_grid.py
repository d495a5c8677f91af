"""Choose the λ of a sweep, so that no user has to guess the range.

A pilot walks one direction until the loss has climbed past half of chance, ``u(λ) = (L(λ) − L(w)) / (C − L(w)) ≥ ½``,
and narrows the crossing down by bisection. The grid then spends most of its points evenly from the bottom of the basin
to a little beyond the outer edge of the border, wherever that is, and the rest on the plateau. The crossing is rounded
to two figures of λ/‖w‖ first, so that the grid, and with it the cache, does not move with small changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from quant.errors import UsageError

_START = 0.1  # λ/‖w‖ of the first try; R lies between 0.1 and 2 for the models measured so far
_LIMIT = 6  # factors of two tried on either side before the search gives up
PILOT_PROBES = 8  # positions that a search takes, about: for the forecast
_BORDER = 2.2
"""Upper bound of r90/R: 1.8 in a Gaussian well, 2.0 with its plateau at u = 0.95, less behind a steep wall."""
_TOLERANCE = 1.1  # the bisection ends when the bracket is this narrow: a grid needs no more


def pilot_radius(u: Callable[[float], float], norm: float) -> float | None:
    """Find roughly where ``u(λ) = ½`` along one direction.

    Args:
        u: The normalised rise of the loss at distance λ; a loss that is not finite counts as risen.
        norm: ‖w‖, the scale of the search.

    Returns:
        λ, rounded to two figures of λ/‖w‖; None if the loss never rises that far within 6.4 ‖w‖.
    """

    def risen(ratio: float) -> bool:
        value = u(ratio * norm)
        return not math.isfinite(value) or value >= 0.5

    low = high = _START
    if risen(_START):
        for _ in range(_LIMIT):
            low = high / 2
            if not risen(low):
                break
            high = low
    else:
        for _ in range(_LIMIT):
            high = low * 2
            if risen(high):
                break
            low = high
        else:
            return None
    while high / low > _TOLERANCE:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if risen(middle) else (middle, high)
    return float(f"{math.sqrt(low * high):.2g}") * norm


def sweep_grid(radius: float, count: int, reach: float = 0.0) -> tuple[float, ...]:
    """Choose the λ to sweep, increasing.

    Args:
        radius: The pilot's crossing.
        count: Number of points: nine tenths of them evenly up to 2.2 radii, the others geometrically up to 3. With 14
            points no interpolated r10, R or r90 of the calibration's wells is off by more than 0.03 %.
        reach: Distance that the grid must cover, so that every point of the landscape lies on the plot; beyond 3 radii
            it continues in steps of a factor 1.4.
    """
    if count < 4:
        raise UsageError(f"expected at least 4 values of λ per direction, got {count}")
    far = max(1, round(0.1 * count))
    rise = count - far
    steps, outer = np.arange(1, rise + 1) / rise, np.arange(1, far + 1) / far
    grid = [*(_BORDER * steps), *(_BORDER * (3 / _BORDER) ** outer)]
    while grid[-1] * radius < reach:
        grid.append(grid[-1] * 1.4)
    return tuple(float(m * radius) for m in grid)
