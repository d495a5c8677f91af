"""Read the rows of a model: the evidence on each grid, and what every way then gave on the test windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row, read_rows
from landscape.advice.grids import Candidates
from landscape.advice.ways import WAYS, Way
from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.loss_limit import Limit
from quant.scheme import QuantScheme

HERE = Path(__file__).resolve().parent
LIMITS = tuple(map(Limit.parse, ("ppl+1%", "ppl+5%", "ppl+20%")))
CONFIDENCE = 0.9
LARGE = "smollm2-135m"
"""The model that is measured with smaller numbers."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cell:
    """One grid of one model."""

    model: str
    scheme: QuantScheme
    row: Row
    """The evidence; ``rho_prof`` is None where it was not measured, or not reached."""
    outcomes: Mapping[Way, float]
    """ΔL of each way on the test windows."""
    control: float
    """ΔL of w_FT on the test windows, with QAFT's budget."""

    @property
    def tried(self) -> Candidates:
        """The grid as it is asked about."""
        return Candidates(self.scheme.bits, self.scheme.granularity, (self.scheme,))

    @property
    def name(self) -> str:
        """Name for the tables: ``4 bits, channel, mse``, ``nvfp4``."""
        if self.scheme.format:
            return self.scheme.format
        return f"{self.scheme.bits} bits, {self.scheme.granularity.replace(':', ' of ')}, {self.scheme.scale}"

    @property
    def family(self) -> str:
        """Kind of grid: ``tensor``, ``channel``, ``group`` or ``float``."""
        return "float" if self.scheme.format else self.scheme.granularity.partition(":")[0]

    @property
    def misalignment(self) -> float:
        """M = [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)] on the test windows."""
        return self.outcomes["gptq"] - (self.outcomes["qaft"] - self.control)

    def right(self, limit: Limit) -> tuple[Way, ...]:
        """Return the ways that are right: the cheapest within the limit; if none is, those within it of the best."""
        kept = [way for way in WAYS if self.outcomes[way] <= limit.nats]
        if kept:
            return (kept[0],)
        best = min(self.outcomes.values())
        return tuple(way for way in WAYS if self.outcomes[way] <= best + limit.nats)


@dataclass(frozen=True, eq=False)
class Model:
    """The rows of one model, as a ``landscape.advice.adviser.Source``: windows are looked at as the adviser asks."""

    name: str
    row: Row
    cells: tuple[Cell, ...]

    @property
    def windows(self) -> int:
        """Number of validation windows."""
        return len(self.row["tokens"])

    @property
    def gptq_tokens(self) -> int:
        """Number of tokens that calibrate the small GPTQ."""
        return int(self.row["gptq_tokens"])

    @property
    def norm(self) -> float:
        """‖w‖."""
        return float(self.row["norm"])

    @property
    def chance(self) -> float:
        """ΔL of a uniform guess."""
        return float(self.row["chance"] - sum(self.row["center"]) / sum(self.row["tokens"]))

    def rtn(self, scheme: QuantScheme, windows: int, level: float) -> Estimate:
        """Estimate ΔL of RTN; see ``Source``."""
        return self._rise(self._evidence(scheme)["rtn"], windows, level)

    def gptq(self, scheme: QuantScheme, windows: int, level: float) -> Estimate:
        """Estimate ΔL of the small GPTQ; see ``Source``."""
        return self._rise(self._evidence(scheme)["gptq_small"], windows, level)

    def untrainable(self) -> str | None:
        """Say that w_FT was trained; see ``Source``."""
        return None

    def control(self, windows: int, level: float) -> Estimate:
        """Estimate ΔL of w_FT after a short training; see ``Source``."""
        return self._rise(self.row["w_ft"], windows, level)

    def distance(self, scheme: QuantScheme) -> float:
        """Return ‖Δw‖."""
        return float(self._evidence(scheme)["distance"])

    def bits_per_weight(self, scheme: QuantScheme) -> float:
        """Return the bits of a weight, with scales."""
        return float(self._evidence(scheme)["bits_per_weight"])

    def _evidence(self, scheme: QuantScheme) -> Row:
        return next(cell.row for cell in self.cells if cell.scheme == scheme)

    def _rise(self, totals: list[float], windows: int, level: float) -> Estimate:
        some = slice(windows)
        articles = self.row["articles"][some]
        blocks = None if None in articles else np.array(articles)
        reached, center, tokens = (np.array(each[some]) for each in (totals, self.row["center"], self.row["tokens"]))
        return paired_difference(reached, center, tokens, level, blocks)


def models() -> list[Model]:
    """Read all models that have rows."""
    return [model for file in sorted(HERE.glob("*.jsonl")) if (model := read_model(file)).cells]


def read_model(file: Path) -> Model:
    """Read one model; only cells with both evidence and outcomes are in it."""
    rows = read_rows(file)
    by_kind: dict[str, dict[str, Row]] = {"model": {}, "evidence": {}, "geometry": {}, "outcome": {}}
    for row in rows:
        by_kind[row["kind"]][str(row["key"])] = row
    return Model(file.stem, next(iter(by_kind["model"].values())), tuple(_cells(file.stem, by_kind)))


def _cells(model: str, rows: Mapping[str, Mapping[str, Row]]) -> Iterator[Cell]:
    for key, row in rows["evidence"].items():
        if key in rows["outcome"]:
            after, w = rows["outcome"][key], rows["outcome"]["w"]["w"]
            outcomes: dict[Way, float] = {way: after[way] - w for way in WAYS}
            known = {"rho_prof": None, **row, **rows["geometry"].get(key, {})}
            yield Cell(model, QuantScheme.of_grid(row["key"][0], row["grid"]), known, outcomes, after["w_ft"] - w)
