"""Search for R by few evaluations: two distances, and as many directions and windows as its interval needs.

A pilot finds the two neighbouring distances of a fixed geometric grid between which ``u`` crosses ½. There every
direction is evaluated on every window, and the crossed design gives the interval of R (``estimators.crossing``). While
it is too wide, directions or windows are added where they are cheapest (``estimators.allocation``). Windows of one
article count together.

Nothing is probed beyond the crossing: ``landscape probe`` shows whether the profile comes back below the level there.

The grid does not depend on the model, the seed or the precision asked for, so that every search finds in the store
whatever was evaluated for another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.allocation import next_design
from landscape.estimators.crossing import LOST, Crossing, crossing
from landscape.estimators.intervals import article_count
from landscape.estimators.radial_losses import RadialProbes, direction_nll
from quant.errors import UsageError

Array = NDArray[np.float64]

STEPS_PER_OCTAVE = 8
"""Steps of the grid of λ: neighbours are 9 % apart; between them a straight line in λ² is off by less than 0.2 %."""
START = -16
"""Grid index of λ/‖w‖ where the pilot begins: 0.25."""
STRIDE = 4
"""Grid steps by which the pilot walks: a factor 1.4."""
_REACH = 24  # grid index at which it gives up: 8 ‖w‖
_FIRST = 4
"""Directions and windows of the first round: three degrees of freedom each.

Searches for R ± 5 % on resampled losses of two real models cover 97.2 and 99.9 % with four, and 98.8 and 100 % with
six, which cost a third more and twice as much in the median (``benchmarks/radius/README.md``).
"""


class Losses(Protocol):
    """The source of the losses that a search asks for."""

    def totals(self, directions: int, lambdas: Sequence[float], windows: int) -> Array:
        """Evaluate the NLL sums of the first directions on the first windows, (n_d, n_λ, n_w)."""
        ...

    def center(self, windows: int) -> tuple[Array, NDArray[np.int64]]:
        """Evaluate w on the first windows: NLL sums and scored tokens, (n_w,) each."""
        ...

    def blocks(self, windows: int) -> NDArray | None:
        """Return the articles of the first windows, (n_w,); None if each window is independent of the others."""
        ...


@dataclass(frozen=True)
class StoppingRule:
    """The limits at which a search ends."""

    precision: float = 0.05
    """Half width of R's interval over R that is precise enough."""
    directions: int = 256
    """Most directions."""
    windows: int = 256
    """Most windows: all that are available."""
    out_of_time: Callable[[int, Sequence[float], int], bool] = lambda directions, lambdas, windows: False
    """Whether no time is left for so many directions at these distances on so many windows."""


Ending = Literal["precise", "not reached", "exhausted", "out of time"]
"""Why a search ended: as precise as asked for; the level is nowhere reached; no directions or windows left; no time."""


@dataclass(frozen=True)
class Round:
    """One design and its R."""

    directions: int
    windows: int
    crossing: Crossing
    """R from this design."""
    articles: int | None = None
    """Number of articles that the windows come from; None if not known."""


@dataclass(frozen=True)
class RadiusSearch:
    """The result of a search."""

    probes: RadialProbes
    """The losses that R was read from, at two distances; if R is censored, at all distances of the pilot."""
    rounds: tuple[Round, ...]
    precision: float | None
    """The relative half width asked for, if it was reached; None if something else ended the search."""
    ended: Ending
    """Why the search ended."""

    @property
    def precise(self) -> bool:
        """Whether the interval is as narrow as asked for."""
        return self.precision is not None

    @property
    def radius(self) -> Crossing:
        """R, with the interval asked for where the search stopped on it.

        The interval of the last round is too narrow, since rounds that underestimate their variance end a search. The
        interval of fixed width, R ± precision·R, keeps its level as the precision gets finer (Chow and Robbins 1965,
        "On the asymptotic theory of fixed-width sequential confidence intervals for the mean").
        """
        last = self.rounds[-1].crossing
        if self.precision is None or last.value is None:
            return last
        width = self.precision * last.value
        return replace(last, low=min(last.low, last.value - width), high=max(last.high, last.value + width))


def grid(index: int, norm: float) -> float:
    """Return λ number ``index`` of the geometric grid, in units of ‖w‖ = ``norm``."""
    return float(2.0 ** (index / STEPS_PER_OCTAVE)) * norm


