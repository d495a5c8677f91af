"""Make the points of each method on one model, and measure their loss, distance and layer-wise error."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor

from benchmarks.rows import Row
from quant import (
    Center,
    GPTQOptions,
    QuantScheme,
    TrainingOptions,
    WeightPoint,
    distance,
    finetune,
    gptq,
    load_checkpoint,
    load_corpus,
    mean_nll,
    qaft,
    rtn,
    window_nll,
)
from quant.checkpoints.checkpoint import Checkpoint
from quant.methods.layer_error import LayerHessians, layer_errors
from quant.space import norm
from quant.statistics import grid_statistics, total


@dataclass(frozen=True)
class Budget:
    """The windows, epochs and learning rates of the comparison: the same for all rows of a file."""

    train_windows: int = 128
    train_length: int = 128
    held_out_windows: dict[str, int] = field(default_factory=lambda: {"validation": 16, "test": 32})
    held_out_length: int = 512
    layer_windows: int = 32
    """Number of test windows, as long as the training windows, for the layer-wise error."""
    epochs: int = 1
    seed: int = 0

    def rates(self, bits: int) -> tuple[float, ...]:
        """Return two learning rates for QAFT, lower ones at high precision (the paper's Appendix A)."""
        return (1e-4, 1e-3) if bits <= 3 else (1e-5, 1e-4)


@dataclass(frozen=True)
class Cell:
    """A row to measure: a method on a grid, or w and w_FT, which have none."""

    method: str
    scheme: QuantScheme | None
    rates: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """Name the row in its file."""
        rates = f" {','.join(f'{rate:g}' for rate in self.rates)}" if self.method == "w_ft" else ""
        return f"{self.method}{rates}{f' {self.scheme}' if self.scheme else ''}"


class Bench:
    """A model and its data, on which points are made and measured; each part is made when it is first needed."""

    def __init__(self, model: str, data: str, work: Path, budget: Budget) -> None:
        self.model_name, self.data, self.work, self.budget = model, data, work, budget

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Load the model."""
        return load_checkpoint(self.model_name)

    @cached_property
    def center(self) -> Center:
        """Copy the pristine weights."""
        return Center.of(self.checkpoint.model, self.checkpoint.space)

    @cached_property
    def short(self) -> dict[str, Tensor]:
        """Return the windows that calibrate and train, and test windows of the same length."""
        counts = {"train": self.budget.train_windows, "test": self.budget.layer_windows}
        return self._windows(counts, self.budget.train_length)

    @cached_property
    def held_out(self) -> dict[str, Tensor]:
        """Return the windows of the reported NLL; those of the validation split also choose QAFT's rate and epoch."""
        return self._windows(self.budget.held_out_windows, self.budget.held_out_length)

    def _windows(self, counts: dict[str, int], length: int) -> dict[str, Tensor]:
        corpus = load_corpus(self.data, self.checkpoint, length, seed=self.budget.seed)
        return {split: corpus.windows(split, count, self.budget.seed) for split, count in counts.items()}

    @cached_property
    def hessians(self) -> dict[str, LayerHessians]:
        """Collect Hessians on full-precision inputs, for GPTQ with ``inputs="fp"`` and for every layer-wise error."""
        checkpoint = self.checkpoint
        return {
            split: LayerHessians.collect(checkpoint.model, checkpoint.space, windows)
            for split, windows in self.short.items()
        }

    def rtn(self, scheme: QuantScheme) -> WeightPoint:
        """Return RTN, from which every other method starts; the last one is kept, because it takes a while."""
        if getattr(self, "_rtn", (None,))[0] != scheme:
            self._rtn = scheme, rtn(self.checkpoint.space, self.center, scheme)
        return self._rtn[1]

    def make(self, cell: Cell) -> WeightPoint | None:
        """Make the point of a row; None for w itself."""
        model, space, train = self.checkpoint.model, self.checkpoint.space, self.short["train"]
        validation, scheme = self.held_out["validation"], cell.scheme
        options = TrainingOptions(rates=cell.rates, epochs=self.budget.epochs) if cell.rates else None
        if scheme is None:
            if options is None:
                return None
            return finetune(model, space, train, validation, options, center=self.center, folder=self.work)
        start = self.rtn(scheme)
        if options is not None:
            return qaft(model, space, start, train, validation, options, center=self.center, folder=self.work)
        match cell.method:
            case "gptq":
                return gptq(model, space, start, train, center=self.center)
            case "gptq-fp":
                collected = self.hessians["train"]
                return gptq(
                    model, space, start, train, GPTQOptions(inputs="fp"), center=self.center, hessians=collected
                )
        return start

    def nll(self, point: WeightPoint | None) -> dict[str, float]:
        """Measure nats per token on the held-out splits; the model holds w again afterwards."""
        model, space = self.checkpoint.model, self.checkpoint.space
        try:
            if point is not None:
                space.write(model, point)
            return {
                split: mean_nll([window_nll(model, window) for window in windows])
                for split, windows in self.held_out.items()
            }
        finally:
            space.write(model, self.center)

    def over_rtn(self, point: WeightPoint, split: str) -> dict[str, float]:
        """Return the layer-wise squared error over that of RTN, summed over layers and as statistics of the ratios."""
        assert point.scheme is not None
        points = {"rtn": self.rtn(point.scheme), "point": point}
        errors = layer_errors(self.center, points, self.hessians[split].shared)
        ratios = [errors["point"][name] / errors["rtn"][name] for name in errors["rtn"]]
        return {
            "of_sums": sum(errors["point"].values()) / sum(errors["rtn"].values()),
            "mean_of_layers": statistics.fmean(ratios),
            "median_of_layers": statistics.median(ratios),
            "layers_below": sum(ratio < 1 for ratio in ratios) / len(ratios),
        }

    def row(self, cell: Cell) -> Row:
        """Make the point of a row and measure it."""
        begin = time.process_time()  # of all threads of this process: other work on the machine does not count
        point = self.make(cell)
        seconds = time.process_time() - begin
        row: Row = {"key": cell.key, "method": cell.method, "cpu_seconds": round(seconds, 1)}
        row["nll"] = {split: round(value, 5) for split, value in self.nll(point).items()}
        if point is not None:
            away = distance(self.checkpoint.space, self.center, point)
            row["distance"] = round(away / norm(self.checkpoint.space, self.center), 6)
        if point is None or point.scheme is None:
            return row | ({"chosen": point.provenance["chosen"]} if point else {})
        row |= {"bits": point.scheme.bits, "scale": point.scheme.scale}
        row["layer_error"] = {split: self.over_rtn(point, split) for split in ("train", "test")}
        grid = total(grid_statistics(self.checkpoint.space, self.center, point).values())
        row["weights"] = {
            "mse_over_optimum": grid.over_optimum, "zeros": grid.zero_fraction, "clipped": grid.clipped_fraction,
        }  # fmt: skip
        if cell.method.startswith("gptq"):
            row["median_damping"] = statistics.median(r["damping"] for r in point.provenance["layers"].values())
        if cell.rates:
            row["chosen"] = point.provenance["chosen"]
        return row
