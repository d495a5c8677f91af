"""Put the evidence on each grid beside the outcomes: what was known beforehand, and what each option then gave.

An option is one of the four recommendations: RTN, RTN on another grid, GPTQ or QAFT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, read_rows
from landscape.advice.rules import RECOMMENDATIONS, Evidence, Recommendation
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from quant.grid import QuantScheme

HERE = Path(__file__).resolve().parent
MODELS = ("opt-nano", "smollm2-135m")
LIMITS = tuple(map(Limit.parse, ("ppl+1%", "ppl+5%", "ppl+20%")))


@dataclass(frozen=True)
class Cell:
    """The evidence and the outcomes of one grid."""

    bits: int
    scale: str
    evidence: Evidence
    rho_shrink: float
    weight_error: float
    """‖Δw‖²/‖w‖², the squared error of the weights."""
    options: Mapping[Recommendation, float]
    """ΔL of each option on the test split; for QAFT less that of its control."""
    control: float
    """ΔL of w_FT on the test split."""

    @property
    def misalignment(self) -> float:
        """Compute M = [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)] on the test split."""
        return self.options["gptq"] - self.options["qaft"]

    @property
    def name(self) -> str:
        """Name the grid, as in ``int4 exact``."""
        return f"int{self.bits} {self.scale}"


def cells(model: str) -> list[Cell]:
    """Return the cells of a model for which both evidence and outcomes are measured."""
    outcomes = {row["key"]: row for row in read_rows(HERE.parent / "methods" / f"{model}.jsonl")}
    return [cell for row in read_rows(HERE / f"{model}.jsonl") if (cell := _cell(row, outcomes)) is not None]


def _cell(row: Row, outcomes: Mapping[str, Row]) -> Cell | None:
    scheme = QuantScheme(row["bits"], row["scale"])
    rates = "0.0001,0.001" if scheme.bits <= 3 else "1e-05,0.0001"
    keys = ["w", f"gptq {scheme}", f"qaft {scheme}", f"w_ft {rates}"]
    if not outcomes.keys() >= set(keys):
        return None
    w, gptq, qaft, control = (outcomes[key]["nll"]["test"] for key in keys)
    evidence = _evidence(row, scheme)
    best = list(evidence.others).index(evidence.best_other)
    options: dict[Recommendation, float] = {
        "rtn": row["test"]["rtn"], "grid": row["test"]["others"][best], "gptq": gptq - w, "qaft": qaft - control,
    }  # fmt: skip
    shrink = row["rho_shrink"][0] if row["rho_shrink"] else np.nan
    return Cell(scheme.bits, scheme.scale, evidence, shrink, row["distance"] ** 2, options, control - w)


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


def right(options: Mapping[Recommendation, float], limit: Limit) -> Recommendation:
    """Return the first option within the limit; if none is, the first within the limit of the least loss of all."""
    least = min(options.values())
    most = limit.nats if least <= limit.nats else least + limit.nats
    return next(option for option in RECOMMENDATIONS if options[option] <= most)
