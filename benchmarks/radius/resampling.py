"""Search on losses resampled from the table of a real model, whose R is known, and count how often the interval holds.

Directions are drawn with replacement from those of the table. So are articles, each with all its windows, because the
windows of one article depend on each other; the windows drawn are then shuffled, as the command shuffles those of a
text. A direction or an article that is drawn twice counts as two that happen to be alike. The population of the
searches is therefore the table itself, repeated without end, and the truth that an interval should hold is R of the
mean over the whole table. It is not R of the model: how far the table's own R is from that does not matter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.radius.loss_table import Array, LossTable, step_of
from landscape.estimators.crossing import Crossing
from landscape.estimators.radius_search import RadiusSearch, StoppingRule, search

MOST = 256  # directions, as `landscape radius` allows


@dataclass
class ResampledLosses:
    """A sample of a table, as ``landscape.estimators.radius_search`` sees it."""

    table: LossTable
    drawn: NDArray[np.int64]
    """Numbers of the directions in the table."""
    windows: NDArray[np.int64]
    """Numbers of the windows in the table."""
    articles: NDArray[np.int64]
    """Article of each window; one that was drawn twice is two."""
    asked: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    """Which directions and windows were requested at each grid index."""

    @classmethod
    def draw(cls, table: LossTable, rng: np.random.Generator, directions: int = MOST) -> ResampledLosses:
        """Draw directions, and as many articles as the table has, with replacement."""
        labels = np.unique(table.articles)
        chosen = [np.flatnonzero(table.articles == label) for label in rng.choice(labels, len(labels))]
        windows = np.concatenate(chosen)
        articles = np.repeat(np.arange(len(chosen)), [len(each) for each in chosen])
        order = rng.permutation(len(windows))
        drawn = rng.integers(0, len(table.totals), directions)
        return cls(table, drawn, windows[order], articles[order])

    def totals(self, directions: int, lambdas: Sequence[float], windows: int) -> Array:
        """Implement ``landscape.estimators.radius_search.Losses``."""
        some, found = self.drawn[:directions], []
        for lam in lambdas:
            index = round(step_of(lam, self.table.norm))
            asked = self.asked.setdefault(index, np.zeros((len(self.drawn), len(self.windows)), bool))
            asked[:directions, :windows] = True
            found.append(self.table.losses(some, index)[:, self.windows[:windows]])
        return np.stack(found, axis=1)

    def center(self, windows: int) -> tuple[Array, NDArray[np.int64]]:
        """Implement ``landscape.estimators.radius_search.Losses``."""
        some = self.windows[:windows]
        return self.table.center[some], self.table.tokens[some]

    def blocks(self, windows: int) -> NDArray[np.int64]:
        """Implement ``landscape.estimators.radius_search.Losses``."""
        return self.articles[:windows]

    @property
    def evaluations(self) -> int:
        """Count the different windows that were evaluated, at w and away from it."""
        at_center = np.any([asked.any(0) for asked in self.asked.values()], axis=0).sum()
        return int(at_center + sum(asked.sum() for asked in self.asked.values()))


@dataclass(frozen=True)
class ResampledSearches:
    """The searches of one table at one precision."""

    truth: float
    """R of the whole table."""
    bias: float
    """Mean of the estimates over the truth, less 1."""
    repetitions: int
    """Number of searches."""
    covered: int
    """Number of reported intervals that hold the truth."""
    covered_as_computed: int
    """Number of t intervals of the last round that hold it."""
    half_width: float
    """Median half width of the reported intervals over R."""
    half_width_as_computed: float
    """Median half width of the t intervals of the last round over R."""
    precise: int
    """Number of searches that reached the precision."""
    one_round: int
    """Number of searches that ended after one round, the cheapest."""
    covered_in_one_round: int
    """Number of these whose reported interval holds the truth."""
    evaluations: int
    """Median number of windows evaluated, at w and away from it."""
    evaluations_90: int
    """90th percentile of it."""


def run_searches(
    table: LossTable, precision: float, repetitions: int, rng: np.random.Generator, directions: int = MOST
) -> list[tuple[RadiusSearch, int]]:
    """Search R on samples of a table; return each search with the number of windows evaluated."""
    ends = []
    for _ in range(repetitions):
        losses = ResampledLosses.draw(table, rng, directions)
        rule = StoppingRule(precision, directions, len(losses.windows))
        found = search(losses, table.norm, table.chance, rule)
        check_rounds(table, found)
        ends.append((found, losses.evaluations))
    return ends


def check_rounds(table: LossTable, found: RadiusSearch) -> None:
    """Check that every R of a search lies between two distances at which the table keeps all directions.

    Raises:
        ValueError: if one does not; directions that stand in for others would have made its interval.
    """
    for each in found.rounds:
        if not set(each.crossing.bracket) <= set(table.distances(table.full).tolist()):
            raise ValueError(
                f"expected R between two of the distances {table.distances(table.full).tolist()}, where all directions "
                f"are kept, got {each.crossing.value} between {each.crossing.bracket}; evaluate more steps"
            )


def summarize(truth: float, ends: Sequence[tuple[RadiusSearch, int]]) -> ResampledSearches:
    """Count how often the intervals of finished searches hold the truth, and what they cost."""
    holds = np.array([found.radius.low <= truth <= found.radius.high for found, _ in ends])
    computed = [found.rounds[-1].crossing for found, _ in ends]
    alone = np.array([len(found.rounds) == 1 for found, _ in ends])
    costs = [cost for _, cost in ends]
    return ResampledSearches(
        truth=truth,
        bias=float(np.mean([found.radius.value for found, _ in ends if found.radius.value is not None]) / truth - 1),
        repetitions=len(ends),
        covered=int(holds.sum()),
        covered_as_computed=sum(each.low <= truth <= each.high for each in computed),
        half_width=_relative_half_width([found.radius for found, _ in ends]),
        half_width_as_computed=_relative_half_width(computed),
        precise=sum(found.precise for found, _ in ends),
        one_round=int(alone.sum()),
        covered_in_one_round=int((holds & alone).sum()),
        evaluations=int(np.median(costs)),
        evaluations_90=int(np.quantile(costs, 0.9)),
    )


def _relative_half_width(radii: Sequence[Crossing]) -> float:
    """Return the median half width over R; censored radii have none."""
    return float(np.median([(each.high - each.value) / each.value for each in radii if each.value is not None]))
