"""How often the intervals of R hold the true R: the table of `landscape/CALIBRATION.md`, by simulation.

    python benchmarks/validate_radius.py     (or `make validate`; some minutes on one core)

Every cell of the table is 2000 surveys drawn from a population whose radius is known (`radius_landscapes.py`) and put
through the estimator that `landscape probe` uses. Each cell has random numbers of its own, so that cells can be run
singly (`--only`) and give what they give in the whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from radius_landscapes import ARTICLES, LANDSCAPES, Synthetic
from scipy import stats

from landscape.basin import crossing

PAGE = Path(__file__).resolve().parent.parent / "landscape" / "CALIBRATION.md"
REPETITIONS = 2000
LEVELS = (0.5, 0.1, 0.9)  # R, r10, r90
DESIGNS = ((4, 16), (8, 16), (16, 16), (32, 16), (8, 4))  # directions × windows
ARTICLE_DESIGNS = ((8, 16), (8, 32), (16, 64))


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


def cells() -> Iterator[Cell]:
    """All rows."""
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


def row(cell: Cell, measured: list[Coverage]) -> str:
    """A line of the table."""
    radius = measured[0]

    def share(of: Coverage) -> str:
        word = of.verdict if of.verdict == "ok" else f"**{of.verdict}**"
        gone = f" ({of.censored / of.repetitions:.1%} censored)" if of.censored else ""
        return f"{of.covered / of.repetitions:.1%} {word}{gone}"

    return (
        f"| {cell.name} | {cell.directions} × {cell.windows} | {radius.bias:+.2%} | ±{radius.half_width:.1%} | "
        + " | ".join(share(of) for of in measured)
        + " |"
    )


def table(rows: list[str]) -> str:
    """The table with its heading."""
    head = "| landscape | directions × windows | bias of R | half width of R | R covered | r10 covered | r90 covered |"
    low, high = stats.binom.interval(0.95, REPETITIONS, 0.95)
    note = (
        f"{REPETITIONS} surveys a row, intervals of 95 %; *ok* is coverage from {low / REPETITIONS:.1%} to "
        f"{high / REPETITIONS:.1%}, where 95 % of rows with exact intervals fall."
    )
    return "\n".join([note, "", head, "|---|---|---|---|---|---|---|", *rows])


def write(text: str, page: Path = PAGE) -> None:
    """Put the table between its markers."""
    pattern = r"(<!-- coverage -->\n).*(<!-- /coverage -->)"
    page.write_text(re.sub(pattern, lambda m: f"{m[1]}{text}\n{m[2]}", page.read_text(), flags=re.S))


def main() -> None:
    """Measure the cells and write the table; with --only, print those cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="print the rows whose landscape's name has this in it, and write nothing")
    options = parser.parse_args()
    rows = []
    for cell in cells():
        if options.only is None or options.only in cell.name:
            rows.append(row(cell, measure(cell)))
            print(rows[-1], flush=True)
    if options.only is None:
        write(table(rows))


if __name__ == "__main__":
    main()
