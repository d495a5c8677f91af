"""Read the losses of evaluated probes as the arrays that the estimators take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.radial_losses import RadialProbes
from landscape.positions.directions import Family
from landscape.positions.position import CENTER, OnRay, Position
from landscape.probing.engines import Engine
from landscape.probing.plan import (
    Fidelity,
    NotEvaluated,
    Probe,
    ProbePlan,
    ProbeResult,
    Window,
    blocks_of,
    point_plan,
    ray_plan,
    require,
)
from landscape.probing.runner import Runner

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Probes:
    """The results of a run by position and split; a probe without a result raises ``NotEvaluated``."""

    known: Mapping[Probe, ProbeResult]
    windows: Mapping[str, tuple[Window, ...]]

    def totals(self, position: Position | str, split: str) -> Array:
        """Return the NLL sums of the split's windows at a position, in nats, (n_w,)."""
        return np.array([result.total for result in self._results(str(position), split)])

    def tokens(self, split: str) -> NDArray[np.int64]:
        """Count the scored tokens of the split's windows, (n_w,)."""
        return np.array([result.tokens for result in self._results(CENTER, split)])

    def blocks(self, split: str) -> NDArray[np.int64] | None:
        """Return the articles of the split's windows, (n_w,), which intervals treat as independent; None if unknown."""
        return blocks_of(self.windows[split])

    def rise(self, position: Position | str, split: str) -> Estimate:
        """Estimate ΔL at a position against w, with its interval over the windows, or over their articles."""
        return paired_difference(
            self.totals(position, split), self.totals(CENTER, split), self.tokens(split), blocks=self.blocks(split)
        )

    def nll(self, position: Position | str, split: str) -> float:
        """Average the NLL at a position over all tokens of the split, in nats per token."""
        return float(self.totals(position, split).sum() / self.tokens(split).sum())

    def kl(self, position: Position | str, split: str) -> Array:
        """Return the sums of KL(w ‖ position) on the split's windows, in nats, (n_w,)."""
        return np.array([found.kl for found in self._fidelities(str(position), split)])

    def agreeing(self, position: Position | str, split: str) -> Array:
        """Count the tokens whose first choice is the same as at w on the split's windows, (n_w,)."""
        return np.array([found.agreeing for found in self._fidelities(str(position), split)], np.float64)

    def entropy(self, position: Position | str, split: str) -> Array:
        """Return the sums of the entropies of the predictions on the split's windows, in nats, (n_w,)."""
        return np.array([found.entropy for found in self._fidelities(str(position), split)])

    def _results(self, recipe: str, split: str) -> list[ProbeResult]:
        return [require(self.known, Probe(recipe, window.identity)) for window in self.windows[split]]

    def _fidelities(self, recipe: str, split: str) -> list[Fidelity]:
        found = [result.fidelity for result in self._results(recipe, split)]
        compared = [fidelity for fidelity in found if fidelity is not None]
        if len(compared) < len(found):
            raise NotEvaluated(
                f"expected {recipe} to be compared with w, it is not yet; run a plan with fidelity first"
            )
        return compared


@dataclass(frozen=True, eq=False)
class Divergences(Probes):
    """The same results with KL(w ‖ position) in place of the NLL: 0 at w itself."""

    def totals(self, position: Position | str, split: str) -> Array:
        """Return the sums of KL(w ‖ position) on the split's windows, in nats, (n_w,)."""
        return self.kl(position, split)


@dataclass(frozen=True, eq=False)
class Agreements(Probes):
    """The same results with the number of tokens that agree with w in place of the NLL: all of them at w itself."""

    def totals(self, position: Position | str, split: str) -> Array:
        """Count the tokens whose first choice is the same as at w on the split's windows, (n_w,)."""
        return self.agreeing(position, split)


def radial_probes(
    probes: Probes,
    split: str,
    family: str,
    directions: int,
    lambdas: Sequence[float],
    chance: float,
    pairs: bool = False,
) -> RadialProbes:
    """Collect the losses along all rays of a family on one split.

    Args:
        probes: The results.
        split: The split of the windows.
        family: Name of the directions.
        directions: Number of directions.
        lambdas: Distances from w, increasing, (n_λ,).
        chance: C = ln|V|, in nats per token.
        pairs: Whether every direction was followed both ways; the row of a pair ±ê is its mean.
    """

    def losses(index: int, lam: float) -> Array:
        signed = (lam, -lam) if pairs else (lam,)
        return np.asarray(np.mean([probes.totals(OnRay(family, index, s), split) for s in signed], axis=0))

    totals = np.array([[losses(index, lam) for lam in lambdas] for index in range(directions)])
    center, blocks = probes.totals(CENTER, split), probes.blocks(split)
    return RadialProbes(np.array(lambdas), totals, probes.tokens(split), center, chance, blocks)


class RadialLosses:
    """Losses along a family of directions, evaluated where the store does not hold them.

    Implements ``landscape.estimators.radius_search.Losses``.
    """

    def __init__(
        self, runner: Runner, engine: Engine, family: Family, windows: tuple[Window, ...], pairs: bool
    ) -> None:
        """Bind a family of directions to the windows of one split.

        Args:
            runner: Evaluates plans and knows the results.
            engine: Evaluates positions on rays of the family.
            family: The directions.
            windows: All windows of the split; a search takes the first ones.
            pairs: Whether to follow every direction both ways, ±ê.
        """
        self.family = family
        self._runner, self._engine, self._pairs = runner, engine, pairs
        self._windows = windows

    def totals(self, directions: int, lambdas: Sequence[float], windows: int) -> Array:
        """Evaluate the NLL sums along the first directions on the first windows, (n_d, n_λ, n_w)."""
        some = self._windows[:windows]
        self.run(self._plan(directions, lambdas, some))
        probes = Probes(self._runner.known, {"": some})
        return radial_probes(probes, "", self.family.name, directions, lambdas, math.inf, self._pairs).totals

    def center(self, windows: int) -> tuple[Array, NDArray[np.int64]]:
        """Evaluate w on the first windows: NLL sums and scored tokens, (n_w,) each."""
        some = self._windows[:windows]
        self.run(point_plan([CENTER], some))
        probes = Probes(self._runner.known, {"": some})
        return probes.totals(CENTER, ""), probes.tokens("")

    def blocks(self, windows: int) -> NDArray[np.int64] | None:
        """Return the articles of the first windows, (n_w,); None if unknown."""
        return blocks_of(self._windows[:windows])

    def missing(self, directions: int, lambdas: Sequence[float], windows: int) -> int:
        """Count the windows that ``totals`` would have to evaluate."""
        return len(self._plan(directions, lambdas, self._windows[:windows]).missing(self._runner.known))

    def paired(self) -> RadialLosses:
        """Return the same losses with every direction followed both ways."""
        return RadialLosses(self._runner, self._engine, self.family, self._windows, pairs=True)

    def run(self, plan: ProbePlan) -> None:
        """Evaluate the missing probes of a plan."""
        self._runner.run(plan, self._engine)

    def _plan(self, directions: int, lambdas: Sequence[float], windows: tuple[Window, ...]) -> ProbePlan:
        return point_plan([CENTER], windows) + ray_plan(self.family, directions, lambdas, windows, self._pairs)
