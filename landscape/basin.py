"""The radius of the attractive basin around w, its border band, and where a point lies in it.

The picture of Xu et al. 2024, §4.3 and Figure 3, made a definition. The mean loss over random directions, ``L̄(λ)``, is
put on a scale that is 0 at w and 1 at chance: ``u(λ) = (L̄(λ) − L(w)) / (C − L(w))``, ``C = ln|V|``. The radius R is the
first λ with u = ½, the border is the band from r10 to r90 (u = 0.1 and 0.9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from landscape.estimate import CONFIDENCE, Estimate, crossed_error
from quant.errors import UsageError

Location = Literal["inside", "border", "outside", "unresolved"]
Loss = Literal["kept", "degraded", "lost"]

KEPT_LIMIT = math.log(1.05)  # nats per token: a perplexity 5 % higher
LOST = 0.5  # the level of u that defines R


@dataclass(frozen=True, eq=False)
class RadialProbes:
    """Losses along rays from w: one split, one family of directions."""

    lambdas: NDArray[np.float64]
    """(n_λ,) ℓ2 distances from w, strictly increasing, above 0."""
    totals: NDArray[np.float64]
    """(n_d, n_λ, n_w) NLL sums in nats, one row per independent direction: a pair ±ê is one row, its mean. They may
    hold NaN and infinities."""
    tokens: NDArray[np.int64]
    """(n_w,) scored tokens of each window."""
    center: NDArray[np.float64]
    """(n_w,) NLL sums at w."""
    chance: float
    """C, the loss of a model that knows nothing: ln|V|, in nats per token."""

    def __post_init__(self) -> None:
        n_lam, n_w = len(self.lambdas), len(self.tokens)
        if self.totals.ndim != 3 or 0 in self.totals.shape or self.totals.shape[1:] != (n_lam, n_w):
            raise UsageError(f"expected totals of shape (directions, {n_lam}, {n_w}), got {self.totals.shape}")
        if self.center.shape != (n_w,) or not np.isfinite(self.center).all():
            raise UsageError(f"expected {n_w} finite losses at w, got {self.center}: evaluate w in a wider dtype")
        if not (np.diff(self.lambdas, prepend=0.0) > 0).all():
            raise UsageError(f"expected distances that increase strictly from above 0, got {self.lambdas}")
        if not (self.tokens > 0).all():
            raise UsageError(f"expected at least one scored token in each window, got {self.tokens}")
        saturation(self.center_nll, self.center_nll, self.chance)  # there must be room between w and chance

    @property
    def center_nll(self) -> float:
        """L(w) in nats per token."""
        return float(self.center.sum() / self.tokens.sum())


@dataclass(frozen=True)
class Crossing:
    """The first distance at which u reaches a level."""

    level: float
    """Of u, between 0 and 1."""
    value: float | None
    """The distance; None if the profile never reaches the level (censored): then only ``low`` is known."""
    low: float
    """Lower end of the interval, at least 0. Censored: the largest λ up to which all probes are surely below it."""
    high: float
    """Upper end of the interval; ``inf`` if censored, or with one direction or one window."""
    bracket: tuple[float, float]
    """The neighbouring probes below and at or above the level; (the largest λ probed, ``inf``) if censored."""
    reentry: bool
    """Whether u comes back below the level farther out."""

    @property
    def estimate(self) -> Estimate | None:
        """Value and interval; None if censored."""
        return None if self.value is None else Estimate(self.value, self.low, self.high)


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


def saturation(nll: float, center_nll: float, chance: float) -> float:
    """``u = (L − L(w)) / (C − L(w))``: 0 at w, 1 at chance.

    Raises:
        UsageError: w itself is no better than chance, so there is no basin to speak of.
    """
    if not chance > center_nll:
        raise UsageError(
            f"expected a loss at w below chance ({chance:.3f} nats), got {center_nll:.3f}: no basin; is the text right?"
        )
    return (nll - center_nll) / (chance - center_nll)


def direction_nll(probes: RadialProbes) -> NDArray[np.float64]:
    """The profile of every direction, (n_d, n_λ), in nats per token; always finite.

    A window whose loss is NaN or infinite is one on which the model overflowed, so it counts as lost: as chance, or as
    the largest loss that the same direction and window showed nearer to w, if that is more. One such window then
    weighs as one, where an infinite mean would silence all the others. ``Basin.non_finite`` says how many there were.
    """
    return np.asarray(_overflow_as_lost(probes).sum(-1) / probes.tokens.sum())


def estimate_basin(probes: RadialProbes, confidence: float = CONFIDENCE) -> Basin:
    """Measure the basin: R, its border band and the spread of single directions.

    Args:
        probes: The losses along the rays.
        confidence: Of the intervals.
    """
    r10, radius, r90 = (crossing(probes, level, confidence) for level in (0.1, LOST, 0.9))
    x = np.concatenate([[0.0], probes.lambdas])
    singles = (_first_crossing(x, profile) for profile in _excess(probes, LOST).mean(2))
    mean_profile = np.concatenate([[probes.center_nll], direction_nll(probes).mean(0)])
    return Basin(
        radius=radius,
        r10=r10,
        r90=r90,
        center_nll=probes.center_nll,
        chance=probes.chance,
        direction_radii=tuple(None if found is None else found[1] for found in singles),
        windows=len(probes.tokens),
        non_finite=float(1 - np.isfinite(probes.totals).mean()),
        monotone=bool((np.diff(mean_profile) >= 0).all()),
    )


def crossing(probes: RadialProbes, level: float = LOST, confidence: float = CONFIDENCE) -> Crossing:
    """The first λ with ``u(λ) = level``, with its interval over directions and windows.

    The interval is ``λ* ± t·√V/L̄′(λ*)``, V being the variance of ``L̄(λ*) − (1 − level)·L(w) − level·C`` in the crossed
    design of directions × windows, so that the sampling noise of L(w), which shares the windows, is in it.

    Raises:
        UsageError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise UsageError(f"expected a level of u between 0 and 1, got {level}")
    lambdas = np.concatenate([[0.0], probes.lambdas])
    excess = _excess(probes, level)
    profile = excess.mean((0, 2))
    found = _first_crossing(lambdas, profile)
    if found is None:
        low = _surely_below(lambdas, excess, confidence)
        return Crossing(level, None, low, math.inf, (float(lambdas[-1]), math.inf), reentry=False)
    i, value, slope = found
    # The mix that puts the mean at the level: exactly linear in the cells, as the analysis of variance needs it.
    t = profile[i - 1] / (profile[i - 1] - profile[i])
    error = crossed_error((1 - t) * excess[:, i - 1] + t * excess[:, i])
    half = error.half_width(confidence) / slope if slope > 0 else math.inf
    return Crossing(
        level,
        value,
        low=max(0.0, value - half),
        high=value + half,
        bracket=(float(lambdas[i - 1]), float(lambdas[i])),
        reentry=bool((profile[i:] < 0).any()),
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


def loss_word(delta: Estimate, u: float, limit: float = KEPT_LIMIT) -> Loss:
    """What became of a point's loss, wherever the point lies.

    Args:
        delta: ΔL against w (``paired_difference``), nats per token.
        u: ``saturation`` of the point's own loss; infinite or NaN where the model overflowed.
        limit: The ΔL that is acceptable; its default is a perplexity 5 % higher.

    Returns:
        ``lost`` from u = ½ on; else ``kept`` if the upper end of ΔL's interval is within the limit; else ``degraded``.
    """
    if not u < LOST:  # NaN is lost
        return "lost"
    return "kept" if delta.high <= limit else "degraded"


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


def _overflow_as_lost(probes: RadialProbes) -> NDArray[np.float64]:
    """The NLL sums with every one finite, (n_d, n_λ, n_w), as ``direction_nll`` describes."""
    finite = np.isfinite(probes.totals)
    totals = np.where(finite, probes.totals, probes.chance * probes.tokens)
    return np.where(finite, totals, np.maximum.accumulate(totals, axis=1))


def _excess(probes: RadialProbes, level: float) -> NDArray[np.float64]:
    """What each direction and window contributes to ``L̄ − (1 − level)·L(w) − level·C``, which is 0 where u = level.

    Shape (n_d, 1 + n_λ, n_w), λ = 0 first. Divided by the mean token count, not by the window's own: the plain mean is
    then the token-weighted loss, and at the crossing these are the linearised residuals of that ratio.
    """
    totals = _overflow_as_lost(probes)
    start = np.broadcast_to(probes.center, (len(totals), 1, len(probes.tokens)))
    target = (1 - level) * probes.center + level * probes.chance * probes.tokens
    return np.asarray((np.concatenate([start, totals], axis=1) - target) / probes.tokens.mean())


def _first_crossing(lambdas: NDArray[np.float64], profile: NDArray[np.float64]) -> tuple[int, float, float] | None:
    """Index of the first probe at or above 0, the λ at which the profile gets there, and its slope in λ.

    Between probes the profile is a monotone cubic (PCHIP) in λ², not in λ: it starts as a quadratic, and crossings of a
    quadratic then come out exactly. On the well ``C − (C − L0)·exp(−λ²/2s²)`` with 10 equal steps the largest errors of
    r10, R and r90 are 0.25, 0.13 and 0.17 %; for PCHIP in λ 2.1, 0.14 and 0.13 %, for straight lines 4.5, 0.5, 1.5 %.
    """
    above = np.flatnonzero(profile >= 0)
    if above.size == 0:
        return None
    i = int(above[0])
    curve = PchipInterpolator(lambdas**2, profile)
    left, right = float(lambdas[i - 1]), float(lambdas[i])
    root = float(brentq(lambda lam: float(curve(lam**2)), left, right)) if curve(right**2) > 0 else right
    return i, root, 2 * root * float(curve(root**2, 1))


def _surely_below(lambdas: NDArray[np.float64], excess: NDArray[np.float64], confidence: float) -> float:
    """The largest λ up to which the upper confidence limit of every probe is below the level; 0 if there is none."""
    limits = [cells.mean() + crossed_error(cells).half_width(confidence) for cells in excess.swapaxes(0, 1)[1:]]
    clear = np.cumprod(np.array(limits) < 0).sum()
    return float(lambdas[clear])
