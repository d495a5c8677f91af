"""Measure how much of the basin each property of Δw spends.

R along directions that share more and more with a perturbation Δw, from none to all:

    sphere    uniform directions: ρ of the paper, from the length of Δw alone
    profile   also the distribution of Δw over the tensors: ρ_prof
    shrink    also its shortening of each of them: ρ_shrink
    along     Δw itself: ρ_Δ, with the clipping of single weights too; it restates the loss at the point

The gain of ρ from one step to the next is the share of that property. Beside it the loss at the point is compared with
the loss after random steps of the same length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from landscape.estimators.crossing import Crossing, crossing
from landscape.estimators.intervals import Estimate
from landscape.estimators.location import ratio
from landscape.estimators.radial_losses import direction_nll, excess
from landscape.estimators.radius_search import Losses, fixed_design, table
from landscape.positions.directions import Along, Family, Profile, Shrink, Sphere
from landscape.positions.perturbation import Perturbation
from quant.errors import UsageError
from quant.space import norm

Kind = Literal["sphere", "profile", "shrink", "along"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Matched:
    """The loss of random directions at the distance of the point."""

    mean: float
    """Mean ΔL, nats per token."""
    spread: float
    """Standard deviation of ΔL over the directions."""
    rises: tuple[float, ...]
    """ΔL of each direction."""
    interval: Estimate
    """The mean with its interval over directions and windows."""

    @property
    def directions(self) -> int:
        """Number of directions."""
        return len(self.rises)

    def multiple(self, rise: float) -> float:
        """Count the spreads by which a point's ΔL lies above the mean; infinite if the spread is 0 and it differs."""
        excess = rise - self.mean
        if self.spread > 0:
            return excess / self.spread
        return float(np.copysign(np.inf, excess)) if excess else 0.0


@dataclass(frozen=True)
class WaterfallStep:
    """One family of directions, and the point measured by it."""

    kind: Kind
    radius: Crossing
    """R along these directions."""
    rho: Estimate | None
    """‖Δw‖ over it, with R's interval; None if R is censored."""
    matched: Matched | None
    """Loss of these directions at ‖Δw‖; None along Δw itself, where that is the point."""


@dataclass(frozen=True)
class Waterfall:
    """The four steps of one point, sphere first."""

    distance: float
    """‖Δw‖."""
    rise: float
    """ΔL of the point on the same windows, nats per token."""
    steps: tuple[WaterfallStep, ...]


def families(perturbation: Perturbation, seed: int = 0) -> dict[Kind, Family]:
    """Make the directions of the four steps.

    Args:
        perturbation: Δw of the point.
        seed: Seed of the noise.
    """
    space, delta, label = perturbation.space, perturbation.delta, perturbation.label
    return {
        "sphere": Sphere(space, seed),
        "profile": Profile(space, delta, label, seed),
        "shrink": Shrink(space, perturbation.center, delta, label, seed),
        "along": Along(space, delta, label),
    }


def waterfall(
    losses: Callable[[Kind], Losses], perturbation: Perturbation, chance: float, directions: int, windows: int
) -> Waterfall:
    """Measure the four radii of a point, and the cost of random steps of its length.

    Args:
        losses: The landscape along the directions of each step (``families``).
        perturbation: Δw of the point.
        chance: C = ln|V|.
        directions: Number of directions of each random family, at least 2.
        windows: Number of windows of text.

    Raises:
        UsageError: if the point is w itself, or there are too few directions.
    """
    length, away = norm(perturbation.space, perturbation.center), perturbation.distance
    if away == 0 or directions < 2:
        raise UsageError(
            f"expected a point away from w and at least 2 directions, got a distance of {away:g} and {directions}"
        )

    def step(kind: Kind) -> WaterfallStep:
        fixed, along = kind == "along", losses(kind)
        found = crossing(fixed_design(along, length, chance, 1 if fixed else directions, windows, fixed))
        matched = None if fixed else _matched(along, away, chance, directions, windows)
        return WaterfallStep(kind, found, ratio(away, found), matched)

    here = table(losses("along"), [away], 1, windows, chance)
    rise = float(direction_nll(here)[0, 0] - here.center_nll)
    return Waterfall(away, rise, tuple(map(step, KINDS)))


def _matched(losses: Losses, away: float, chance: float, directions: int, windows: int) -> Matched:
    probes = table(losses, [away], directions, windows, chance)
    rises = direction_nll(probes)[:, 0] - probes.center_nll
    mean = float(rises.mean())
    cells = excess(probes, probes.center)[:, 1]  # (n_d, n_w), their plain mean is the mean rise
    return Matched(mean, float(rises.std(ddof=1)), tuple(rises.tolist()), probes.error(cells).interval(mean))
