"""Compare the predictions at points, along rays and along segments with those at w."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from landscape.estimators.divergence import divergence_radius, mean_per_token, share_of_tokens
from landscape.estimators.radial_losses import RadialProbes
from landscape.positions.position import CENTER, Position
from landscape.probing.losses import Agreements, Divergences, Probes, radial_probes
from landscape.session.subject import RADIAL_SPLITS
from landscape.survey.result import Array, FidelityResult, KLRadius, RayProfile


def fidelity_result(probes: Probes, position: Position | str, split: str) -> FidelityResult:
    """Estimate the mean KL(w ‖ point) and how often the first choice agrees, on one split."""
    tokens, blocks = probes.tokens(split), probes.blocks(split)
    return FidelityResult(
        kl=mean_per_token(probes.kl(position, split), tokens, blocks),
        agreement=share_of_tokens(probes.agreeing(position, split), tokens, blocks),
    )


class KLRays:
    """KL(w ‖ position) along the random directions, and how often the first choice agrees, on each radial split."""

    def __init__(
        self, probes: Probes, family: str, directions: int, lambdas: Sequence[float], chance: float, pairs: bool
    ) -> None:
        """Collect KL and agreeing tokens along the rays: see ``landscape.probing.losses.radial_probes``."""
        divergences, agreements = (kind(probes.known, probes.windows) for kind in (Divergences, Agreements))
        self._references = {
            split: chance * probes.tokens(split) - probes.entropy(CENTER, split) for split in RADIAL_SPLITS
        }
        self._radial = {
            split: radial_probes(
                divergences, split, family, directions, lambdas, self._mean_reference(probes, split), pairs
            )
            for split in RADIAL_SPLITS
        }
        self._agreeing = {
            split: radial_probes(agreements, split, family, directions, lambdas, math.inf, pairs)
            for split in RADIAL_SPLITS
        }

    def _mean_reference(self, probes: Probes, split: str) -> float:
        return float(self._references[split].sum() / probes.tokens(split).sum())

    @property
    def radii(self) -> dict[str, KLRadius]:
        """R_kl on each radial split."""
        return {
            split: KLRadius(radial.chance, divergence_radius(radial, self._references[split]))
            for split, radial in self._radial.items()
        }

    def added(self, rays: Sequence[RayProfile]) -> tuple[RayProfile, ...]:
        """Return profiles of the same directions with the mean KL and the agreement at each distance."""
        kl, agreement = (_means(radial) for radial in (self._radial, self._agreeing))
        return tuple(
            replace(
                ray,
                kl={split: rows[i] for split, rows in kl.items()},
                agreement={split: rows[i] for split, rows in agreement.items()},
            )
            for i, ray in enumerate(rays)
        )


def _means(radial: Mapping[str, RadialProbes]) -> dict[str, Array]:
    """Return the means over tokens by split, (n_d, n_λ)."""
    return {split: data.totals.sum(2) / data.tokens.sum() for split, data in radial.items()}
