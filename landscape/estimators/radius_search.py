"""R by few evaluations: two distances, and as many directions and windows as its interval asks for.

A pilot finds the two neighbouring distances of a fixed geometric grid between which ``u`` crosses ½. There every
direction is evaluated on every window, and the interval of the crossed design (``estimators.crossing``)
says how wide R still is. While it is too wide, its components of variance say where that comes from, and the cheapest
number of directions or windows that should do is added. What counts of windows are the articles that they are of.

Beyond the crossing nothing is probed: whether the profile comes back below the level there, ``landscape probe`` tells.

The grid does not depend on the model, the seed or the precision asked for: whatever was evaluated for one search, any
other finds in the store.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from landscape.estimators.crossing import LOST, Crossing, crossing, first_zero
from landscape.estimators.intervals import CONFIDENCE, Columns, article_count, mean_squares
from landscape.estimators.radial_losses import RadialProbes, direction_nll, excess, level_target
from quant.errors import UsageError

Array = NDArray[np.float64]

STEPS_PER_OCTAVE = 8
"""Of the grid of λ: neighbours are 9 % apart, so that between them a straight line in λ² is off by less than 0.2 %."""
_START = -16  # grid index of λ/‖w‖ where the pilot begins: 0.25
_STRIDE = 4  # grid steps by which it walks: a factor 1.4
_REACH = 24  # grid index at which it gives up: 8 ‖w‖
_FIRST = 4  # directions and windows of the first round: three degrees of freedom each
_GROWTH = 2  # how much more of either a round may ask for: its components of variance are no better known than that
_AIM = 0.9  # of the precision, so that a prediction that is a little too good does not cost another round


class Losses(Protocol):
    """Where the search gets its numbers."""

    def totals(self, directions: int, lambdas: Sequence[float], windows: int) -> Array:
        """NLL sums (n_d, n_λ, n_w) of the first ``directions`` directions on the first ``windows`` windows."""
        ...

    def center(self, windows: int) -> tuple[Array, NDArray[np.int64]]:
        """NLL sums at w and scored tokens of the first ``windows`` windows, (n_w,) each."""
        ...

    def blocks(self, windows: int) -> NDArray | None:
        """The articles of the first ``windows`` windows, (n_w,); None if each window is independent of the others."""
        ...


@dataclass(frozen=True)
class StoppingRule:
    """When a search ends."""

    precision: float = 0.05
    """Half width of R's interval over R."""
    directions: int = 256
    """Most directions."""
    windows: int = 256
    """Most windows: all that there are."""
    out_of_time: Callable[[int, Sequence[float], int], bool] = lambda directions, lambdas, windows: False
    """Whether there is no time for so many directions at these distances on so many windows."""


Ending = Literal["precise", "not reached", "exhausted", "out of time"]
"""Of a search: as precise as asked for; the level is nowhere reached; no directions or windows are left; nor time."""


@dataclass(frozen=True)
class Round:
    """One design and what came of it."""

    directions: int
    windows: int
    crossing: Crossing
    """R, as far as this round knows it."""
    articles: int | None = None
    """How many articles the windows are of; None if not known."""


@dataclass(frozen=True)
class RadiusSearch:
    """The end of a search."""

    probes: RadialProbes
    """The losses that R was read from, at two distances; at all distances that the pilot tried, if R is censored."""
    rounds: tuple[Round, ...]
    precision: float | None
    """The relative half width that was asked for and reached; None if something else ended the search."""
    ended: Ending
    """What did."""

    @property
    def precise(self) -> bool:
        """Whether the interval is as narrow as asked for."""
        return self.precision is not None

    @property
    def radius(self) -> Crossing:
        """R, with the interval that was asked for where the search stopped on it.

        An interval that was waited for is too narrow: the search ends with the rounds that underrate their variance.
        The one of fixed width, R ± precision·R, keeps its level as the precision gets finer (Chow and Robbins 1965,
        "On the asymptotic theory of fixed-width sequential confidence intervals for the mean").
        """
        last = self.rounds[-1].crossing
        if self.precision is None or last.value is None:
            return last
        width = self.precision * last.value
        return replace(last, low=min(last.low, last.value - width), high=max(last.high, last.value + width))


def grid(index: int, norm: float) -> float:
    """λ number ``index`` of the geometric grid, in units of ‖w‖ = ``norm``."""
    return float(2.0 ** (index / STEPS_PER_OCTAVE)) * norm