def search(losses: Losses, norm: float, chance: float, rule: StoppingRule) -> RadiusSearch:
    """Find R as precisely as asked for, or as the stopping rule allows.

    Args:
        losses: The landscape.
        norm: ‖w‖, the unit of the grid.
        chance: C = ln|V|.
        rule: When to stop.

    Raises:
        UsageError: if fewer than two directions or windows are allowed, or all windows are of one article, so that R
            could have no interval.
    """
    if min(rule.directions, rule.windows) < 2 or not rule.precision > 0:
        raise UsageError(
            f"expected a precision above 0 and at least 2 directions and windows, got {rule.precision:g}, "
            f"{rule.directions} and {rule.windows}"
        )
    if article_count(losses.blocks(rule.windows)) == 1:
        raise UsageError(
            f"expected windows of at least two articles, got {rule.windows} of one, which give no interval of R; use "
            "more windows, or a text of several articles"
        )
    n_d, n_w = min(_FIRST, rule.directions), min(_FIRST, rule.windows)
    upper = _pilot(lambda index: _mean_u(table(losses, [grid(index, norm)], 1, n_w, chance))[0])
    rounds: list[Round] = []
    while True:
        probes = _around(losses, norm, chance, upper, n_d, n_w)
        rounds.append(Round(n_d, n_w, crossing(probes), article_count(probes.blocks)))
        if rounds[-1].crossing.value is None:
            return RadiusSearch(probes, tuple(rounds), None, "not reached")
        upper = round(STEPS_PER_OCTAVE * math.log2(rounds[-1].crossing.bracket[1] / norm))
        if _relative(rounds[-1].crossing) <= rule.precision:
            return RadiusSearch(probes, tuple(rounds), rule.precision, "precise")
        step = next_design(probes, rule.precision, (rule.directions, rule.windows), losses.blocks(rule.windows))
        if step is None:
            return RadiusSearch(probes, tuple(rounds), None, "exhausted")
        if rule.out_of_time(step[0], probes.lambdas.tolist(), step[1]):
            return RadiusSearch(probes, tuple(rounds), None, "out of time")
        n_d, n_w = step


def fixed_design(
    losses: Losses, norm: float, chance: float, directions: int, windows: int, fixed: bool = False
) -> RadialProbes:
    """Evaluate the losses around R in a given design, from which ``crossing`` estimates R.

    Args:
        losses: The landscape.
        norm: ‖w‖, the unit of the grid.
        chance: C = ln|V|.
        directions: Number of directions.
        windows: Number of windows.
        fixed: Whether the directions are given ones, not a sample: see ``RadialProbes``.
    """
    upper = _pilot(lambda index: _mean_u(table(losses, [grid(index, norm)], 1, windows, chance))[0])
    return replace(_around(losses, norm, chance, upper, directions, windows), fixed=fixed)


def _pilot(u: Callable[[int], float]) -> int | None:
    """Walk along one direction to a distance at which u ≥ ½, and return its grid index; None if there is none.

    The walk goes outwards in strides until the level is passed, so that a profile that comes back farther out is not
    mistaken for one that is still below the level. If it starts above the level it goes inwards.
    """
    index = START
    if u(index) >= LOST:
        while u(index - STRIDE) >= LOST:
            index -= STRIDE
            if index < -40 * STEPS_PER_OCTAVE:  # 2⁻⁴⁰ ‖w‖: float32 weights do not move
                raise UsageError(
                    f"expected a loss that comes back to L(w) near w, got {u(index):.3g} of the way from it to chance "
                    f"at {grid(index, 1.0):.1g} ‖w‖, where no weight moves any more; see that --model is the trained "
                    "model, and evaluate afresh in a new --store"
                )
        return index
    while u(index) < LOST:
        index += STRIDE
        if index > _REACH:
            return None
    return index


def _around(
    losses: Losses, norm: float, chance: float, upper: int | None, directions: int, windows: int
) -> RadialProbes:
    """Evaluate the two neighbouring distances between which the mean profile crosses, near ``upper``.

    The mean of many directions may cross in another step of the grid than the first direction, or the last design. If
    it crosses nowhere, all distances of the pilot are evaluated: R is censored then.
    """
    while upper is not None and upper <= _REACH:
        probes = table(losses, [grid(upper - 1, norm), grid(upper, norm)], directions, windows, chance)
        before, behind = _mean_u(probes)
        if before < LOST <= behind:
            return probes
        upper += 1 if behind < LOST else -1
    every = [grid(index, norm) for index in range(START, _REACH + 1, STRIDE)]
    return table(losses, every, directions, windows, chance)


def _mean_u(probes: RadialProbes) -> Array:
    """Compute the normalised rise of the mean loss at every distance, (n_λ,)."""
    span = probes.chance - probes.center_nll
    return np.asarray((direction_nll(probes).mean(0) - probes.center_nll) / span)


def table(losses: Losses, lambdas: list[float], directions: int, windows: int, chance: float) -> RadialProbes:
    """Evaluate a design at some distances, as the estimators take it."""
    center, tokens = losses.center(windows)
    totals = losses.totals(directions, lambdas, windows)
    return RadialProbes(np.array(lambdas), totals, tokens, center, chance, losses.blocks(windows))


def _relative(found: Crossing) -> float:
    return math.inf if found.value is None else (found.high - found.value) / found.value
