"""Lay out advice as one table: ways × grids at each bit width."""

from __future__ import annotations

import math

from landscape.advice.advise import AdviceResult
from landscape.advice.adviser import GridEvidence, WidthAdvice
from landscape.advice.choice import Choice
from landscape.advice.ways import NAMES, Way
from landscape.formatting import duration, rise_text
from landscape.report.advice.wording import choice_name, grid_name, share_text
from landscape.report.perplexity_change import change_with_ends
from landscape.report.table import Table

MARK = "←"
"""Mark of the choice that the verdict names."""
FORETOLD = "≈ "
"""Mark of a number that was not measured."""
READING = (
    "RTN, GPTQ, QAFT: change of the perplexity (from … to), each end with the probability asked for; ≈ foretold; "
    "GPTQ without ≈: tried on little data; ← the verdict"
)


def decision_table(advised: AdviceResult) -> Table:
    """Return one row for each bit width and grid, with what each way costs there."""
    placed = advised.search is not None
    header = (
        "bits", "one scale per", "bits per\nweight", *(["distance\nof R"] if placed else []), "RTN", "GPTQ",
        "QAFT less\nfine-tuning" if advised.net else "QAFT",
    )  # fmt: skip
    rows = [_row(found, grid, advised, placed) for found in advised.advice for grid in found.grids]
    return Table("Ways and grids at each bit width.", header, tuple(rows), frozenset({0, 1}))


def _row(found: WidthAdvice, grid: GridEvidence, advised: AdviceResult, placed: bool) -> tuple[str, ...]:
    own = {choice.way: choice for choice in found.choices if choice.scheme == grid.scheme}
    ways: tuple[Way, ...] = ("rtn", "gptq", "qaft")
    name = ("paper's: " if grid.scheme.granularity == "tensor" else "") + grid_name(grid.scheme)
    return (
        str(found.bits),
        name,
        f"{grid.bits_per_weight:.2f}",
        *([share_text(advised.rho(grid))] if placed else []),
        *(_cell(own[way], found, advised) for way in ways),
    )


def _cell(choice: Choice, found: WidthAdvice, advised: AdviceResult) -> str:
    mark = f" {MARK}" if choice == found.verdict.choice else ""
    rise = choice.judged(advised.net)
    if choice.source == "measured":
        return f"{change_with_ends(rise)}{mark}"
    return f"{FORETOLD}{change_with_ends(rise)}{mark}" if math.isfinite(rise.value) else f"not known{mark}"


def cost_line(advised: AdviceResult) -> str:
    """Say how long the methods that use data take on this machine; bit widths that take as long share a place."""
    widths: dict[str, list[str]] = {}
    for bits, work in advised.work.items():
        costs = (f"{NAMES[way]} {duration(passes * advised.pace)}" for way, passes in work.items())
        widths.setdefault(" and ".join(costs), []).append(str(bits))
    said = (f"{costs} at {', '.join(bits)} bits" for costs, bits in widths.items())
    return f"one grid would take, on this machine, about {'; '.join(said)}"


def measured_table(advised: AdviceResult) -> Table:
    """Return every choice with its numbers in nats, how they are known, and the windows that they took."""
    header = ("choice", "bits per weight", "ΔL, nats per token", "less w_FT", "known by", "windows")
    rows = [
        (
            f"{found.bits} bits, {choice_name(choice)}",
            f"{choice.bits_per_weight:.3f}",
            rise_text(choice.rise),
            "–" if choice.net is None else rise_text(choice.net),
            choice.source,
            "–" if choice.windows is None else str(choice.windows),
        )
        for found in advised.advice
        for choice in found.choices
    ]
    return Table("Every way on every grid.", header, tuple(rows), frozenset({0, 4}), folded=True)
