"""Make the tables of `README.md`: the advice against the outcomes.

    python -m benchmarks.advice.table          rewrite the tables from the rows of this page and of the methods' page
    python -m benchmarks.advice.table --fit    print the thresholds with the most hits on opt-nano

The rules of the count were declared in ``measure.py`` beforehand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from benchmarks.advice.cells import HERE, LIMITS, MODELS, Cell, cells, right
from benchmarks.advice.contest import CONTESTANTS, correlation, in_order, rank, within_bits
from benchmarks.advice.scores import by_rho_alone, by_rise_alone, fit, hits, kept, verdict_word
from benchmarks.pages import Page
from landscape.advice.rules import RECOMMENDATIONS, RESCUE, RIM, decide
from landscape.estimators.loss_limit import Limit

PAGE = Page(HERE / "README.md")


def verdicts(found: list[Cell]) -> Iterator[str]:
    """Yield the lines of the advice of every cell for the middle limit: its numbers, and the right option."""
    limit = LIMITS[1]
    heads = ["grid", "ΔL RTN", "without clipping", "another grid", "ρ_prof", "advice", "also possible", "right", ""]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for cell in found:
        advice, true = decide(cell.evidence, limit), right(cell.options, limit)
        e = cell.evidence
        rho = "not reached" if e.rho_prof is None else f"{e.rho_prof.value:.3f}"
        before = [f"{e.rise.value:.4f}", f"{e.unclipped.value:.4f}", f"{e.others[e.best_other].value:.4f}", rho]
        said = [advice.verdict, ", ".join(advice.possible)]
        yield f"| {' | '.join([cell.name, *before, *said, true, verdict_word(advice.verdict, true)])} |"


def outcomes(found: list[Cell]) -> Iterator[str]:
    """Yield the lines of the outcomes: ΔL of every option in every cell."""
    heads = ["grid", "RTN", "RTN, other grid", "GPTQ", "QAFT", "w_FT", "QAFT − w_FT", "M"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for cell in found:
        rtn, grid, gptq, qaft = (cell.options[option] for option in RECOMMENDATIONS)
        after = [rtn, grid, gptq, qaft + cell.control, cell.control, qaft]
        yield f"| {' | '.join([cell.name, *(f'{value:.4f}' for value in (*after, cell.misalignment))])} |"


COUNTS = (
    *("hits", "too cheap", "too expensive", "limit kept", "could be kept"),
    *("without ρ_prof", "without the bound on ΔL", "without both", "any better grid", "any better grid, without both"),
    *("always the most common", "ΔL of RTN alone", "paper's ρ < 1"),
)
WEAKER = ((RESCUE, np.inf), (np.inf, RIM), (np.inf, np.inf), (RESCUE, RIM, 1.0), (np.inf, np.inf, 1.0))
"""Thresholds of the advisers that know less, in the order of their columns."""


def counts(found: Mapping[str, list[Cell]]) -> Iterator[str]:
    """Yield the lines of hits by model and limit, beside those of advisers that know less."""
    heads = ["model", "limit", "cells", *COUNTS]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for (model, of_model), limit in product(found.items(), LIMITS):
        if of_model:
            cells_and_counts = [len(of_model), *_counted(of_model, limit)]
            yield f"| {model} | {limit.text} | {' | '.join(map(str, cells_and_counts))} |"


def _counted(found: list[Cell], limit: Limit) -> Iterator[int]:
    """Yield the numbers under COUNTS."""
    advised = [decide(cell.evidence, limit).verdict for cell in found]
    true = [right(cell.options, limit) for cell in found]
    words = [verdict_word(*pair) for pair in zip(advised, true, strict=True)]
    yield from (words.count(word) for word in ("hit", "**miss, too cheap**", "**miss, too expensive**"))
    yield sum(kept(cell, option, limit) for cell, option in zip(found, advised, strict=True))
    yield sum(any(kept(cell, option, limit) for option in RECOMMENDATIONS) for cell in found)
    yield from (hits(found, *thresholds, limits=(limit,)) for thresholds in WEAKER)
    yield max(true.count(option) for option in RECOMMENDATIONS)
    for adviser in (by_rise_alone, by_rho_alone):
        yield sum(adviser(cell.evidence, limit) == option for cell, option in zip(found, true, strict=True))


def contest(found: Mapping[str, list[Cell]]) -> Iterator[str]:
    """Yield the lines of rank correlations with M, within bit widths and over all cells, and of pairs in its order."""
    known = {model: of_model for model, of_model in found.items() if len(of_model) > 2}
    heads = [f"{model}, {what}" for model in known for what in ("within bit widths", "pairs in order", "all cells")]
    yield f"| | {' | '.join(heads)} |"
    yield "|---|" + "---|" * len(heads)
    for name, number in CONTESTANTS.items():
        row = []
        for of_model in known.values():
            within, over_all = within_bits(of_model, number), correlation(of_model, number)
            row += [rank(within), in_order(of_model, number), rank(over_all)]
        yield f"| {name} | {' | '.join(row)} |"


def tables(found: Mapping[str, list[Cell]]) -> dict[str, Iterator[str]]:
    """Return all tables by their names on the page."""
    before = {model: verdicts(of_model) for model, of_model in found.items()}
    after = {f"{model}-outcomes": outcomes(of_model) for model, of_model in found.items()}
    return {"counts": counts(found), "contest": contest(found), **before, **after}


def rewrite() -> None:
    """Rewrite the tables of the page from the rows that are measured."""
    PAGE.write(tables({model: cells(model) for model in MODELS}))


def main() -> None:
    """Rewrite the tables, or fit the thresholds."""
    if sys.argv[1:] == ["--fit"]:
        fitted = cells("opt-nano")
        rescue, rim, count = fit(fitted)
        total = len(fitted) * len(LIMITS)
        print(f"RESCUE {rescue:.4g}, RIM {rim:.4g}: {count} of {total} hits; as they are {hits(fitted)}")
        return
    rewrite()


if __name__ == "__main__":
    main()
