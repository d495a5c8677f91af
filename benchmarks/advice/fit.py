"""Fit the constants of the formulas that foretell GPTQ and QAFT to the cells of some models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

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
    known = [(i, cell) for i, model in enumerate(models) for cell in model.cells if foretellable(cell)]
    cells = [cell for _, cell in known]
    rtn = np.array([cell.outcomes["rtn"] for cell in cells])
    gptq = np.array([cell.outcomes["gptq"] for cell in cells])
    net = np.array([cell.outcomes["qaft"] - cell.control for cell in cells])
    of = np.array([i for i, _ in known])
    return Fit(Formulas(fit_law(rtn, gptq, of), fit_law(rtn, net, of)), len(cells))


def fit_law(rtn: Array, reached: Array, of: NDArray[np.int_]) -> PowerLaw:
    """Fit a power law of RTN's ΔL to those losses of a way that are above that of w.

    Its error is that of what the adviser foretells, which is RTN's own loss where the law says more. It is the error on
    models that had no part in the fit, since a user's model has none; of one model, that of the fit itself.

    Args:
        rtn: ΔL of RTN, nats.
        reached: ΔL of the way.
        of: Number of the model of each.
    """
    kept = reached > 0
    x, y, of = np.log(rtn[kept]), np.log(reached[kept]), of[kept]
    line, residuals = _line(x, y), np.empty_like(y)
    for model in set(of.tolist()):
        own = of == model
        other = line if own.all() else _line(x[~own], y[~own])
        residuals[own] = y[own] - np.minimum(x[own], other(x[own]))
    chosen = 2 if own.all() else 0  # numbers that a fit to the very same cells has chosen
    return PowerLaw(
        float(np.exp(line(0.0))),
        float(line.coef[1]),
        error=float(np.sqrt((residuals**2).sum() / max(1, len(y) - chosen))),
        least=float(np.exp((y - np.minimum(x, line(x))).min())),
        most=float(np.exp(x.max())),
    )


def _line(x: Array, y: Array) -> Polynomial:
    """Return the line of least squares."""
    return Polynomial.fit(x, y, 1).convert()


def foretellable(cell: Cell) -> bool:
    """Return whether the intervals of a cell count in their coverage."""
    return cell.outcomes["rtn"] > LEAST
