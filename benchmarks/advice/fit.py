"""Fit the constants of the formulas that foretell GPTQ and QAFT to the cells of some models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.advice.cells import Array, Cell, Model
from landscape.advice.foretell import Formulas, PowerLaw

LEAST = 0.01
"""ΔL of RTN, nats, below which a cell foretells nothing: GPTQ and QAFT then differ from it by noise."""


@dataclass(frozen=True)
class Fit:
    """Laws, and the number of cells that they were fitted to."""

    formulas: Formulas
    cells: int


def fit(models: Sequence[Model]) -> Fit:
    """Fit both laws by least squares on the logarithms.

    Cells in which RTN costs next to nothing, or a way ends below w, have no logarithm worth fitting.
    """
    cells = [cell for model in models for cell in model.cells if foretellable(cell)]
    rtn = np.array([cell.outcomes["rtn"] for cell in cells])
    gptq = np.array([cell.outcomes["gptq"] for cell in cells])
    net = np.array([cell.outcomes["qaft"] - cell.control for cell in cells])
    return Fit(Formulas(fit_law(rtn, gptq), fit_law(rtn, net)), len(cells))


def fit_law(rtn: Array, reached: Array) -> PowerLaw:
    """Fit a power law of RTN's ΔL to those losses of a way that are above that of w."""
    x, y = (np.log(each[reached > 0]) for each in (rtn, reached))
    found = stats.linregress(x, y)
    residuals = y - (found.intercept + found.slope * x)
    error = np.sqrt((residuals**2).sum() / max(1, len(y) - 2))
    return PowerLaw(
        float(np.exp(found.intercept)),
        float(found.slope),
        error=float(error),
        least=float(np.exp(residuals.min())),
        most=float(np.exp(x.max())),
    )


def foretellable(cell: Cell) -> bool:
    """Return whether the intervals of a cell count in their coverage."""
    return cell.outcomes["rtn"] > LEAST
