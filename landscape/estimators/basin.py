"""Estimate the radius of the attractive basin around w, and its border band.

This makes a definition of the picture of Xu et al. 2024, §4.3 and Figure 3. The mean loss over random directions,
``L̄(λ)``, is put on a scale that is 0 at w and 1 at chance: ``u(λ) = (L̄(λ) − L(w)) / (C − L(w))``, ``C = ln|V|``. The
radius R is the first λ with u = ½, the border is the band from r10 to r90 (u = 0.1 and 0.9).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.estimators.crossing import LOST, Crossing, crossing, first_zero
from landscape.estimators.intervals import CONFIDENCE, Estimate, article_count
from landscape.estimators.radial_losses import RadialProbes, direction_nll, excess, level_target

INNER, OUTER = 0.1, 0.9
"""Levels of u at which the border band begins and ends."""


@dataclass(frozen=True)
class Basin:
    """The attractive basin around w, seen along one family of directions on one split."""

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
    """Number of windows averaged."""
    articles: int | None
    """Number of articles that the windows come from, the independent units of the intervals; None if it is not known:
    then each window counts as independent."""
    non_finite: float
    """Share of the probes whose loss was NaN or infinite; ``direction_nll`` says how they count."""
    monotone: bool
    """Whether the mean profile never falls from one probe to the next."""

    @property
    def directions(self) -> int:
        """Number of directions averaged."""
        return len(self.direction_radii)

    @property
    def direction_spread(self) -> Estimate | None:
        """Mean, least and largest radius of single directions; None if one of them is censored."""
        radii = [r for r in self.direction_radii if r is not None]
        return Estimate(float(np.mean(radii)), min(radii), max(radii)) if len(radii) == self.directions else None

    @property
    def direction_std(self) -> float | None:
        """Standard deviation over single directions; None with one direction or if one is censored."""
        radii = [r for r in self.direction_radii if r is not None]
        return float(np.std(radii, ddof=1)) if 1 < len(radii) == self.directions else None


def estimate_basin(probes: RadialProbes, confidence: float = CONFIDENCE) -> Basin:
    """Estimate the basin: R, its border band and the spread of single directions.

    Args:
        probes: The losses along the rays.
        confidence: Confidence of the intervals.
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
        articles=article_count(probes.blocks),
        non_finite=float(1 - np.isfinite(probes.totals).mean()),
        monotone=bool((np.diff(mean_profile) >= 0).all()),
    )
