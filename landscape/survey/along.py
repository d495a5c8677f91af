"""Read R along Δw itself from the segment between w and a point."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from landscape.estimators.crossing import Crossing, crossing
from landscape.estimators.radial_losses import RadialProbes
from landscape.positions.position import CENTER, on_segment
from landscape.probing.losses import Probes


def ray_to(
    probes: Probes, label: str, distance: float, alphas: Iterable[float], split: str, chance: float
) -> RadialProbes:
    """Return the losses on the segment from w to a point as those of one given direction.

    Args:
        probes: The losses.
        label: Label of the point.
        distance: ‖Δw‖, above 0.
        alphas: Positions on the segment, increasing, above 0.
        split: The split of the windows.
        chance: C = ln|V|, in nats per token.
    """
    positions = np.array(list(alphas))
    totals = np.array([probes.totals(on_segment(CENTER, label, float(alpha)), split) for alpha in positions])
    center, tokens, blocks = probes.totals(CENTER, split), probes.tokens(split), probes.blocks(split)
    return RadialProbes(positions * distance, totals[None], tokens, center, chance, blocks, fixed=True)


def radius_along(
    probes: Probes, label: str, distance: float, alphas: Iterable[float], split: str, chance: float
) -> Crossing | None:
    """Find R along Δw on the part of the segment that begins at w, with its interval over the windows.

    R is censored where the loss stays below half of the way to chance as far as the segment was probed, which is a
    little beyond the point. Positions behind w are left out.

    Args:
        probes: The losses.
        label: Label of the point.
        distance: ‖Δw‖.
        alphas: Positions on the segment, increasing.
        split: The split of the windows.
        chance: C = ln|V|, in nats per token.

    Returns:
        The crossing; None where the point is w itself, which has no direction.
    """
    if not distance > 0:
        return None
    return crossing(ray_to(probes, label, distance, [alpha for alpha in alphas if alpha > 0], split, chance))