def search(losses: Losses, norm: float, chance: float, limits: StoppingRule) -> RadiusSearch:
    """Find R as precisely as asked for, or as the limits allow.

    Args:
        losses: The landscape.
        norm: ‖w‖, the unit of the grid.
        chance: C = ln|V|.
        limits: When to stop.

    Raises:
        UsageError: if fewer than two directions or windows are allowed, or all windows are of one article: no interval
            could be told.
    """
    if min(limits.directions, limits.windows) < 2 or not limits.precision > 0:
        raise UsageError(
            f"expected a precision above 0 and at least 2 directions and windows, got {limits.precision:g}, "
            f"{limits.directions} and {limits.windows}"
        )
    if article_count(losses.blocks(limits.windows)) == 1:
        raise UsageError(
            f"expected windows of at least two articles, got {limits.windows} of one, which tell no interval of R; use "
            "more windows, or a text of several articles"
        )
    n_d, n_w = min(_FIRST, limits.directions), min(_FIRST, limits.windows)
    upper = _pilot(lambda index: _mean_u(table(losses, [grid(index, norm)], 1, n_w, chance))[0])
    rounds: list[Round] = []
    while True:
        probes = _around(losses, norm, chance, upper, n_d, n_w)
        rounds.append(Round(n_d, n_w, crossing(probes), article_count(probes.blocks)))
        if rounds[-1].crossing.value is None:
            return RadiusSearch(probes, tuple(rounds), None, "not reached")
        upper = round(STEPS_PER_OCTAVE * math.log2(rounds[-1].crossing.bracket[1] / norm))
        if _relative(rounds[-1].crossing) <= limits.precision:
            return RadiusSearch(probes, tuple(rounds), limits.precision, "precise")
        step = _next_design(probes, limits, losses.blocks(limits.windows))
        if step is None:
            return RadiusSearch(probes, tuple(rounds), None, "exhausted")
        if limits.out_of_time(step[0], probes.lambdas.tolist(), step[1]):
            return RadiusSearch(probes, tuple(rounds), None, "out of time")
        n_d, n_w = step


def fixed_design(
    losses: Losses, norm: float, chance: float, directions: int, windows: int, fixed: bool = False
) -> RadialProbes:
    """The losses around R in a design that is given: what ``crossing`` reads R from.

    Args:
        losses: The landscape.
        norm: ‖w‖, the unit of the grid.
        chance: C = ln|V|.
        directions: How many.
        windows: How many.
        fixed: Whether the directions are those that are meant: see ``RadialProbes``.
    """
    upper = _pilot(lambda index: _mean_u(table(losses, [grid(index, norm)], 1, windows, chance))[0])
    return replace(_around(losses, norm, chance, upper, directions, windows), fixed=fixed)


def _pilot(u: Callable[[int], float]) -> int | None:
    """Grid index of the first distance at which u ≥ ½ that the walk meets; None if it never does.

    From w outwards, in strides, until the level is passed: a profile that comes back farther out is not mistaken for
    one that has not got there yet. Where it starts above the level it walks inwards.
    """
    index = _START
    if u(index) >= LOST:
        while u(index - _STRIDE) >= LOST:
            index -= _STRIDE
            if index < -40 * STEPS_PER_OCTAVE:  # 2⁻⁴⁰ ‖w‖: float32 weights do not move
                raise UsageError(
                    f"expected a loss that comes back to L(w) near w, got {u(index):.3g} of the way from it to chance "
                    f"at {grid(index, 1.0):.1g} ‖w‖, where no weight moves any more; see that --model is the trained "
                    "model, and evaluate afresh in a new --store"
                )
        return index
    while u(index) < LOST:
        index += _STRIDE
        if index > _REACH:
            return None
    return index


def _around(
    losses: Losses, norm: float, chance: float, upper: int | None, directions: int, windows: int
) -> RadialProbes:
    """The two neighbouring distances between which the mean profile crosses, near ``upper``; a censored table if none.

    The mean of many directions may cross in another step of the grid than the first one of them, or the last design.
    """
    while upper is not None and upper <= _REACH:
        probes = table(losses, [grid(upper - 1, norm), grid(upper, norm)], directions, windows, chance)
        before, behind = _mean_u(probes)
        if before < LOST <= behind:
            return probes
        upper += 1 if behind < LOST else -1
    every = [grid(index, norm) for index in range(_START, _REACH + 1, _STRIDE)]
    return table(losses, every, directions, windows, chance)


def _mean_u(probes: RadialProbes) -> Array:
    """The normalised rise of the mean loss at every distance."""
    span = probes.chance - probes.center_nll
    return np.asarray((direction_nll(probes).mean(0) - probes.center_nll) / span)


def table(losses: Losses, lambdas: list[float], directions: int, windows: int, chance: float) -> RadialProbes:
    """The losses of a design at some distances, as the estimators take them."""
    center, tokens = losses.center(windows)
    totals = losses.totals(directions, lambdas, windows)
    return RadialProbes(np.array(lambdas), totals, tokens, center, chance, losses.blocks(windows))


