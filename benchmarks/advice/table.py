"""Make the tables of `README.md`: the advice against the outcomes.

    python -m benchmarks.advice.table          rewrite the tables from the rows
    python -m benchmarks.advice.table --fit    print the constants of the formulas, fitted to all models

The rules of the count were declared in ``measure.py`` beforehand.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.advice.cells import HERE, LIMITS, Model, models
from benchmarks.advice.contest import CONTESTANTS, RULES, commonest, correlation
from benchmarks.advice.fit import fit, foretellable
from benchmarks.advice.goals import Goal, goals
from benchmarks.advice.scores import Decision, decisions, foretold
from benchmarks.pages import Page
from landscape.advice.ways import NAMES

PAGE = Page(HERE / "README.md")
LEVEL = 0.9
"""Level of the intervals whose coverage is counted."""


def row(cells: Iterable[object]) -> str:
    """Write a row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(names: Sequence[str]) -> Iterator[str]:
    """Yield the head of a table."""
    yield row(names)
    yield "|---" * len(names) + "|"


COUNTS = ("decisions", "right", "too cheap", "too expensive", "limit kept", "could be kept")


def counted(found: Sequence[Decision]) -> list[int]:
    """Return the numbers under ``COUNTS``."""
    cheap = sum(decision.cheap for decision in found)
    hits = sum(decision.hit for decision in found)
    kept = sum(decision.kept for decision in found)
    return [len(found), hits, cheap, len(found) - hits - cheap, kept, sum(d.could_be_kept for d in found)]


def by_limit(found: Sequence[Decision]) -> Iterator[str]:
    """Yield hits and misses by model and limit, beside those of advisers that know less."""
    yield from head(["model", "limit", *COUNTS, "always the commonest", *RULES])
    names = dict.fromkeys(decision.model.name for decision in found)
    for name in names:
        for limit in LIMITS:
            some = [d for d in found if d.model.name == name and d.limit == limit]
            others = [sum(rule(d) in d.right for d in some) for rule in RULES.values()]
            yield row([name, limit.text, *counted(some), commonest(some), *others])
    others = [sum(rule(d) in d.right for d in found) for rule in RULES.values()]
    yield row(["all", "", *counted(found), commonest(found), *others])


def by_grid(found: Sequence[Decision]) -> Iterator[str]:
    """Yield hits and misses by kind of grid."""
    yield from head(["grid", *COUNTS])
    for family in dict.fromkeys(decision.cell.family for decision in found):
        yield row([family, *counted([d for d in found if d.cell.family == family])])


PROMISES: dict[str, Callable[[Decision], object]] = {
    "measured, keeps": lambda d: d.advice.verdict.keeps and d.advice.verdict.choice.as_shipped,
    "tried on little data, should keep": lambda d: d.advice.verdict.keeps and d.advice.verdict.choice.tokens,
    "foretold, should keep": lambda d: d.advice.verdict.keeps and d.advice.verdict.choice.source == "foretold",
    "comes nearest": lambda d: not d.advice.verdict.keeps,
}
"""Kinds of verdict, by their words on the limit."""


def promises(found: Sequence[Decision]) -> Iterator[str]:
    """Yield how often the advised way kept the limit, by what was said of it."""
    yield from head(["the verdict said", "decisions", "limit kept", "could be kept"])
    for name, said in PROMISES.items():
        some = [d for d in found if said(d)]
        kept = sum(d.kept for d in some)
        share = f" ({kept / len(some):.0%})" if some else ""
        yield row([name, len(some), f"{kept}{share}", sum(d.could_be_kept for d in some)])


@dataclass(frozen=True)
class Foretelling:
    """One way in one cell, foretold and measured."""

    held: bool
    """True if the measured loss lies in the 90 % interval."""
    below: bool
    """True if it lies below the one-sided 90 % bound, by which verdicts are reached."""
    factor: float
    """The value foretold over the one measured."""


Foretold = dict[str, list[Foretelling]]
"""By way, one for each cell."""


def all_foretold(every: Sequence[Model]) -> Foretold:
    """Foretell all cells, each model by laws fitted to the others."""
    pairs: Foretold = {"GPTQ": [], "QAFT less w_FT": []}
    for model in every:
        formulas = fit([each for each in every if each is not model]).formulas
        for cell in filter(foretellable, model.cells):
            both = (foretold(model, cell, formulas, level).values() for level in (LEVEL, 2 * LEVEL - 1))
            for name, (said, true), (deciding, _) in zip(pairs, *both, strict=True):
                factor = said.value / true if true > 0 else np.inf
                pairs[name].append(Foretelling(said.low <= true <= said.high, true <= deciding.high, factor))
    return pairs


