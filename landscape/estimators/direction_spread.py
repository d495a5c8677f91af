"""Estimate how much directions differ from each other, without the part that the choice of windows adds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from landscape.estimators.intervals import CONFIDENCE, Columns, Estimate, mean_squares


def direction_spread(
    cells: NDArray[np.float64],
    tokens: NDArray | None = None,
    blocks: NDArray | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """Estimate the standard deviation σ_d over directions of a crossed table ``x_dw = μ + δ_d + ω_w + ε_dw``.

    Means of single directions scatter by ``√(σ²_d + σ²_ε/n_w)``: with few windows they look more different than they
    are. The component of variance is ``σ²_d = (MS_d − MS_dw)/n_w``, 0 if that is negative. Its interval is Williams'
    (1962, Biometrika 49:278, and Tukey 1951) for the one-way design; with the windows' main effect taken out, MS_d and
    MS_dw are independent in the same way. For normal effects it covers at least about as often as its confidence says.

    Args:
        cells: (n_d, n_w), finite; sums over a window divided by the mean token count.
        tokens: (n_w,) scored tokens; None if all are alike.
        blocks: (n_w,) labels; windows with the same one are not independent. None if all are.
        confidence: Confidence of the interval.

    Returns:
        None with fewer than two directions or two independent windows.
    """
    columns = Columns.of(np.ones(cells.shape[1]) if tokens is None else tokens, blocks)
    n_b = len(columns.share)
    if len(cells) < 2 or n_b < 2:
        return None
    (of_directions, _, rest), (df, _, df_rest) = mean_squares(cells, columns)

    def end(tail: float) -> float:
        """Solve for the σ_d at which a ratio MS_d/MS_dw like this one is exceeded with probability ``tail``."""
        f = float(special.fdtri(df, df_rest, 1 - tail))
        component = df * (of_directions - f * rest) / (n_b * float(special.chdtri(df, tail)))
        return math.sqrt(max(0.0, component))

    tail = (1 - confidence) / 2
    return Estimate(math.sqrt(max(0.0, (of_directions - rest) / n_b)), end(tail), end(1 - tail))
