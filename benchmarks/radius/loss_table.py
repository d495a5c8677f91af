"""Hold the losses of a real model along many directions on many windows, from which searches are resampled.

A table keeps all directions at the distances next to R, where their numbers decide, and a few directions at the other
distances that the pilot of a search visits, where nothing but the side of the level matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.crossing import LOST, crossing
from landscape.estimators.radial_losses import RadialProbes
from landscape.estimators.radius_search import STEPS_PER_OCTAVE, grid

Array = NDArray[np.float64]
HERE = Path(__file__).resolve().parent


def step_of(lam: float, norm: float) -> float:
    """Return the place of a distance on the grid of a search: its index, fractional between two distances."""
    return STEPS_PER_OCTAVE * math.log2(lam / norm)


@dataclass(frozen=True, eq=False)
class LossTable:
    """Losses of one model: all directions next to R, a few elsewhere."""

    norm: float
    """‖w‖, the unit of the grid of λ."""
    chance: float
    """C = ln|V|, nats per token."""
    tokens: NDArray[np.int64]
    """(n_w,) scored tokens of each window."""
    center: Array
    """(n_w,) NLL sums at w, nats."""
    articles: NDArray[np.int64]
    """(n_w,) article of each window; each its own number where windows are independent."""
    indices: NDArray[np.int64]
    """(n_λ,) grid indices of the distances, increasing."""
    counts: NDArray[np.int64]
    """(n_λ,) number of directions that are kept at each distance."""
    totals: NDArray[np.float32]
    """(n_d, n_λ, n_w) NLL sums, nats; NaN for the directions that are not kept."""

    def __post_init__(self) -> None:
        for index, count in zip(self.indices.tolist(), self.counts.tolist(), strict=True):
            if count < len(self.totals) and not self._one_sided(index, count):
                raise ValueError(
                    f"expected {count} directions to lie on one side of the level in every window at step {index} of "
                    f"the grid, where the others of {len(self.totals)} are not kept; evaluate them all"
                )

    @classmethod
    def load(cls, file: Path) -> LossTable:
        """Read a table."""
        with np.load(file, allow_pickle=False) as kept:
            fields = {name: kept[name] for name in kept.files}
        return cls(**{name: value if value.ndim else float(value) for name, value in fields.items()})

    def save(self, file: Path) -> None:
        """Write the table, in place of an earlier one."""
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"part-{file.name}")
        np.savez_compressed(partial, allow_pickle=False, **vars(self))
        partial.replace(file)

    def losses(self, directions: NDArray[np.int64], index: int) -> Array:
        """Return the NLL sums of some directions at one distance, (n, n_w).

        Where only a few directions are kept, they stand in for the others: all cells lie on one side of the level, so
        that a search goes on from there as it would with the direction's own losses.

        Args:
            directions: (n,) numbers of the directions.
            index: Grid index of the distance.

        Raises:
            ValueError: the table does not have the distance.
        """
        at = np.flatnonzero(self.indices == index)
        if not len(at):
            raise ValueError(f"expected a distance of the table, steps {self.indices.tolist()}, got step {index}")
        return self.totals[directions % self.counts[at[0]], at[0]].astype(np.float64)

    @property
    def full(self) -> NDArray[np.bool_]:
        """(n_λ,) whether all directions are kept at a distance."""
        return self.counts == len(self.totals)

    def distances(self, which: NDArray[np.bool_]) -> Array:
        """Return the λ of some distances, marked in (n_λ,)."""
        return np.array([grid(index, self.norm) for index in self.indices[which].tolist()])

    def radius(self) -> float:
        """Return R of the mean over all directions and windows of the table."""
        lambdas, totals = self.distances(self.full), self.totals[:, self.full].astype(np.float64)
        found = crossing(RadialProbes(lambdas, totals, self.tokens, self.center, self.chance))
        if found.value is None or found.bracket[0] == 0:
            raise ValueError(f"expected R between two distances with all directions, got {found.bracket}")
        at = np.isin(lambdas, found.bracket)  # these two distances alone, as a search has them
        near = crossing(RadialProbes(lambdas[at], totals[:, at], self.tokens, self.center, self.chance))
        assert near.value is not None
        return near.value

    def _one_sided(self, index: int, count: int) -> bool:
        at = int(np.flatnonzero(self.indices == index)[0])
        level = (1 - LOST) * self.center + LOST * self.chance * self.tokens
        above = self.totals[:count, at] >= level
        return bool(above.all() or not above.any())
