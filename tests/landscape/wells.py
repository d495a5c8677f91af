"""Probes of analytic wells: what the tests of the radius measure."""

from __future__ import annotations

import numpy as np

from landscape.estimators.radial_losses import RadialProbes

CHANCE, CENTER, WELL = 7.0, 3.0, 1.7


def make(lambdas, nll, tokens=(50, 50), chance=CHANCE) -> RadialProbes:
    """Probes from losses per token: ``nll`` broadcasts to (n_d, n_λ, n_w), the centre is CENTER in every window."""
    lambdas, tokens = np.asarray(lambdas, float), np.asarray(tokens)
    nll = np.asarray(nll, float)
    totals = np.broadcast_to(nll, (nll.shape[0], len(lambdas), len(tokens))) * tokens
    return RadialProbes(lambdas, totals, tokens, CENTER * tokens.astype(float), chance)


def profile(lambdas, u, directions=2, **options) -> RadialProbes:
    """All directions and windows alike, with the given u at each λ."""
    nll = CENTER + (options.get("chance", CHANCE) - CENTER) * np.asarray(u, float)
    return make(lambdas, np.tile(nll[None, :, None], (directions, 1, 1)), **options)


def gaussian_well(lambdas, s=WELL, directions=2) -> RadialProbes:
    return profile(lambdas, 1 - np.exp(-(np.asarray(lambdas) ** 2) / (2 * s * s)), directions)
