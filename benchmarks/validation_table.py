"""Hold the advice against what came of it, and write the tables of `landscape/VALIDATION.md`.

    python benchmarks/validation_table.py          rewrite the tables from the rows that are there
    python benchmarks/validation_table.py --fit    the thresholds with the most hits on opt-nano

What is counted, and how, was declared in ``validate_advice.py``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from pages import Page
from scipy import stats

from landscape.advice.rules import RECOMMENDATIONS, RESCUE, RIM, WORTH_CHANGING, Evidence, Recommendation, decide, rules
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from quant.scheme import QuantScheme

HERE = Path(__file__).resolve().parent
PAGE = Page(HERE.parent / "landscape" / "VALIDATION.md")
MODELS = ("opt-nano", "smollm2-135m")
LIMITS = tuple(map(Limit.parse, ("ppl+1%", "ppl+5%", "ppl+20%")))
GUESSED = (5.0, 1.0)
"""RESCUE and RIM before anything was measured."""
TRIED = tuple(float(2.0 ** (k / 4)) for k in range(-16, 33))
"""Thresholds to choose from: a sixteenth to 256."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One grid: what was known beforehand, and what came of it."""

    bits: int
    scale: str
    evidence: Evidence
    rho_shrink: float
    weight_error: float
    """‖Δw‖²/‖w‖², the squared error of the weights."""
    ways: Mapping[Recommendation, float]
    """ΔL of each way on the test split; QAFT's less its control's."""
    control: float
    """ΔL of w_FT on the test split."""

    @property
    def misalignment(self) -> float:
        """M on the test split: [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)]."""
        return self.ways["gptq"] - self.ways["qaft"]

    @property
    def name(self) -> str:
        """``int4 exact``."""
        return f"int{self.bits} {self.scale}"


def cells(model: str) -> list[Cell]:
    """The cells of a model whose evidence and outcomes are both there."""
    outcomes = {row["key"]: row for row in rows(HERE / f"comparison-{model}.jsonl")}
    return [cell for row in rows(HERE / f"advice-{model}.jsonl") if (cell := _cell(row, outcomes)) is not None]


