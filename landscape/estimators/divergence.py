"""Estimate how far predictions are from those at w: mean KL(w ‖ point), agreement, and the basin's radius by KL."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

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
    value, low, high = (end if math.isinf(end) else min(max(end, 0.0), most) for end in astuple(found))
    return Estimate(value, low, high)


def share_of_tokens(
    counts: NDArray[np.float64], tokens: NDArray, blocks: NDArray | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """Estimate a share of the tokens, with Wilson's interval on as many tokens as the windows are worth.

    Near 0 and 1 the t interval of ``mean_per_token`` covers too rarely, and at 1 it has no width. Tokens of a window
    or an article resemble each other: n is divided by the design effect, the variance that the windows show over that
    of independent tokens (Kish 1965). Where all windows agree on 0 or 1 they show none, and n is that of the tokens.

    Args:
        counts: (n_w,) tokens of each window that count.
        tokens: (n_w,) scored tokens.
        blocks: (n_w,) labels; windows with the same one are not independent. None if all are.
        confidence: Confidence of the interval.

    Returns:
        The share; from 0 to 1 where one window or article bounds nothing.
    """
    found, n = mean_per_token(counts, tokens, blocks, 1.0, confidence), float(np.sum(tokens))
    p = found.value
    half = paired_difference(counts, np.zeros(len(counts)), tokens, confidence, blocks).high - p
    if math.isinf(half):
        return Estimate(p, 0.0, 1.0)
    z = float(norm.ppf((1 + confidence) / 2))
    effect = max(1.0, half**2 * n / (z**2 * p * (1 - p))) if 0 < p < 1 else 1.0
    ratio = z**2 * effect / n
    center, width = (p + ratio / 2) / (1 + ratio), math.sqrt(ratio * (p * (1 - p) + ratio / 4)) / (1 + ratio)
    return Estimate(p, max(0.0, min(center - width, p)), min(1.0, max(center + width, p)))


def divergence_radius(probes: RadialProbes, reference: NDArray[np.float64], confidence: float = CONFIDENCE) -> Crossing:
    """Find R_kl, the first λ at which the mean KL over random directions reaches half of the reference.

    The reference is KL(w ‖ uniform) = C − H(w), as R's is the loss of a uniform guess: R_kl is where half of what w
    knows is gone, whatever the text says. Its sampling error over the windows is part of the interval.

    Half of it was chosen by what is stable. On opt-nano (8 directions, 16 windows of 256 tokens of train and of
    validation), R_kl is 60.4 and 59.9, R 60.2 and 60.3, each with a half width of 2.3 to 2.4 %; radii of single
    directions have a standard deviation of 2.6 %, of single windows 2.3 %. A threshold of 0.01 to 0.1 nats costs less
    spread of directions (1.3 to 1.7 %) and twice that of windows (4.8 to 5.5 %), a half width of 2.7 to 2.9 %; one
    tenth of the reference has 2.5 %, three quarters 3.4 %. Thresholds of 1 or 2 nats are as stable as the half (1.8 to
    2.2 %), but mean another share of what w knows for every vocabulary and text.

    Args:
        probes: Sums of KL(w ‖ position) along the rays in place of losses; they are 0 at w.
        reference: (n_w,) ``tokens·ln|V|`` less the sum of the entropies of the predictions at w.
        confidence: Confidence of the interval.
    """
    return first_reach(probes, LOST * reference, LOST, confidence)
