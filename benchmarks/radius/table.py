"""Make the tables of `README.md` from all rows of this folder: `python -m benchmarks.radius.table`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

from scipy import stats

from benchmarks.pages import Page
from benchmarks.radius import resampling_table, simulation_table
from benchmarks.radius.simulation_table import HERE
from benchmarks.rows import Row, read_rows

PAGE = Page(HERE / "README.md")


def rows() -> list[Row]:
    """Return all rows of ``measure.py``, by model, precision and seed."""
    others = {simulation_table.SURVEYS, simulation_table.SEARCHES, resampling_table.ROWS}
    files = set(HERE.glob("*.jsonl")) - others
    found = [row for file in files for row in read_rows(file)]
    return sorted(found, key=lambda row: (row["model"], -row["precision"], row["seed"]))


def cost(measured: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table of cost: a search, the median of all seeds, and the fixed design of the first."""
    yield "| model | design | directions × windows × distances | R | half width | windows evaluated | tokens | share |"
    yield "|---|---|---|---|---|---|---|---|"
    for fixed in measured:
        if fixed["kind"] != "fixed":
            continue
        searches = [
            row
            for row in measured
            if row["kind"] == "search" and all(row[key] == fixed[key] for key in ("model", "precision"))
        ]
        search = next(row for row in searches if row["seed"] == fixed["seed"])
        command = f"`landscape radius --precision {search['precision']:g}`"
        yield line(search, f"{command}, seed {search['seed']}", "2 and a pilot", share(search["tokens"], fixed))
        evaluations, tokens = (statistics.median(row[key] for row in searches) for key in ("evaluations", "tokens"))
        yield (
            f"| {fixed['model']} | the same, median of {len(searches)} seeds | | | | {evaluations:,.0f} | "
            f"{tokens:,.0f} | **{share(tokens, fixed)}** |"
        )
        counted = "" if fixed["measured"] == fixed["lambdas"] else f" ({fixed['measured']} evaluated, the rest counted)"
        yield line(fixed, "fixed grid", f"{fixed['lambdas']}{counted}", "")


def share(tokens: float, fixed: Row) -> str:
    """Format the share of the tokens of a fixed design."""
    return f"{tokens / fixed['tokens']:.1%}"


def line(row: Row, design: str, distances: str, of_grid: str) -> str:
    """Format the line of one design."""
    size = f"{row['directions']} × {row['windows']} × {distances}"
    numbers = f"{row['radius']:.4g} | ±{row['half_width']:.2%} | {row['evaluations']:,} | {row['tokens']:,}"
    return f"| {row['model']} | {design} | {size} | {numbers} | {of_grid} |"


def of_two(measured: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of intervals from a whole grid and from two of its distances, which may therefore replace it."""
    yield "| model | half width from all distances | from the two around R |"
    yield "|---|---|---|"
    for row in measured:
        if row["kind"] == "fixed" and row["measured"] == row["lambdas"]:
            yield f"| {row['model']} | ±{row['half_width']:.3%} | ±{row['half_width_of_two']:.3%} |"


def seeds(measured: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table of seeds, with a test of their agreement after those of each model."""
    yield "| model | tokens per window | seed | directions × windows | R | 95 % interval | R/‖w‖ |"
    yield "|---|---|---|---|---|---|---|"
    searches = [row for row in measured if row["kind"] == "search"]
    for _, group in groupby(searches, key=lambda row: (row["model"], row["precision"], row["seq_len"])):
        members = list(group)
        if len(members) < 2:
            continue
        for row in members:
            yield (
                f"| {row['model']} | {row['seq_len']} | {row['seed']} | {row['directions']} × {row['windows']} | "
                f"{row['radius']:.4g} | {row['low']:.4g} to {row['high']:.4g} | {row['radius'] / row['norm']:.4f} |"
            )
        yield f"| {members[0]['model']} | | all | | | {agreement(members)} | |"


def agreement(members: Sequence[Row]) -> str:
    """Say in words whether the radii of several seeds agree with a single R."""
    pairs = list(combinations(members, 2))
    apart = [
        abs(a["radius"] - b["radius"]) / math.hypot(a["radius"] - a["low"], b["radius"] - b["low"]) for a, b in pairs
    ]
    together = homogeneity(members)
    return (
        f"{sum(ratio <= 1 for ratio in apart)} of {len(pairs)} pairs within the combined interval (largest "
        f"{max(apart):.2f} of it); one R for all: p = {together.p:.2f} by Welch's F({len(members) - 1}, "
        f"{together.df:.1f}) = {together.f:.2f}, p = {together.p_known:.3f} were the standard errors known"
    )


@dataclass(frozen=True)
class Homogeneity:
    """The test whether radii differ by more than their standard errors explain."""

    f: float
    """The statistic of Welch's test (1951), which allows for errors that are themselves estimated from few numbers."""
    df: float
    """Denominator degrees of freedom; the numerator has one less than there are radii."""
    p: float
    """Probability that radii of a single R differ as much."""
    p_known: float
    """The same for known errors: Σ((R − R̄)/se)², weighted by 1/se², as χ²."""


def homogeneity(members: Sequence[Row]) -> Homogeneity:
    """Run Welch's analysis of variance on radii with unequal, estimated standard errors."""
    weights = [1 / row["error"] ** 2 for row in members]
    whole, k = sum(weights), len(members)
    mean = sum(w * row["radius"] for w, row in zip(weights, members, strict=True)) / whole
    chi2 = sum(w * (row["radius"] - mean) ** 2 for w, row in zip(weights, members, strict=True))
    pull = sum((1 - w / whole) ** 2 / row["df"] for w, row in zip(weights, members, strict=True))
    f, df = chi2 / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * pull), (k**2 - 1) / (3 * pull)
    return Homogeneity(f, df, p=float(stats.f.sf(f, k - 1, df)), p_known=float(stats.chi2.sf(chi2, k - 1)))


def tables(measured: Sequence[Row]) -> dict[str, Iterator[str]]:
    """Return all tables by their names on the page."""
    own = {"cost": cost(measured), "of two": of_two(measured), "seeds": seeds(measured)}
    resampled = {"resampled": resampling_table.lines(read_rows(resampling_table.ROWS))}
    return simulation_table.tables() | resampled | own


def rewrite() -> None:
    """Rewrite the tables of the page."""
    PAGE.write(tables(rows()))


if __name__ == "__main__":
    rewrite()
