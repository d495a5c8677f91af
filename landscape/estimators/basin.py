"""The radius of the attractive basin around w, its border band, and where a point lies in it.

The picture of Xu et al. 2024, §4.3 and Figure 3, made a definition. The mean loss over random directions, ``L̄(λ)``, is
put on a scale that is 0 at w and 1 at chance: ``u(λ) = (L̄(λ) − L(w)) / (C − L(w))``, ``C = ln|V|``. The radius R is
the first λ with u = ½, the border is the band from r10 to r90 (u = 0.1 and 0.9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landscape.estimators.crossing import LOST, Crossing, crossing, first_zero
from landscape.estimators.intervals import CONFIDENCE, Estimate, article_count
from landscape.estimators.radial_losses import RadialProbes, direction_nll, excess, level_target, saturation
from quant.errors import UsageError

__all__ = [
    "Basin", "Crossing", "Location", "Loss", "RadialProbes", "crossing", "direction_nll", "estimate_basin", "location",
    "location_at", "loss_word", "ratio", "saturation", "steeper",
]  # fmt: skip

Location = Literal["inside", "border", "outside", "unresolved"]
Loss = Literal["kept", "degraded", "lost"]
"""What is left of a model; ``degraded`` is "not shown to be kept", ``loss_word`` says when."""

INNER, OUTER = 0.1, 0.9
"""Levels of u at which the border band begins and ends."""
KEPT_LIMIT = math.log(1.05)  # nats per token: a perplexity 5 % higher


@dataclass(frozen=True)
class Basin:
    """The attractive basin around w as one family of directions sees it on one split."""

    radius: Crossing
    """R: u = ½."""
    r10: Crossing
    """Inner edge of the border band: u = 0.1."""
    r90: Crossing
    """Outer edge of the border band: u = 0.9."""
    center_nll: float
    """L(w), nats per token."""
    chance: float
    """C = ln|V|, nats per token."""
    direction_radii: tuple[float | None, ...]
    """R of each single direction, None where it is censored. Their spread is not the uncertainty of R."""
    windows: int
    """How many windows were averaged."""
    blocks: int | None
    """How many articles they are of, which are what the intervals take for independent; None if that is not known: then
    it is the windows."""
    non_finite: float
    """Share of the probes whose loss was NaN or infinite; how they count is said at ``direction_nll``."""
    monotone: bool
    """Whether the mean profile never falls from one probe to the next."""

    @property
    def directions(self) -> int:
        """How many directions were averaged."""
        return len(self.direction_radii)

    @property
    def direction_spread(self) -> Estimate | None:
        """Mean, least and largest radius of single directions; None while one of them is censored."""
        radii = [r for r in self.direction_radii if r is not None]
        return Estimate(float(np.mean(radii)), min(radii), max(radii)) if len(radii) == self.directions else None

    @property
    def direction_std(self) -> float | None:
        """Standard deviation over single directions; None with one direction or while one is censored."""
        radii = [r for r in self.direction_radii if r is not None]
        return float(np.std(radii, ddof=1)) if 1 < len(radii) == self.directions else None


def estimate_basin(probes: RadialProbes, confidence: float = CONFIDENCE) -> Basin:
    """Measure the basin: R, its border band and the spread of single directions.

    Args:
        probes: The losses along the rays.
        confidence: Of the intervals.
    """
    r10, radius, r90 = (crossing(probes, level, confidence) for level in (INNER, LOST, OUTER))
    x = np.concatenate([[0.0], probes.lambdas])
    singles = (first_zero(x, profile) for profile in excess(probes, level_target(probes, LOST)).mean(2))
    mean_profile = np.concatenate([[probes.center_nll], direction_nll(probes).mean(0)])
    return Basin(
        radius=radius,
        r10=r10,
        r90=r90,
        center_nll=probes.center_nll,
        chance=probes.chance,
        direction_radii=tuple(None if found is None else found[1] for found in singles),
        windows=len(probes.tokens),
        blocks=article_count(probes.blocks),
        non_finite=float(1 - np.isfinite(probes.totals).mean()),
        monotone=bool((np.diff(mean_profile) >= 0).all()),
    )


def location(distance: float, basin: Basin) -> Location:
    """Where a point at ‖Δw‖ lies, as far as the intervals of the band allow to say.

    It says nothing of the point's loss: a point deep inside can be lost along an untypical direction (``loss_word``).

    Args:
        distance: ‖Δw‖, in the units of the basin.
        basin: A censored or unbounded edge of its band leaves what lies beyond unresolved.
    """
    _check_distance(distance)
    if distance <= basin.r10.low:
        return "inside"
    if distance > basin.r90.high:
        return "outside"
    return "border" if basin.r10.high <= distance <= basin.r90.low else "unresolved"


def location_at(u: Estimate) -> Location:
    """The same of a point whose distance was itself probed along random directions, from the u of their mean there.

    Where the mean profile rises, ``‖Δw‖ < r10`` is ``u(‖Δw‖) < 0.1``: one distance tells what the band would.

    Args:
        u: The normalised rise of the mean loss of random directions at ‖Δw‖, with its interval.
    """
    if u.high < INNER:
        return "inside"
    if u.low > OUTER:
        return "outside"
    return "border" if u.low >= INNER and u.high <= OUTER else "unresolved"


def loss_word(delta: Estimate, u: float, limit: float = KEPT_LIMIT) -> Loss:
    """What became of a point's loss, wherever the point lies.

    Args:
        delta: ΔL against w (``paired_difference``), nats per token.
        u: ``saturation`` of the point's own loss; infinite or NaN where the model overflowed.
        limit: The ΔL that is acceptable; its default is a perplexity 5 % higher.

    Returns:
        ``lost`` from u = ½ on; else ``kept`` if the upper end of ΔL's interval is within the limit; else ``degraded``.
        So degraded means "not shown to be kept": ΔL itself may be within the limit, or below 0, where few windows leave
        its interval wide.
    """
    if not u < LOST:  # NaN is lost
        return "lost"
    return "kept" if delta.high <= limit else "degraded"


def steeper(delta: Estimate, typical: float) -> bool:
    """Whether a point's loss is shown to rise more than along random directions to the same distance.

    Args:
        delta: ΔL of the point. Infinite where the model overflowed, which is more than any finite rise.
        typical: Mean ΔL of the random directions there, or the upper end of its interval where that is known; NaN or
            infinite where nothing can be shown against it.
    """
    return math.isfinite(typical) and (delta.low > typical or not math.isfinite(delta.value))


def ratio(distance: float, crossing: Crossing) -> Estimate | None:
    """``ρ = distance / R`` with R's interval; None if R is censored.

    With ‖Δw‖ and R along random directions it is the paper's ρ. Along a path ``w + t·v`` that was probed in units of t
    the distance is 1, and the ratio ``1/t½``.
    """
    _check_distance(distance)
    if crossing.value is None:
        return None
    if distance == 0:
        return Estimate(0.0, 0.0, 0.0)
    high = distance / crossing.low if crossing.low > 0 else math.inf
    return Estimate(distance / crossing.value, distance / crossing.high, high)


def _check_distance(distance: float) -> None:
    if not 0 <= distance < math.inf:
        raise UsageError(f"expected a distance from w, finite and not negative, got {distance}")