def coverage(pairs: Foretold) -> Iterator[str]:
    """Yield how often what was foretold held."""
    yield from head([
        "way", "cells", "within the 90 % interval", "below the end that decides", "median of foretold over measured",
        "within a factor 2",
    ])  # fmt: skip
    for name, found in pairs.items():
        held, below = (sum(each.held for each in found), sum(each.below for each in found))
        near = sum(0.5 <= each.factor <= 2 for each in found)
        shares = (f"{number} ({number / len(found):.0%})" for number in (held, below))
        median = statistics.median(each.factor for each in found)
        yield row([name, len(found), *shares, f"{median:.2f}", f"{near} of {len(found)}"])


def covered(pairs: Foretold) -> dict[str, float]:
    """Return the share of cells whose interval held, by way."""
    return {name: statistics.mean(each.held for each in found) for name, found in pairs.items()}


def judged(found: Iterable[Goal]) -> Iterator[str]:
    """Yield the goals."""
    yield from head(["goal", "found", ""])
    for goal in found:
        yield row([goal.text, goal.found, "met" if goal.met else "**missed**"])


def prices(found: Sequence[Decision]) -> Iterator[str]:
    """Yield the tokens of advice over those of the deed."""
    yield from head(["decisions", "number", "median tokens", "of GPTQ's calibration", "of QAFT's training"])
    opened = [d for d in found if d.open]
    closed = [d for d in found if not d.open]
    for name, some in (("all", list(found)), ("RTN decides", closed), ("a small GPTQ was made", opened)):
        if some:
            tokens = f"{statistics.median(d.tokens for d in some):,.0f}"
            shares = (statistics.median(d.of_calibration for d in some), statistics.median(d.of_training for d in some))
            yield row([name, len(some), tokens, *(f"1/{1 / share:.1f}" for share in shares)])


def contest(every: Sequence[Model]) -> Iterator[str]:
    """Yield rank correlations with M over the cells of each model."""
    yield from head(["", *(model.name for model in every)])
    for name, number in CONTESTANTS.items():
        ranked = (correlation(model, number) for model in every)
        yield row([name, *("–" if np.isnan(each) else f"{each:+.2f}" for each in ranked)])


def outcomes(found: Sequence[Decision]) -> Iterator[str]:
    """Yield every cell: what was known beforehand, what each way then gave, and the advice at ppl+5%."""
    yield from head([
        "model", "grid", "ρ", "ρ_prof", "small GPTQ", "RTN", "GPTQ", "QAFT", "w_FT", "QAFT − w_FT", "M", "advice",
        "right", "",
    ])  # fmt: skip
    for d in found:
        if d.limit == LIMITS[1]:
            model, cell = d.model, d.cell
            rho = cell.row["distance"] / model.row["radius"][0]
            prof = "–" if cell.row["rho_prof"] is None else f"{cell.row['rho_prof']:.2f}"
            small = model.gptq(cell.scheme, model.windows, 0.5).value
            after = [*cell.outcomes.values(), cell.control, cell.outcomes["qaft"] - cell.control, cell.misalignment]
            said = [NAMES[d.way], " or ".join(NAMES[way] for way in d.right), "hit" if d.hit else "**miss**"]
            yield row([model.name, cell.name, f"{rho:.2f}", prof, *(f"{x:.4f}" for x in (small, *after)), *said])


def shape(every: Sequence[Model]) -> Iterator[str]:
    """Yield the models: family, size, loss, R."""
    yield from head(["model", "family", "D", "tokens a window", "validation perplexity", "R/‖w‖", "cells"])
    for model in every:
        facts, (radius, low, high) = model.row, model.row["radius"]
        loss = sum(facts["center"]) / sum(facts["tokens"])
        said = f"{radius / model.norm:.3f} [{low / model.norm:.3f}, {high / model.norm:.3f}]"
        numbers = [f"{facts['dimension']:,}", facts["seq_len"], f"{np.exp(loss):.2f}", said, len(model.cells)]
        yield row([model.name, facts["family"], *numbers])


def tables(every: Sequence[Model]) -> dict[str, Iterable[str]]:
    """Return all tables by their names on the page."""
    several = len(every) > 1
    found = list(decisions(every, leave_out=several))
    pairs = all_foretold(every) if several else {}
    return {
        "goals": judged(goals(every, found, covered(pairs))),
        "models": shape(every),
        "limits": by_limit(found),
        "grids": by_grid(found),
        "promises": promises(found),
        "prices": prices(found),
        "coverage": coverage(pairs) if several else head(["one model: nothing to fit to"]),
        "contest": contest(every),
        "cells": outcomes(found),
    }


def main() -> None:
    """Rewrite the tables, or print the constants."""
    if sys.argv[1:] == ["--fit"]:
        found = fit(models())
        print(f"{found.cells} cells: {found.formulas}")
        return
    PAGE.write(tables(models()))


if __name__ == "__main__":
    main()