def rows(file: Path) -> list[Row]:
    """The lines of a file, none if it is not there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _cell(row: Row, outcomes: Mapping[str, Row]) -> Cell | None:
    scheme = QuantScheme(row["bits"], row["scale"])
    rates = "0.0001,0.001" if scheme.bits <= 3 else "1e-05,0.0001"
    keys = ["w", f"gptq {scheme}", f"qaft {scheme}", f"w_ft {rates}"]
    if not outcomes.keys() >= set(keys):
        return None
    w, gptq, qaft, control = (outcomes[key]["nll"]["test"] for key in keys)
    evidence = _evidence(row, scheme)
    best = list(evidence.others).index(evidence.best_other)
    ways: dict[Recommendation, float] = {
        "rtn": row["test"]["rtn"], "grid": row["test"]["others"][best], "gptq": gptq - w, "qaft": qaft - control,
    }  # fmt: skip
    shrink = row["rho_shrink"][0] if row["rho_shrink"] else np.nan
    return Cell(scheme.bits, scheme.scale, evidence, shrink, row["distance"] ** 2, ways, control - w)


def _evidence(row: Row, scheme: QuantScheme) -> Evidence:
    def estimate(numbers: list[float] | None) -> Estimate | None:
        return None if numbers is None else Estimate(*numbers)

    return Evidence(
        scheme=scheme,
        distance=row["distance"],
        rise=Estimate(*row["rise"]),
        unclipped=Estimate(*row["unclipped"]),
        remaining=estimate(row["remaining"]),
        clipped=row["clipped"],
        others={QuantScheme(**other["scheme"]): Estimate(*other["rise"]) for other in row["others"]},
        over_here=estimate(row["over_here"]),
        rho=estimate(row["rho"]),
        rho_prof=estimate(row["rho_prof"]),
        rho_along=estimate(row["rho_along"]),
    )


def right(ways: Mapping[Recommendation, float], limit: Limit) -> Recommendation:
    """The first way within the limit; if there is none, the first within the limit of the least loss of them all."""
    least = min(ways.values())
    most = limit.nats if least <= limit.nats else least + limit.nats
    return next(way for way in RECOMMENDATIONS if ways[way] <= most)


def hits(
    found: list[Cell],
    rescue: float = RESCUE,
    rim: float = RIM,
    worth: float = WORTH_CHANGING,
    limits: Iterable[Limit] = LIMITS,
) -> int:
    """How many pieces of advice were right."""
    tried = rules(rescue, rim, worth)
    return sum(decide(c.evidence, limit, tried).verdict == right(c.ways, limit) for c, limit in product(found, limits))


def fit(found: list[Cell]) -> tuple[float, float, int]:
    """The thresholds with the most hits, and how many these are; of equals the nearest to the first guesses."""

    def quality(pair: tuple[float, float]) -> tuple[int, float]:
        return hits(found, *pair), -float(np.abs(np.log(np.divide(pair, GUESSED))).sum())

    best = max(product(TRIED, TRIED), key=quality)
    return *best, hits(found, *best)


def verdicts(found: list[Cell]) -> Iterator[str]:
    """The advice of every cell for the limit in the middle, the numbers that it was given on, and what was right."""
    limit = LIMITS[1]
    heads = ["grid", "ΔL RTN", "without clipping", "another grid", "ρ_prof", "advice", "also possible", "right", ""]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for cell in found:
        advice, true = decide(cell.evidence, limit), right(cell.ways, limit)
        e = cell.evidence
        rho = "not reached" if e.rho_prof is None else f"{e.rho_prof.value:.3f}"
        before = [f"{e.rise.value:.4f}", f"{e.unclipped.value:.4f}", f"{e.others[e.best_other].value:.4f}", rho]
        said = [advice.verdict, ", ".join(advice.possible)]
        yield f"| {' | '.join([cell.name, *before, *said, true, verdict_word(advice.verdict, true)])} |"


def outcomes(found: list[Cell]) -> Iterator[str]:
    """What every way gave in every cell."""
    heads = ["grid", "RTN", "RTN, other grid", "GPTQ", "QAFT", "w_FT", "QAFT − w_FT", "M"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for cell in found:
        ways = cell.ways
        after = [ways["rtn"], ways["grid"], ways["gptq"], ways["qaft"] + cell.control, cell.control, ways["qaft"]]
        yield f"| {' | '.join([cell.name, *(f'{value:.4f}' for value in (*after, cell.misalignment))])} |"


def verdict_word(advised: Recommendation, true: Recommendation) -> str:
    """Hit, or which way it missed."""
    if advised == true:
        return "hit"
    return "**miss, cheap**" if RECOMMENDATIONS.index(advised) < RECOMMENDATIONS.index(true) else "**miss, dear**"


def counts(found: Mapping[str, list[Cell]]) -> Iterator[str]:
    """Hits by model and limit, beside the same rules without their thresholds and advisers that look at less."""
    heads = ["model", "limit", "cells", "hits", "cheap", "dear", "limit kept", "could be kept"]
    heads += ["without ρ_prof", "without the bound on ΔL", "without both", "any better grid", "only the others"]
    heads += ["always the commonest", "ΔL of RTN alone", "paper's ρ < 1"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for (model, of_model), limit in product(found.items(), LIMITS):
        words = [verdict_word(decide(c.evidence, limit).verdict, right(c.ways, limit)) for c in of_model]
        true = [right(cell.ways, limit) for cell in of_model]
        if not true:
            continue
        commonest = max(true.count(way) for way in RECOMMENDATIONS)
        by_rise = sum(by_rise_alone(c.evidence, limit) == t for c, t in zip(of_model, true, strict=True))
        by_rho = sum(by_rho_alone(c.evidence, limit) == t for c, t in zip(of_model, true, strict=True))
        numbers = [len(true), words.count("hit"), *(words.count(f"**miss, {w}**") for w in ("cheap", "dear"))]
        numbers += [sum(kept(c, decide(c.evidence, limit).verdict, limit) for c in of_model)]
        numbers += [sum(any(kept(c, way, limit) for way in RECOMMENDATIONS) for c in of_model)]
        weaker = ((RESCUE, np.inf), (np.inf, RIM), (np.inf, np.inf), (RESCUE, RIM, 1.0), (np.inf, np.inf, 1.0))
        numbers += [hits(of_model, *thresholds, limits=(limit,)) for thresholds in weaker]
        yield f"| {model} | {limit.text} | {' | '.join(map(str, [*numbers, commonest, by_rise, by_rho]))} |"


def kept(cell: Cell, way: Recommendation, limit: Limit) -> bool:
    """Whether a way was within the limit on the test split."""
    return cell.ways[way] <= limit.nats


def by_rise_alone(evidence: Evidence, limit: Limit) -> Recommendation:
    """RTN within the limit, GPTQ within RESCUE limits, else QAFT."""
    if evidence.rise.value <= limit.nats:
        return "rtn"
    return "gptq" if evidence.rise.value <= RESCUE * limit.nats else "qaft"


def by_rho_alone(evidence: Evidence, limit: Limit) -> Recommendation:
    """The paper's picture: RTN within the limit, GPTQ inside the basin, QAFT outside."""
    if evidence.rise.value <= limit.nats:
        return "rtn"
    return "gptq" if evidence.rho is not None and evidence.rho.value < 1 else "qaft"


