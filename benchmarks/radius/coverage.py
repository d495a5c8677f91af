"""Simulate surveys and searches of landscapes whose radius is known, and count how often their intervals hold it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.radius.cells import SearchCell, SurveyCell
from benchmarks.radius.landscapes import CHANCE
from landscape.estimators.crossing import crossing
from landscape.estimators.radius_search import STEPS_PER_OCTAVE, RadiusSearch, StoppingRule, search

LEVELS = {"R": 0.5, "r10": 0.1, "r90": 0.9}
MOST = 64  # directions and windows of a search
FAR = 3.0  # ‖w‖ over R, about: where R lies between two distances of the grid differs from search to search


@dataclass(frozen=True)
class Coverage:
    """The intervals of one level over many repetitions, against the truth."""

    bias: float
    """Mean of the estimates over the truth, less 1."""
    half_width: float
    """Median half width over the truth."""
    covered: int
    """Number of intervals that hold the truth."""
    censored: int
    """Number of surveys that did not reach the level; such a one covers if its lower bound is below the truth."""
    repetitions: int

    @property
    def verdict(self) -> str:
        """Return ``ok`` within the range that 95 % of binomial draws at the nominal coverage fall in."""
        low, high = stats.binom.interval(0.95, self.repetitions, 0.95)
        return "low" if self.covered < low else "high" if self.covered > high else "ok"

    def __str__(self) -> str:
        word = self.verdict if self.verdict == "ok" else f"**{self.verdict}**"
        gone = f" ({self.censored / self.repetitions:.1%} censored)" if self.censored else ""
        return f"{self.covered / self.repetitions:.1%} {word}{gone}"


@dataclass(frozen=True)
class SearchOutcome:
    """The searches of one cell, by the interval that they report and by the one that they computed."""

    coverage: Coverage
    precise: int
    """Number of searches that reached the precision."""
    rounds: float
    """Mean number of rounds."""
    evaluations: int
    """Median number of windows evaluated away from w."""
    covered_as_computed: int
    """Number of computed intervals, of the last round, that hold the truth."""
    one_round: int
    """Number of searches that ended after one round."""
    covered_in_one_round: int
    """Number of these whose reported interval holds the truth."""


def survey(cell: SurveyCell, repetitions: int) -> dict[str, Coverage]:
    """Simulate the surveys of a cell; return the coverage of R, r10 and r90."""
    rng = np.random.Generator(np.random.Philox(key=cell.seed))
    truth = np.array([cell.landscape.truth(level) for level in LEVELS.values()])
    found = np.empty((repetitions, len(LEVELS), 3))  # value, low, high
    for repetition in range(repetitions):
        probes, articles = cell.landscape.draw(rng, cell.directions, cell.windows)
        probes = dataclasses.replace(probes, blocks=articles if cell.blocked else None)
        for k, level in enumerate(LEVELS.values()):
            at = crossing(probes, level)
            found[repetition, k] = (math.nan if at.value is None else at.value, at.low, at.high)
    value, low, high = np.moveaxis(found, 2, 0)
    return {
        name: Coverage(
            bias=float(np.nanmean(value[:, k]) / truth[k] - 1),
            half_width=float(np.median(high[:, k] - low[:, k]) / 2 / truth[k]),
            covered=int(((low[:, k] <= truth[k]) & (truth[k] <= high[:, k])).sum()),
            censored=int(np.isnan(value[:, k]).sum()),
            repetitions=repetitions,
        )
        for k, name in enumerate(LEVELS)
    }


def run_searches(cell: SearchCell, repetitions: int) -> list[tuple[RadiusSearch, int]]:
    """Search R on landscapes of a cell; return each search with the number of windows evaluated away from w."""
    rng = np.random.Generator(np.random.Philox(key=cell.seed))
    limits, ends = StoppingRule(cell.precision, MOST, MOST), []
    for _ in range(repetitions):
        losses = cell.landscape.landscape(rng, MOST, MOST)
        found = search(losses, FAR * 2 ** (rng.random() / STEPS_PER_OCTAVE), CHANCE, limits)
        ends.append((found, losses.evaluations))
    return ends


def summarize(cell: SearchCell, ends: Sequence[tuple[RadiusSearch, int]]) -> SearchOutcome:
    """Count how often the intervals of finished searches hold the true R of their cell."""
    truth = cell.landscape.truth(0.5)
    radii = [found.radius for found, _ in ends]
    values = [radius.value for radius in radii if radius.value is not None]
    coverage = Coverage(
        bias=float(np.mean(values) / truth - 1),
        half_width=float(np.median([(radius.high - radius.low) / 2 / truth for radius in radii])),
        covered=sum(radius.low <= truth <= radius.high for radius in radii),
        censored=len(ends) - len(values),
        repetitions=len(ends),
    )
    computed = [found.rounds[-1].crossing for found, _ in ends]
    at_once = [found.radius for found, _ in ends if len(found.rounds) == 1]
    return SearchOutcome(
        coverage,
        precise=sum(found.precise for found, _ in ends),
        rounds=float(np.mean([len(found.rounds) for found, _ in ends])),
        evaluations=int(np.median([count for _, count in ends])),
        covered_as_computed=sum(radius.low <= truth <= radius.high for radius in computed),
        one_round=len(at_once),
        covered_in_one_round=sum(radius.low <= truth <= radius.high for radius in at_once),
    )
