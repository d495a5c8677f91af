"""Rank numbers that are known beforehand by how well they order the cells by their misalignment M."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy import stats

from benchmarks.advice.cells import Cell

CONTESTANTS: dict[str, Callable[[Cell], float]] = {
    "ρ": lambda c: c.evidence.rho.value if c.evidence.rho else np.nan,
    "ρ_prof": lambda c: c.evidence.rho_prof.value if c.evidence.rho_prof else np.nan,
    "ρ_shrink": lambda c: c.rho_shrink,
    "ρ_Δ": lambda c: c.evidence.rho_along.value if c.evidence.rho_along else np.nan,
    "squared error of the weights": lambda c: c.weight_error,
    "ΔL of RTN": lambda c: c.evidence.rise.value,
    "bits (fewer is worse)": lambda c: -c.bits,
}


def rank(correlation: float) -> str:
    """Format a correlation, or a dash if there is none."""
    return "–" if np.isnan(correlation) else f"{correlation:+.2f}"


def in_order(found: list[Cell], number: Callable[[Cell], float]) -> str:
    """Count the pairs within a bit width that the number puts in the order of M: clear even with two scales a width."""
    pairs = [(a, b) for a, b in combinations(found, 2) if a.bits == b.bits and number(a) != number(b)]
    right = sum((number(a) < number(b)) == (a.misalignment < b.misalignment) for a, b in pairs)
    return f"{right} of {len(pairs)}" if pairs else "–"


def within_bits(found: list[Cell], number: Callable[[Cell], float]) -> float:
    """Average over bit widths the rank correlation over scales; NaN where the number is the same for all."""
    groups = [[cell for cell in found if cell.bits == bits] for bits in dict.fromkeys(cell.bits for cell in found)]
    return float(np.mean([correlation(group, number) for group in groups if len(group) > 1]))


def correlation(found: list[Cell], number: Callable[[Cell], float]) -> float:
    """Compute Spearman's rank correlation with M; NaN if the number is the same for all."""
    values, target = [number(cell) for cell in found], [cell.misalignment for cell in found]
    if len(set(values)) < 2 or len(set(target)) < 2:
        return float("nan")
    return float(stats.spearmanr(values, target).statistic)
