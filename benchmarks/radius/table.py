"""Make the tables of cost and of seeds in `benchmarks/radius/README.md` from the rows that `measure.py` measured.

python -m benchmarks.radius.table
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from scipy import stats

from benchmarks.pages import Page

HERE = Path(__file__).resolve().parent
PAGE = Page(HERE / "README.md")

Row = dict[str, Any]


def rows() -> list[Row]:
    """All rows that were measured, by model, precision and seed."""
    found = [json.loads(line) for file in HERE.glob("*.jsonl") for line in file.read_text().splitlines()]
    return sorted(found, key=lambda row: (row["model"], -row["precision"], row["seed"]))


def cost(measured: Sequence[Row]) -> Iterator[str]:
    """Lines of the table of cost: a search and the fixed design of the same seed."""
    yield "| model | design | directions × windows × distances | R | half width | windows evaluated | tokens | share |"
    yield "|---|---|---|---|---|---|---|---|"
    for fixed in measured:
        if fixed["kind"] != "fixed":
            continue
        search = next(
            row
            for row in measured
            if row["kind"] == "search" and all(row[key] == fixed[key] for key in ("model", "precision", "seed"))
        )
        share = f"**{search['tokens'] / fixed['tokens']:.1%}**"
        yield line(search, f"`landscape radius --precision {search['precision']:g}`", "2 and a pilot", share)
        counted = "" if fixed["measured"] == fixed["lambdas"] else f" ({fixed['measured']} evaluated, the rest counted)"
        yield line(fixed, "fixed grid", f"{fixed['lambdas']}{counted}", "")


def line(row: Row, design: str, distances: str, share: str) -> str:
    """One design."""
    size = f"{row['directions']} × {row['windows']} × {distances}"
    numbers = f"{row['radius']:.4g} | ±{row['half_width']:.2%} | {row['evaluations']:,} | {row['tokens']:,}"
    return f"| {row['model']} | {design} | {size} | {numbers} | {share} |"


def of_two(measured: Sequence[Row]) -> Iterator[str]:
    """What the interval of a whole grid would be from two of its distances: why these may stand for it."""
    yield "| model | half width from all distances | from the two around R |"
    yield "|---|---|---|"
    for row in measured:
        if row["kind"] == "fixed" and row["measured"] == row["lambdas"]:
            yield f"| {row['model']} | ±{row['half_width']:.3%} | ±{row['half_width_of_two']:.3%} |"


def seeds(measured: Sequence[Row]) -> Iterator[str]:
    """Lines of the table of seeds, with what they say together after those of each model."""
    yield "| model | tokens a window | seed | directions × windows | R | 95 % interval | R/‖w‖ |"
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
    """Whether the radii of several seeds are of one R, in words."""
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
    """Whether radii differ by more than their standard errors let expect."""

    f: float
    """The statistic of Welch's test (1951), which minds that each error is itself estimated from few numbers."""
    df: float
    """Its second degrees of freedom; the first are one less than there are radii."""
    p: float
    """How often radii of one R differ as much."""
    p_known: float
    """The same if the errors were known: Σ((R − R̄)/se)², weighted by 1/se², as χ²."""


def homogeneity(members: Sequence[Row]) -> Homogeneity:
    """Welch's analysis of variance of radii with unequal, estimated standard errors."""
    weights = [1 / row["error"] ** 2 for row in members]
    whole, k = sum(weights), len(members)
    mean = sum(w * row["radius"] for w, row in zip(weights, members, strict=True)) / whole
    chi2 = sum(w * (row["radius"] - mean) ** 2 for w, row in zip(weights, members, strict=True))
    pull = sum((1 - w / whole) ** 2 / row["df"] for w, row in zip(weights, members, strict=True))
    f, df = chi2 / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * pull), (k**2 - 1) / (3 * pull)
    return Homogeneity(f, df, p=float(stats.f.sf(f, k - 1, df)), p_known=float(stats.chi2.sf(chi2, k - 1)))


def tables(measured: Sequence[Row]) -> dict[str, Iterator[str]]:
    """All tables by their names on the page."""
    return {"cost": cost(measured), "of two": of_two(measured), "seeds": seeds(measured)}


def main() -> None:
    """Rewrite the tables."""
    PAGE.write(tables(rows()))


if __name__ == "__main__":
    main()
