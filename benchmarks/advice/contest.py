"""Hold the advice against advisers that know less, and rank numbers that might foretell the misalignment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from benchmarks.advice.cells import Cell, Model
from benchmarks.advice.scores import Decision
from landscape.advice.ways import Way

GPTQ_SHARE = 0.73
"""Share of RTN's ΔL that GPTQ left in the median of a pilot over 38 cells, most of them per tensor."""
Rule = Callable[[Decision], Way]


def by_rise(decision: Decision) -> Way:
    """Advise by ΔL of RTN alone: RTN within the limit, GPTQ where it may bring it within, else QAFT."""
    rise = _rtn(decision)
    if rise <= decision.limit.nats:
        return "rtn"
    return "gptq" if rise <= decision.limit.nats / GPTQ_SHARE else "qaft"


def by_bits(decision: Decision) -> Way:
    """Advise by the bit width alone: RTN at 8, GPTQ at 4, QAFT below."""
    return "rtn" if decision.cell.scheme.bits >= 6 else "gptq" if decision.cell.scheme.bits >= 4 else "qaft"


def by_rho(decision: Decision) -> Way:
    """Advise as the paper does: RTN within the limit, GPTQ inside the basin, QAFT outside."""
    return _by_ratio(decision, decision.cell.row["distance"] / decision.model.row["radius"][0])


def by_rho_prof(decision: Decision) -> Way:
    """Advise in the same way, by R along directions that move each matrix as far as rounding does."""
    return _by_ratio(decision, decision.cell.row["rho_prof"])


def _by_ratio(decision: Decision, rho: float | None) -> Way:
    if _rtn(decision) <= decision.limit.nats:
        return "rtn"
    return "gptq" if rho is not None and rho < 1 else "qaft"


def _rtn(decision: Decision) -> float:
    """Return ΔL of RTN on all validation windows."""
    return decision.model.rtn(decision.cell.scheme, decision.model.windows, 0.5).value


RULES: dict[str, Rule] = {
    "ΔL of RTN alone": by_rise,
    "bits alone": by_bits,
    "the paper's ρ < 1": by_rho,
    "ρ_prof < 1": by_rho_prof,
}


def commonest(decisions: Sequence[Decision]) -> int:
    """Count the hits of an adviser that always names the way that is most often right."""
    counts = Counter(way for decision in decisions for way in decision.right)
    return max(counts.values(), default=0)


CONTESTANTS: dict[str, Callable[[Model, Cell], float]] = {
    "ρ": lambda model, cell: cell.row["distance"] / model.row["radius"][0],
    "ρ_prof": lambda model, cell: cell.row["rho_prof"] or np.nan,
    "ΔL of RTN": lambda model, cell: cell.outcomes["rtn"],
    "squared error of the weights": lambda model, cell: (cell.row["distance"] / model.norm) ** 2,
    "bits (fewer is worse)": lambda model, cell: -cell.scheme.bits,
}
"""Numbers that are ranked by how well they order the cells by M."""


def correlation(model: Model, number: Callable[[Model, Cell], float]) -> float:
    """Compute Spearman's rank correlation with M over the cells of a model; NaN where all numbers are the same."""
    values = [number(model, cell) for cell in model.cells]
    target = [cell.misalignment for cell in model.cells]
    if len(set(values)) < 2 or len(set(target)) < 2:
        return float("nan")
    return float(stats.spearmanr(values, target, nan_policy="omit").statistic)
