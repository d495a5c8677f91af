"""Lay a lattice on the plane through w and two points, in an orthonormal basis: its distances are ℓ2 distances.

With ``e₁ = (a − w)/‖a − w‖`` and ``e₂`` the unit vector of the part of ``b − w`` orthogonal to ``e₁`` (Garipov et al.
2018), the position (x, y) is ``w + x e₁ + y e₂``. Positions are probed by their affine coordinates,
``w + s (a − w) + t (b − w)``, so that no basis vector is ever stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 13
"""Positions along each side of the lattice."""
PLANE_WINDOWS = 4
"""Largest number of validation windows that a plane is probed on; each takes SIDE² evaluations."""
_MARGIN = 0.35  # margin around the three points, as a share of the longer side of their rectangle
_NARROWEST = 0.5  # least ratio of the two sides, so that points nearly on a line do not make a strip
_COLLINEAR = 1e-3  # sine of the angle at w below which w and two points are taken for collinear
_STEP = 2.0**-20  # s and t are multiples of it: sums in another order, as with more threads, lead to the same positions

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PlaneBasis:
    """Coordinates of the two points in the plane, with w as the origin."""

    a: float
    """‖a − w‖: a is at (a, 0)."""
    b: tuple[float, float]
    """Coordinates of b; the second is above 0."""

    @classmethod
    def of(cls, aa: float, ab: float, bb: float) -> PlaneBasis | None:
        """Build the basis from the inner products of ``a − w`` and ``b − w``; None if w, a and b lie on one line."""
        if not (aa > 0 and bb > 0 and 1 - ab**2 / (aa * bb) > _COLLINEAR**2):
            return None
        along = ab / math.sqrt(aa)
        return cls(math.sqrt(aa), (along, math.sqrt(bb - along**2)))

    def affine(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return the coordinates s and t of (x, y): ``x e₁ + y e₂ = s (a − w) + t (b − w)``."""
        t = y / self.b[1]
        return (x - t * self.b[0]) / self.a, t


@dataclass(frozen=True, eq=False)
class PlaneLattice:
    """Positions in a rectangle around the three points."""

    basis: PlaneBasis
    x: Array
    """(n,) abscissae, increasing: ℓ2 distances along e₁."""
    y: Array
    """(n,) ordinates, increasing: ℓ2 distances along e₂."""

    @classmethod
    def around(cls, basis: PlaneBasis, side: int = SIDE) -> PlaneLattice:
        """Lay ``side × side`` positions around the three points."""
        corners = np.array([(0.0, 0.0), (basis.a, 0.0), basis.b])
        low, high = corners.min(0), corners.max(0)
        span = (high - low) + 2 * _MARGIN * (high - low).max()
        span = np.maximum(span, _NARROWEST * span.max())
        (x, y) = (np.linspace(m - s / 2, m + s / 2, side) for m, s in zip((low + high) / 2, span, strict=True))
        return cls(basis, x, y)

    @property
    def affine(self) -> Array:
        """(n, n, 2): s and t of each position, row by row; multiples of 2⁻²⁰."""
        s, t = self.basis.affine(*np.meshgrid(self.x, self.y))
        return np.asarray(np.round(np.stack([s, t], axis=-1) / _STEP) * _STEP)
