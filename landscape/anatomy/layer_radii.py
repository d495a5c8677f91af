"""Measure R_l, the radius of the basin when only some of the tensors move, and how much of it Δw spends there.

R_l is R along directions that are zero outside one block, or outside the matrices of one type: all other tensors stay
at ``w``. ‖Δw_l‖/R_l is the ρ of these tensors alone. A few tensors often cannot bring the loss halfway to chance at any
distance: their R_l is censored, a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from landscape.estimators.crossing import Crossing, crossing
from landscape.estimators.intervals import Estimate
from landscape.estimators.location import ratio
from landscape.estimators.radius_search import Losses, fixed_design
from landscape.positions.directions import Layers
from landscape.positions.perturbation import Perturbation
from landscape.positions.selection import selected
from quant.space import WeightSpace, norm


@dataclass(frozen=True)
class LayerRadius:
    """R_l of some of the tensors, and the length of Δw there."""

    slots: str
    """Selection of the tensors: see ``landscape.positions.selection``."""
    distance: float
    """‖Δw_l‖, the ℓ2 norm of Δw in them."""
    norm: float
    """‖w_l‖."""
    radius: Crossing
    """R_l."""

    @property
    def rho(self) -> Estimate | None:
        """‖Δw_l‖/R_l with R_l's interval; None if R_l is censored."""
        return ratio(self.distance, self.radius)

    @property
    def rho_bound(self) -> float:
        """Upper bound of ‖Δw_l‖/R_l, the upper end of its interval; infinite if nothing bounds R_l from below."""
        return self.distance / self.radius.low if self.radius.low > 0 else math.inf


def layer_radius(
    losses: Callable[[Layers], Losses],
    family: Layers,
    perturbation: Perturbation,
    chance: float,
    directions: int,
    windows: int,
) -> LayerRadius:
    """Measure R_l of the tensors of a family of directions, at distances in units of ‖w_l‖.

    Args:
        losses: The landscape along a family.
        family: Directions of these tensors.
        perturbation: Δw of the point.
        chance: C = ln|V|.
        directions: Number of directions, at least 2 for an interval.
        windows: Number of windows of text.
    """
    inside = WeightSpace(selected(family.slots, family.space))
    length = norm(inside, perturbation.center)
    found = crossing(fixed_design(losses(family), length, chance, directions, windows))
    return LayerRadius(family.slots, norm(inside, perturbation.delta), length, found)


def most_spent_first(radii: Iterable[LayerRadius]) -> tuple[LayerRadius, ...]:
    """Rank by ‖Δw_l‖/R_l; those with a censored R_l come last, by the upper bound of their ratio."""
    return tuple(sorted(radii, key=lambda r: (r.rho is None, -(r.rho_bound if r.rho is None else r.rho.value))))
