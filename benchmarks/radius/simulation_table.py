"""Make the tables of simulated surveys and searches from the rows of ``simulate.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from scipy import stats

from benchmarks.radius.coverage import LEVELS, Coverage
from benchmarks.rows import Row, read_rows

HERE = Path(__file__).resolve().parent
SURVEYS = HERE / "simulated-surveys.jsonl"
SEARCHES = HERE / "simulated-searches.jsonl"
SURVEY_COLUMNS = (
    *("landscape", "directions × windows", "bias of R", "half width of R"),
    *("R covered", "r10 covered", "r90 covered"),
)
SEARCH_COLUMNS = (
    *("landscape", "precision requested", "reached", "rounds", "windows evaluated", "bias of R", "half width of R"),
    *("R covered", "covered by the computed interval", "covered after a single round"),
)


def head(row: Row) -> str:
    """Return the first two columns of a row, which identify it."""
    design = f"±{row['precision']:.0%}" if "precision" in row else f"{row['directions']} × {row['windows']}"
    return f"| {row['name']} | {design} |"


def survey_line(row: Row) -> str:
    """Format a line of the first table."""
    radius, *_ = levels = [Coverage(**row[name]) for name in LEVELS]
    return f"{head(row)} {radius.bias:+.2%} | ±{radius.half_width:.1%} | {' | '.join(map(str, levels))} |"


def search_line(row: Row) -> str:
    """Format a line of the second table."""
    coverage, alone = Coverage(**row["coverage"]), row["one_round"]
    n = coverage.repetitions
    at_once = f"{row['covered_in_one_round'] / alone:.1%} of {alone / n:.0%}" if alone else "–"
    return (
        f"{head(row)} {row['precise'] / n:.1%} | {row['rounds']:.1f} | {row['evaluations']} | {coverage.bias:+.2%} | "
        f"±{coverage.half_width:.1%} | {coverage} | {row['covered_as_computed'] / n:.1%} | {at_once} |"
    )


def line(row: Row) -> str:
    """Format a line of either table."""
    return search_line(row) if "precision" in row else survey_line(row)


def note(repetitions: int) -> str:
    """Say which coverage is called ok."""
    low, high = stats.binom.interval(0.95, repetitions, 0.95)
    return (
        f"{repetitions} repetitions per row, intervals of 95 %; *ok* is coverage from {low / repetitions:.2%} to "
        f"{high / repetitions:.2%}, where 95 % of rows with exact intervals fall."
    )


def tables() -> dict[str, Iterator[str]]:
    """Return both tables by their names on the page."""
    surveys, searches = read_rows(SURVEYS), read_rows(SEARCHES)
    return {
        "coverage": _table(SURVEY_COLUMNS, map(line, surveys), {row["R"]["repetitions"] for row in surveys}),
        "stopping": _table(SEARCH_COLUMNS, map(line, searches), {row["coverage"]["repetitions"] for row in searches}),
    }


def _table(columns: Sequence[str], lines: Iterable[str], repetitions: set[int]) -> Iterator[str]:
    yield from map(note, sorted(repetitions))
    yield from ("", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns))
    yield from lines
