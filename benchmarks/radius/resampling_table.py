"""Make the table of searches on samples of real models from the rows of ``resample.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scipy import stats

from benchmarks.radius.simulation_table import HERE
from benchmarks.rows import Row

ROWS = HERE / "resampled-searches.jsonl"
COLUMNS = (
    *("model", "directions × windows (articles) of the table", "precision requested", "reached", "bias of R"),
    *("R covered", "covered by the computed interval", "its half width, median"),
    *("windows evaluated, median", "90th percentile", "covered after a single round"),
)


def share(hits: int, of: int) -> str:
    """Format a share with its exact binomial interval (Clopper and Pearson 1934); a dash for none."""
    if not of:
        return "–"
    interval = stats.binomtest(hits, of).proportion_ci(0.95, "exact")
    return f"{hits / of:.1%} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def line(row: Row) -> str:
    """Format the line of one row."""
    n = row["repetitions"]
    size = f"{row['directions']} × {row['windows']} ({row['articles']})"
    at_once = f"{share(row['covered_in_one_round'], row['one_round'])} of {row['one_round'] / n:.0%}"
    return (
        f"| {row['model']} | {size} | ±{row['precision']:.0%} | {row['precise'] / n:.1%} | {row['bias']:+.2%} | "
        f"{share(row['covered'], n)} | {share(row['covered_as_computed'], n)} | "
        f"±{row['half_width_as_computed']:.1%} | {row['evaluations']} | {row['evaluations_90']} | {at_once} |"
    )


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table, after a note on what is counted."""
    for repetitions in sorted({row["repetitions"] for row in rows}):
        low, high = stats.binom.interval(0.95, repetitions, 0.95)
        yield (
            f"{repetitions} searches per row, intervals of 95 %, each share with its binomial interval of 95 %; 95 % "
            f"of rows with exact intervals would cover from {low / repetitions:.2%} to {high / repetitions:.2%}."
        )
    yield from ("", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS))
    yield from map(line, rows)
