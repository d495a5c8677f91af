"""Hold the losses along rays from w, from which the radius is estimated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.intervals import StandardError, crossed_error
from quant.errors import UsageError


@dataclass(frozen=True, eq=False)
class RadialProbes:
    """Losses along rays from w: one split, one family of directions."""

    lambdas: NDArray[np.float64]
    """(n_λ,) ℓ2 distances from w, strictly increasing, above 0."""
    totals: NDArray[np.float64]
    """(n_d, n_λ, n_w) NLL sums in nats, one row per independent direction: a pair ±ê is one row, its mean. NaN and
    infinities are allowed."""
    tokens: NDArray[np.int64]
    """(n_w,) scored tokens of each window."""
    center: NDArray[np.float64]
    """(n_w,) NLL sums at w."""
    chance: float
    """C = ln|V|, the loss of a model that knows nothing, in nats per token."""
    blocks: NDArray | None = None
    """(n_w,) labels: windows with the same one, as those of one article, are not independent of each other; None if all
    are. The blocks are then the independent units of the intervals."""
    fixed: bool = False
    """Whether the directions are given ones, such as one vector, and not a sample of a family."""

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
        if self.blocks is not None and np.shape(self.blocks) != (n_w,):
            raise UsageError(f"expected one block label for each of {n_w} windows, got shape {np.shape(self.blocks)}")
        saturation(self.center_nll, self.center_nll, self.chance)  # raises if w is no better than chance

    @property
    def center_nll(self) -> float:
        """L(w) in nats per token."""
        return float(self.center.sum() / self.tokens.sum())

    def error(self, cells: NDArray[np.float64]) -> StandardError:
        """Estimate the standard error of a mean over these directions and windows (``crossed_error``).

        Args:
            cells: (n_d, n_w), finite: sums over a window divided by the mean token count, as ``excess`` gives them.
        """
        return crossed_error(cells, self.tokens, self.blocks, self.fixed)


def saturation(nll: float, center_nll: float, chance: float) -> float:
    """Compute ``u = (L − L(w)) / (C − L(w))``: 0 at w, 1 at chance.

    Raises:
        UsageError: The loss at w is no better than chance, so there is no basin.
    """
    if not chance > center_nll:
        raise UsageError(
            f"expected a loss at w below chance ({chance:.3f} nats), got {center_nll:.3f}: no basin; is the text right?"
        )
    return (nll - center_nll) / (chance - center_nll)


def direction_nll(probes: RadialProbes) -> NDArray[np.float64]:
    """Compute the profile of every direction, (n_d, n_λ), in nats per token; always finite.

    On a window whose loss is NaN or infinite the model overflowed, so the window counts as lost: as chance, or as the
    largest loss that the same direction and window showed nearer to w, if that is more. Such a window then weighs as
    one; an infinite mean would hide all the others. ``Basin.non_finite`` is the share of such losses.
    """
    return np.asarray(_overflow_as_lost(probes).sum(-1) / probes.tokens.sum())


def _overflow_as_lost(probes: RadialProbes) -> NDArray[np.float64]:
    """Replace the NLL sums that are not finite, (n_d, n_λ, n_w), as ``direction_nll`` describes."""
    finite = np.isfinite(probes.totals)
    totals = np.where(finite, probes.totals, probes.chance * probes.tokens)
    return np.where(finite, totals, np.maximum.accumulate(totals, axis=1))


def level_target(probes: RadialProbes, level: float, reference: float | None = None) -> NDArray[np.float64]:
    """Compute the NLL sums of the windows, (n_w,), at which u is ``level``: ``(1 − level)·L(w) + level·C``.

    Args:
        probes: The losses along the rays.
        level: The value of u.
        reference: The loss at which u = 1, in nats per token; None is chance.
    """
    full = probes.chance if reference is None else reference
    return np.asarray((1 - level) * probes.center + level * full * probes.tokens)


def excess(probes: RadialProbes, target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the contribution of each direction and window to ``L̄(λ)`` less a target, nats per token.

    Sums are divided by the mean token count, not by the window's own: the plain mean is then the token-weighted loss,
    and where it is 0 these are the linearised residuals of that ratio of sums (Cochran 1977, §2.11).

    Args:
        probes: The losses along the rays.
        target: (n_w,) NLL sums.

    Returns:
        (n_d, 1 + n_λ, n_w), λ = 0 first.
    """
    totals = _overflow_as_lost(probes)
    start = np.broadcast_to(probes.center, (len(totals), 1, len(probes.tokens)))
    return np.asarray((np.concatenate([start, totals], axis=1) - target) / probes.tokens.mean())
