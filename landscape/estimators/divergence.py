"""Estimate how far predictions are from those at w: mean KL(w ‖ point), agreement, and the radius of the basin by KL."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.crossing import LOST, Crossing, first_reach
from landscape.estimators.intervals import CONFIDENCE, Estimate, paired_difference
from landscape.estimators.radial_losses import RadialProbes


def mean_per_token(
    sums: NDArray[np.float64],
    tokens: NDArray,
    blocks: NDArray | None = None,
    most: float = math.inf,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Estimate the mean per token of a quantity that is never negative, with a t interval over the windows.

    It is the loss of a point against one that loses nothing: both are ratios of sums over the same windows, or over the
    articles of these, so that the interval is that of a paired difference from 0. Ends that no mean can have are cut.

    Args:
        sums: (n_w,) sums over the scored tokens of each window. One that is not finite is an overflow: the mean is
            infinite, unbounded.
        tokens: (n_w,) scored tokens.
        blocks: (n_w,) labels; windows with the same one are not independent. None if all are.
        most: The largest mean that there can be: 1 for a share.
        confidence: Confidence of the interval.
    """
    found = paired_difference(sums, np.zeros(len(sums)), tokens, confidence, blocks)
    low, high = (end if math.isinf(end) else min(max(end, 0.0), most) for end in (found.low, found.high))
    return Estimate(found.value, low, high)


def divergence_radius(
    probes: RadialProbes, reference: NDArray[np.float64], confidence: float = CONFIDENCE
) -> Crossing:
    """Find R_kl, the first λ at which the mean KL over random directions reaches half of the reference.

    The reference is KL(w ‖ uniform) = C − H(w), as R's is the loss of a uniform guess: R_kl is where half of what w
    knows is gone, whatever the text says. Its sampling error over the windows is part of the interval.

    Args:
        probes: Sums of KL(w ‖ position) along the rays in place of losses; they are 0 at w.
        reference: (n_w,) ``tokens·ln|V|`` less the sum of the entropies of the predictions at w.
        confidence: Confidence of the interval.
    """
    return first_reach(probes, LOST * reference, LOST, confidence)
