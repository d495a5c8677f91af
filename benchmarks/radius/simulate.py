"""How often the intervals of R hold the true R: the tables of `benchmarks/radius/README.md`, by simulation.

    python -m benchmarks.radius.simulate     (or `make validate`; some minutes on one core)

Every cell of the first table is 2000 surveys drawn from a population whose radius is known (`landscapes.py`) and
put through the estimator that `landscape probe` uses; every cell of the second is 2000 searches of `landscape radius`,
which stop when their interval is narrow enough. Each cell has random numbers of its own, so that cells can be run
singly (`--only`) and give what they give in the whole. A row goes into its table as soon as it is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.pages import Page
from benchmarks.radius.landscapes import ARTICLES, CHANCE, LANDSCAPES, WIKITEXT, Synthetic
from landscape.estimators.crossing import crossing
from landscape.estimators.radius_search import STEPS_PER_OCTAVE, RadiusSearch, StoppingRule, search

PAGE = Page(Path(__file__).resolve().parent / "README.md")
REPETITIONS = 2000
LEVELS = (0.5, 0.1, 0.9)  # R, r10, r90
DESIGNS = ((4, 16), (8, 16), (16, 16), (32, 16), (8, 4))  # directions × windows
ARTICLE_DESIGNS = ((8, 16), (8, 32), (16, 64))
SEARCHES = (
    *(
        (LANDSCAPES[0], 0.05),
        (LANDSCAPES[0], 0.02),
        (LANDSCAPES[1], 0.05),
        (LANDSCAPES[2], 0.05),
        (LANDSCAPES[4], 0.05),
    ),
    *((WIKITEXT, 0.05), (WIKITEXT, 0.02), (ARTICLES, 0.05)),
)  # with the precision asked for
MOST = 64  # directions and windows of a search
FAR = 3.0  # ‖w‖ over R, about: where R lies between two distances of the grid differs from search to search


@dataclass(frozen=True)
class Cell:
    """One row of the table."""

    landscape: Synthetic
    directions: int
    windows: int
    blocked: bool = False
    """Whether the estimator is told which article each window is from."""

    @property
    def name(self) -> str:
        """As the table calls it."""
        return self.landscape.name + (", blocked" if self.blocked else "")

    @property
    def seed(self) -> int:
        """The same for a cell with and without blocks: they see the same surveys."""
        return zlib.crc32(f"{self.landscape.name} {self.directions} {self.windows}".encode())


@dataclass(frozen=True)
class SearchCell:
    """One row of the second table."""

    landscape: Synthetic
    precision: float

    @property
    def name(self) -> str:
        """As the table calls it."""
        return self.landscape.name

    @property
    def seed(self) -> int:
        """Of its random numbers."""
        return zlib.crc32(f"search {self.name} {self.precision:g}".encode())


def searches() -> Iterator[SearchCell]:
    """All rows of the second table."""
    yield from (SearchCell(landscape, precision) for landscape, precision in SEARCHES)


def cells() -> Iterator[Cell]:
    """All rows of the first table."""
    for landscape in LANDSCAPES:
        yield from (Cell(landscape, *design) for design in DESIGNS)
    for design in ARTICLE_DESIGNS:
        yield from (Cell(ARTICLES, *design, blocked) for blocked in (False, True))


@dataclass(frozen=True)
class Coverage:
    """What became of the intervals of one level."""

    level: float
    bias: float
    """Mean of the estimates over the truth, less 1."""
    half_width: float
    """Median half width over the truth."""
    covered: int
    """How many intervals hold the truth."""
    censored: int
    """How many surveys did not reach the level; such a one covers if its lower bound is below the truth."""
    repetitions: int

    @property
    def verdict(self) -> str:
        """``ok`` within the range that 95 % of binomial draws at the nominal coverage fall in."""
        low, high = stats.binom.interval(0.95, self.repetitions, 0.95)
        return "low" if self.covered < low else "high" if self.covered > high else "ok"

    def __str__(self) -> str:
        word = self.verdict if self.verdict == "ok" else f"**{self.verdict}**"
        gone = f" ({self.censored / self.repetitions:.1%} censored)" if self.censored else ""
        return f"{self.covered / self.repetitions:.1%} {word}{gone}"


def measure(cell: Cell, repetitions: int = REPETITIONS) -> list[Coverage]:
    """Simulate the surveys of a cell."""
    rng = np.random.Generator(np.random.Philox(key=cell.seed))
    truth = np.array([cell.landscape.truth(level) for level in LEVELS])
    found = np.empty((repetitions, len(LEVELS), 3))  # value, low, high
    for repetition in range(repetitions):
        probes, articles = cell.landscape.draw(rng, cell.directions, cell.windows)
        probes = dataclasses.replace(probes, blocks=articles if cell.blocked else None)
        for k, level in enumerate(LEVELS):
            at = crossing(probes, level)
            found[repetition, k] = (math.nan if at.value is None else at.value, at.low, at.high)
    value, low, high = np.moveaxis(found, 2, 0)
    return [
        Coverage(
            level,
            bias=float(np.nanmean(value[:, k]) / truth[k] - 1),
            half_width=float(np.median(high[:, k] - low[:, k]) / 2 / truth[k]),
            covered=int(((low[:, k] <= truth[k]) & (truth[k] <= high[:, k])).sum()),
            censored=int(np.isnan(value[:, k]).sum()),
            repetitions=repetitions,
        )
        for k, level in enumerate(LEVELS)
    ]


def measure_search(cell: SearchCell, repetitions: int = REPETITIONS) -> tuple[Coverage, list[tuple[RadiusSearch, int]]]:
    """Search R on landscapes of a cell; with what was found, and how many windows were evaluated away from w."""
    rng = np.random.Generator(np.random.Philox(key=cell.seed))
    truth, limits, ends = cell.landscape.truth(0.5), StoppingRule(cell.precision, MOST, MOST), []
    for _ in range(repetitions):
        losses = cell.landscape.landscape(rng, MOST, MOST)
        found = search(losses, FAR * 2 ** (rng.random() / STEPS_PER_OCTAVE), CHANCE, limits)
        ends.append((found, losses.evaluations))
    radii = [found.radius for found, _ in ends]
    values = [radius.value for radius in radii if radius.value is not None]
    coverage = Coverage(
        0.5,
        bias=float(np.mean(values) / truth - 1),
        half_width=float(np.median([(radius.high - radius.low) / 2 / truth for radius in radii])),
        covered=sum(radius.low <= truth <= radius.high for radius in radii),
        censored=repetitions - len(values),
        repetitions=repetitions,
    )
    return coverage, ends


def row(cell: Cell, measured: list[Coverage]) -> str:
    """A line of the first table."""
    radius = measured[0]
    return (
        f"| {cell.name} | {cell.directions} × {cell.windows} | {radius.bias:+.2%} | ±{radius.half_width:.1%} | "
        + " | ".join(str(of) for of in measured)
        + " |"
    )


def search_row(cell: SearchCell, coverage: Coverage, ends: list[tuple[RadiusSearch, int]]) -> str:
    """A line of the second table."""
    rounds = np.array([len(found.rounds) for found, _ in ends])
    first = [found.radius for found, _ in ends if len(found.rounds) == 1]
    truth = cell.landscape.truth(0.5)
    stopped = sum(radius.low <= truth <= radius.high for radius in first)
    at_once = f"{stopped / len(first):.1%} of {len(first) / len(ends):.0%}" if first else "–"
    computed = [found.rounds[-1].crossing for found, _ in ends]
    as_computed = sum(radius.low <= truth <= radius.high for radius in computed) / len(computed)
    evaluations = int(np.median([count for _, count in ends]))
    precise = np.mean([found.precise for found, _ in ends])
    return (
        f"| {cell.name} | ±{cell.precision:.0%} | {precise:.1%} | {rounds.mean():.1f} | {evaluations} | "
        f"{coverage.bias:+.2%} | ±{coverage.half_width:.1%} | {coverage} | {as_computed:.1%} | {at_once} |"
    )


def survey_line(cell: Cell) -> str:
    """Measure a cell of the first table."""
    return row(cell, measure(cell))


def search_line(cell: SearchCell) -> str:
    """Measure a cell of the second table."""
    return search_row(cell, *measure_search(cell))


def note() -> str:
    """What a verdict means."""
    low, high = stats.binom.interval(0.95, REPETITIONS, 0.95)
    return (
        f"{REPETITIONS} repetitions a row, intervals of 95 %; *ok* is coverage from {low / REPETITIONS:.2%} to "
        f"{high / REPETITIONS:.2%}, where 95 % of rows with exact intervals fall."
    )


@dataclass(frozen=True)
class Table:
    """A table of the page: its rows in order, each found by its first two columns."""

    name: str
    """Of the comments that it stands between."""
    columns: tuple[str, ...]
    measures: dict[str, Callable[[], str]]
    """What makes the line that begins so."""

    def lines(self, old: str, new: dict[str, str]) -> Iterator[str]:
        """The table with new lines in place of those that begin alike; one that is neither new nor old is not there."""
        known = {key: line for line in old.splitlines() for key in self.measures if line.startswith(key)} | new
        yield from (note(), "", f"| {' | '.join(self.columns)} |", "|" + "---|" * len(self.columns))
        yield from (known[key] for key in self.measures if key in known)

    def write(self, new: dict[str, str], page: Page = PAGE) -> None:
        """Put lines into the table of the page."""
        page.write({self.name: self.lines(page.table(self.name), new)})


def tables() -> tuple[Table, Table]:
    """The two tables of the page."""
    surveys = {f"| {c.name} | {c.directions} × {c.windows} |": partial(survey_line, c) for c in cells()}
    adaptive = {f"| {c.name} | ±{c.precision:.0%} |": partial(search_line, c) for c in searches()}
    design = ("landscape", "directions × windows", "bias of R", "half width of R")
    search_design = ("landscape", "asked for", "reached", "rounds", "windows evaluated", "bias of R", "half width of R")
    others = ("by the computed interval", "where the first round was enough")
    return (
        Table("coverage", (*design, "R covered", "r10 covered", "r90 covered"), surveys),
        Table("stopping", (*search_design, "R covered", *others), adaptive),
    )


def main() -> None:
    """Measure the cells, and put each into its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the rows whose first two columns have this in them")
    parser.add_argument("--table", choices=[table.name for table in tables()], help="the rows of one table")
    options = parser.parse_args()
    for table in tables():
        for key, measured in table.measures.items():
            if options.only in key and options.table in (None, table.name):
                line = measured()
                print(line, flush=True)
                table.write({key: line})


if __name__ == "__main__":
    main()
