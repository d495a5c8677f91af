"""Judge the goals that were set for the advice, each met or missed, from the rows."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.advice.cells import LARGE, Model
from benchmarks.advice.scores import Decision

BUILT_FOR = ("opt", "llama")
"""Families that the toolkit was built on."""


@dataclass(frozen=True)
class Goal:
    """One goal, what was found, and whether that meets it."""

    text: str
    found: str
    met: bool


def goals(every: Sequence[Model], found: Sequence[Decision], covered: Mapping[str, float]) -> Iterator[Goal]:
    """Yield every goal.

    Args:
        every: All models.
        found: All decisions, each by laws of the other models.
        covered: Share of cells within the interval that was foretold, by way; empty where there is one model.
    """
    others = {model.row["family"] for model in every} - set(BUILT_FOR)
    cells = sum(c.family in ("channel", "group") for model in every if model.name == LARGE for c in model.cells)
    yield Goal(
        "five models, three of families other than OPT and Llama; SmolLM2 with 12 cells on channels and groups",
        f"{len(every)} models, {len(others)} other families, {cells} cells",
        len(every) >= 5 and len(others) >= 3 and cells >= 12,
    )
    right = {family: _share(found, family) for family in dict.fromkeys(decision.cell.family for decision in found)}
    yield Goal(
        "90 % of the decisions right on every kind of grid, at raw loss",
        ", ".join(f"{family} {share:.0%}" for family, share in right.items()),
        min(right.values()) >= 0.9,
    )
    yield _cheap("a median eighth of GPTQ's token passes", [d.of_calibration for d in found], 8)
    yield _cheap("half of them where a small GPTQ was made", [d.of_calibration for d in found if d.open], 2)
    yield _cheap("a median thirtieth of QAFT's token passes", [d.of_training for d in found], 30)
    if covered:
        yield Goal(
            "intervals of 90 % that hold in 85 to 95 % of the cells",
            ", ".join(f"{way} {share:.0%}" for way, share in covered.items()),
            all(0.85 <= share <= 0.95 for share in covered.values()),
        )


def _share(found: Sequence[Decision], family: str) -> float:
    """Return the share of right decisions on one kind of grid."""
    return statistics.mean(decision.hit for decision in found if decision.cell.family == family)


def _cheap(text: str, shares: Sequence[float], most: int) -> Goal:
    """Judge the median of prices against one part in so many."""
    if not shares:
        return Goal(text, "no such decision", False)
    median = statistics.median(shares)
    return Goal(text, f"1/{1 / median:.1f}", median <= 1 / most)
