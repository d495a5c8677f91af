"""Fit the constants of the formulas that foretell GPTQ and QAFT to the cells of some models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.advice.cells import Cell, Model
from landscape.advice.foretell import Formulas

LEAST = 0.01
"""ΔL of RTN, nats, below which a cell foretells nothing: GPTQ and QAFT then differ from it by noise."""


@dataclass(frozen=True)
class Fit:
    """Constants, and the number of cells that they were fitted to."""

    formulas: Formulas
    cells: int


def fit(models: Sequence[Model]) -> Fit:
    """Fit both formulas by least squares on the logarithms, GPTQ's share by its median.

    Cells in which RTN costs next to nothing, or a way ends below w, have no logarithm worth fitting.
    """
    cells = [(model, cell) for model in models for cell in model.cells if cell.outcomes["rtn"] > LEAST]
    shares = np.array([np.log(c.outcomes["gptq"] / c.outcomes["rtn"]) for _, c in cells if c.outcomes["gptq"] > 0])
    trained = [(model, cell) for model, cell in cells if cell.outcomes["qaft"] - cell.control > 0]
    rises = np.log([cell.outcomes["rtn"] for _, cell in trained])
    distances = np.log([cell.row["distance"] / model.norm for model, cell in trained])
    net = np.log([cell.outcomes["qaft"] - cell.control for _, cell in trained])
    design = np.stack([np.ones_like(rises), rises, distances], axis=1)
    found, *_ = np.linalg.lstsq(design, net, rcond=None)
    residuals = net - design @ found
    return Fit(
        Formulas(
            gptq_share=float(np.exp(np.median(shares))),
            gptq_error=float(np.sqrt(np.mean((shares - np.median(shares)) ** 2))),
            gptq_least=float(np.exp(shares.min())),
            qaft_factor=float(np.exp(found[0])),
            qaft_rise=float(found[1]),
            qaft_distance=float(found[2]),
            qaft_error=float(np.sqrt((residuals**2).sum() / max(1, len(residuals) - 3))),
        ),
        len(cells),
    )


def foretellable(cell: Cell) -> bool:
    """Return whether the intervals of a cell count in their coverage."""
    return cell.outcomes["rtn"] > LEAST