def _relative(found: Crossing) -> float:
    return math.inf if found.value is None else (found.high - found.value) / found.value


def _next_design(probes: RadialProbes, limits: StoppingRule, blocks: NDArray | None) -> tuple[int, int] | None:
    """The design to go on to: towards the cheapest that should be precise enough, but not faster than it is known.

    Args:
        probes: The losses around R so far.
        limits: How far it may go.
        blocks: The articles of all windows that there are; None if each window is independent.

    Returns:
        None if there is nothing left to add.
    """
    lambdas, cells = np.concatenate([[0.0], probes.lambdas]), excess(probes, level_target(probes, LOST))
    crossed = first_zero(lambdas, cells.mean((0, 2)))
    n_d, _, n_w = cells.shape
    directions, windows = np.arange(n_d, limits.directions + 1), np.arange(n_w, limits.windows + 1)
    if crossed is None or len(directions) * len(windows) == 1:
        return None
    if article_count(probes.blocks) == 1:  # of which no component can be told
        return n_d, min(_GROWTH * n_w, limits.windows)
    i, radius, slope = crossed
    independent = _independent(blocks, limits.windows)
    components = _Components.of(cells[:, i], probes.blocks, float(independent[n_w - 1]))
    width = components.half_width(directions[:, None], independent[n_w - 1 :]) / slope / radius
    width[0, 0] = math.inf  # this one is not precise enough, whatever is foretold of it
    enough, cost = width <= _AIM * limits.precision, np.multiply.outer(directions, windows)
    best = np.where(enough, cost, math.inf).argmin() if enough.any() else width.argmin()
    to_d, to_w = np.unravel_index(best, cost.shape)
    return min(int(directions[to_d]), _GROWTH * n_d), min(int(windows[to_w]), _GROWTH * n_w)


def _independent(blocks: NDArray | None, most: int) -> Array:
    """How many articles of equal size the first 1, 2, … windows are worth, (most,): ``n²/Σc²``, c windows in each.

    As many as windows if none shares its article with another. That windows of one article say nothing beyond the first
    is more careful than true; the interval itself, which ends the search, takes them as they are.
    """
    if blocks is None:
        return np.arange(1.0, most + 1)
    squares, seen, total = [], Counter[object](), 0
    for label in blocks[:most].tolist():
        seen[label] += 1
        total += 2 * seen[label] - 1
        squares.append(total)
    return np.asarray(np.arange(1.0, most + 1) ** 2 / np.array(squares))


@dataclass(frozen=True)
class _Components:
    """Components of variance of a table of directions × articles, from one design, to foretell another."""

    directions: float
    """σ²_d, 0 where the estimate is negative."""
    windows: float
    """σ²_w, of an article, or of a window if it is one; 0 where the estimate is negative."""
    interaction: float
    """σ²_ε."""

    @classmethod
    def of(cls, cells: Array, blocks: NDArray | None, independent: float) -> _Components:
        """Those of a table (n_d, n_w): two-way random effects, one observation a cell.

        Args:
            cells: Of at least two directions and two articles.
            blocks: (n_w,) articles.
            independent: How many of equal size these windows are worth.
        """
        columns = Columns.of(np.ones(cells.shape[1]), blocks)
        (of_d, of_w, rest), _ = mean_squares(cells, columns)
        n_d, n_b = len(cells), len(columns.share)
        size = independent / n_b  # 1 if the articles are of equal size
        return cls(max(0.0, (of_d - rest) / n_b), max(0.0, (of_w - rest) / n_d) * size, rest * size)

    def half_width(self, n_d: NDArray[np.int64], n_w: Array) -> Array:
        """Half width of the grand mean's interval to be expected in designs, broadcast against each other.

        Args:
            n_d: Directions.
            n_w: Articles of equal size, or what they are worth.
        """
        of_d, of_w, rest = self.directions / n_d, self.windows / n_w, self.interaction / (n_d * n_w)
        variance = of_d + of_w + rest
        # Satterthwaite's degrees of freedom, from the mean squares that ``crossed_error`` would meet on average.
        of_rest = 1 - (self.directions > 0) - (self.windows > 0)
        squares = (
            (self.directions > 0) * (of_d + rest) ** 2 / (n_d - 1)
            + (self.windows > 0) * (of_w + rest) ** 2 / (n_w - 1)
            + (of_rest * rest) ** 2 / ((n_d - 1) * (n_w - 1))
        )
        df = variance**2 / np.maximum(squares, np.finfo(np.float64).tiny)
        return np.asarray(np.sqrt(variance) * stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(df, 1)))
