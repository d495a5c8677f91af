"""Compare the methods on a real model: one row per point, kept as soon as it is measured, and a table of them all.

    python -m benchmarks.methods.measure --model smollm2-135m --data path/to/wikitext-2

An interrupted run goes on with the first row that is missing; two runs of different bit widths or methods can share the
work. The rows are in ``benchmarks/methods/<model>.jsonl``;
``benchmarks/methods/table.py`` makes the table and the claims in ``quant/README.md`` of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from quant.hashing import token_hash
from quant.methods.layer_error import LayerHessians, layer_errors
from quant.space import norm
from quant.statistics import grid_statistics, total

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Budget:
    """What the comparison spends; part of every row."""

    train_windows: int = 128
    train_length: int = 128
    held_out_windows: dict[str, int] = field(default_factory=lambda: {"validation": 16, "test": 32})
    held_out_length: int = 512
    layer_windows: int = 32
    """Test windows, of the training length, for the layer-wise error."""
    epochs: int = 1
    seed: int = 0

    def rates(self, bits: int) -> tuple[float, ...]:
        """Two learning rates for QAFT: low ones for high precision (the paper's Appendix A)."""
        return (1e-4, 1e-3) if bits <= 3 else (1e-5, 1e-4)


@dataclass(frozen=True)
class Cell:
    """A row to measure."""

    method: str
    scheme: QuantScheme | None
    rates: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """Its name in the file."""
        rates = f" {','.join(f'{rate:g}' for rate in self.rates)}" if self.method == "w_ft" else ""
        return f"{self.method}{rates}{f' {self.scheme}' if self.scheme else ''}"


class Bench:
    """The model and the data, each thing made when first asked for."""

    def __init__(self, model: str, data: str, work: Path, budget: Budget) -> None:
        self.model_name, self.data, self.work, self.budget = model, data, work, budget

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The model."""
        return load_checkpoint(self.model_name)

    @cached_property
    def center(self) -> Center:
        """The pristine copy of its weights."""
        return Center.of(self.checkpoint.model, self.checkpoint.space)

    @cached_property
    def short(self) -> dict[str, Tensor]:
        """Windows of the training length: all that calibrates and trains, and some of the test split."""
        counts = {"train": self.budget.train_windows, "test": self.budget.layer_windows}
        return self._windows(counts, self.budget.train_length)

    @cached_property
    def held_out(self) -> dict[str, Tensor]:
        """Windows that the NLL is reported on; those of the validation split also choose QAFT's rate and epoch."""
        return self._windows(self.budget.held_out_windows, self.budget.held_out_length)

    def _windows(self, counts: dict[str, int], length: int) -> dict[str, Tensor]:
        corpus = load_corpus(self.data, self.checkpoint, length, seed=self.budget.seed)
        return {split: corpus.windows(split, count, self.budget.seed) for split, count in counts.items()}

    @cached_property
    def hessians(self) -> dict[str, LayerHessians]:
        """On full-precision inputs: for GPTQ with ``inputs="fp"``, and for every layer-wise error."""
        checkpoint = self.checkpoint
        return {
            split: LayerHessians.collect(checkpoint.model, checkpoint.space, windows)
            for split, windows in self.short.items()
        }

    def rtn(self, scheme: QuantScheme) -> WeightPoint:
        """The start of every other method; the last one is kept, for it takes a while."""
        if getattr(self, "_rtn", (None,))[0] != scheme:
            self._rtn = scheme, rtn(self.checkpoint.space, self.center, scheme)
        return self._rtn[1]

    def make(self, cell: Cell) -> WeightPoint | None:
        """The point of a row; None for w itself."""
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
        """Nats per token on the held-out splits."""
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
        """Layer-wise squared error over that of RTN: of all layers together, and of single ones."""
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

    def row(self, cell: Cell) -> dict[str, Any]:
        """Make the point of a row and measure it."""
        begin = time.process_time()  # of all threads: what other work on the machine takes is not in it
        point = self.make(cell)
        seconds = time.process_time() - begin
        row: dict[str, Any] = {"key": cell.key, "method": cell.method, "cpu_seconds": round(seconds, 1)}
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


def cells(grids: Iterable[tuple[int, str]], rates: Callable[[int], tuple[float, ...]]) -> Iterator[Cell]:
    """The rows, those of one grid (bit width and scale) together."""
    yield Cell("w", None)
    for width, scale in grids:
        scheme = QuantScheme(width, scale)  # type: ignore[arg-type]
        yield from (Cell(method, scheme) for method in ("rtn", "gptq", "gptq-fp"))
        yield Cell("qaft", scheme, rates(width))
        yield Cell("w_ft", None, rates(width))


def rows_of(file: Path) -> list[dict[str, Any]]:
    """What has been measured so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def environment(bench: Bench) -> dict[str, Any]:
    """What must be equal in all rows of a file."""
    return {
        "model": bench.checkpoint.fingerprint[:16],
        "windows": {
            f"{split} {len(windows)} × {windows.shape[1]}": token_hash(windows)[:16]
            for group in (bench.short, bench.held_out)
            for split, windows in group.items()
        },
    }


def measure(bench: Bench, wanted: Iterable[Cell], threads: int) -> None:
    """Measure what is missing of some rows, and keep each as soon as it is measured.

    Raises:
        SystemExit: the file holds rows of another model or other windows.
    """
    file = HERE / f"{bench.model_name}.jsonl"
    known = {row["key"] for row in rows_of(file)}
    missing = [cell for cell in dict.fromkeys(wanted) if cell.key not in known]
    if not missing:
        return
    shared = environment(bench)
    if any(row["environment"] != shared for row in rows_of(file)):
        raise SystemExit(f"expected {file} to hold rows of this model and these windows; move it away")
    for cell in missing:
        row = bench.row(cell) | {"threads": threads, "environment": shared}
        with file.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(f"{row['key']:40} {row['cpu_seconds']:8.1f} s  NLL {row['nll']}", flush=True)


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="opt-nano")
    parser.add_argument("--data", default="tales")
    parser.add_argument("--bits", default="4,2,3,8", help="bit widths, in the order of work (default: %(default)s)")
    parser.add_argument("--scales", default="exact,histogram", help="(default: %(default)s)")
    parser.add_argument("--methods", default="w,rtn,gptq,gptq-fp,qaft,w_ft", help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the state of an interrupted training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    budget = Budget()
    bench = Bench(arguments.model, arguments.data, arguments.work, budget)
    grids = [(int(width), scale) for scale in arguments.scales.split(",") for width in arguments.bits.split(",")]
    methods = arguments.methods.split(",")
    measure(bench, (cell for cell in cells(grids, budget.rates) if cell.method in methods), arguments.threads)


if __name__ == "__main__":
    main()