CONTESTANTS: dict[str, Callable[[Cell], float]] = {
    "ρ": lambda c: c.evidence.rho.value if c.evidence.rho else np.nan,
    "ρ_prof": lambda c: c.evidence.rho_prof.value if c.evidence.rho_prof else np.nan,
    "ρ_shrink": lambda c: c.rho_shrink,
    "ρ_Δ": lambda c: c.evidence.rho_along.value if c.evidence.rho_along else np.nan,
    "squared error of the weights": lambda c: c.weight_error,
    "ΔL of RTN": lambda c: c.evidence.rise.value,
    "bits (fewer is worse)": lambda c: -c.bits,
}


def contest(found: Mapping[str, list[Cell]]) -> Iterator[str]:
    """Rank correlations with M: within bit widths, and over all cells; and how many pairs within are in its order."""
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


def rank(correlation: float) -> str:
    """A correlation, or that there is none."""
    return "–" if np.isnan(correlation) else f"{correlation:+.2f}"


def in_order(found: list[Cell], number: Callable[[Cell], float]) -> str:
    """How many pairs of one bit width the number puts in the order of M: readable where a width has two scales."""
    pairs = [(a, b) for a, b in combinations(found, 2) if a.bits == b.bits and number(a) != number(b)]
    right = sum((number(a) < number(b)) == (a.misalignment < b.misalignment) for a, b in pairs)
    return f"{right} of {len(pairs)}" if pairs else "–"


def within_bits(found: list[Cell], number: Callable[[Cell], float]) -> float:
    """The mean over bit widths of the rank correlation over scales; NaN where the number is the same for all."""
    groups = [[cell for cell in found if cell.bits == bits] for bits in dict.fromkeys(cell.bits for cell in found)]
    return float(np.mean([correlation(group, number) for group in groups if len(group) > 1]))


def correlation(found: list[Cell], number: Callable[[Cell], float]) -> float:
    """Spearman's, with M; NaN if the number is the same for all."""
    values, target = [number(cell) for cell in found], [cell.misalignment for cell in found]
    if len(set(values)) < 2 or len(set(target)) < 2:
        return float("nan")
    return float(stats.spearmanr(values, target).statistic)


def tables(found: Mapping[str, list[Cell]]) -> dict[str, Iterator[str]]:
    """All tables by their names on the page."""
    before = {model: verdicts(of_model) for model, of_model in found.items()}
    after = {f"{model}-outcomes": outcomes(of_model) for model, of_model in found.items()}
    return {"counts": counts(found), "contest": contest(found), **before, **after}


def rewrite() -> None:
    """Put the rows that are there into the page."""
    PAGE.write(tables({model: cells(model) for model in MODELS}))


def main() -> None:
    """Rewrite the tables, or fit."""
    if sys.argv[1:] == ["--fit"]:
        fitted = cells("opt-nano")
        rescue, rim, count = fit(fitted)
        total = len(fitted) * len(LIMITS)
        print(f"RESCUE {rescue:.4g}, RIM {rim:.4g}: {count} of {total} hits; as they are {hits(fitted)}")
        return
    rewrite()


if __name__ == "__main__":
    main()
