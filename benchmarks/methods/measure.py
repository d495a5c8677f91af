"""Compare the methods on a model: measure one row per point, each kept as soon as it is measured.

    python -m benchmarks.methods.measure --model smollm2-135m --data path/to/wikitext-2 --work WORK
    python -m benchmarks.methods.table

An interrupted run resumes with the first missing row; two runs of different bit widths or methods can share the work.
The rows go to ``benchmarks/methods/<model>.jsonl``, from which the second command makes the tables of `README.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.methods.bench import Bench, Budget, Cell
from benchmarks.rows import append_row, read_rows
from landscape.session.request import default_corpus
from quant import QuantScheme
from quant.hashing import token_hash

HERE = Path(__file__).resolve().parent


def cells(grids: Iterable[tuple[int, str]], rates: Callable[[int], tuple[float, ...]]) -> Iterator[Cell]:
    """Yield the rows to measure, grid by grid (bit width and scale)."""
    yield Cell("w", None)
    for width, scale in grids:
        scheme = QuantScheme(width, scale)  # type: ignore[arg-type]
        yield from (Cell(method, scheme) for method in ("rtn", "gptq", "gptq-fp"))
        yield Cell("qaft", scheme, rates(width))
        yield Cell("w_ft", None, rates(width))


def environment(bench: Bench) -> dict[str, Any]:
    """Return what all rows of a file must have in common: the model and the windows."""
    return {
        "model": bench.checkpoint.fingerprint[:16],
        "windows": {
            f"{split} {len(windows)} × {windows.shape[1]}": token_hash(windows)[:16]
            for group in (bench.short, bench.held_out)
            for split, windows in group.items()
        },
    }


def measure(bench: Bench, wanted: Iterable[Cell], threads: int) -> None:
    """Measure the rows that are missing, and keep each as soon as it is measured.

    Raises:
        SystemExit: the file holds rows of another model or other windows.
    """
    file = HERE / f"{bench.model_name}.jsonl"
    rows = read_rows(file)
    known = {row["key"] for row in rows}
    missing = [cell for cell in dict.fromkeys(wanted) if cell.key not in known]
    if not missing:
        return
    shared = environment(bench)
    if any(row["environment"] != shared for row in rows):
        raise SystemExit(f"expected {file} to hold rows of this model and these windows; move it away")
    for cell in missing:
        row = bench.row(cell) | {"threads": threads, "environment": shared}
        append_row(file, row)
        print(f"{row['key']:40} {row['cpu_seconds']:8.1f} s  NLL {row['nll']}", flush=True)


def main() -> None:
    """Measure the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="opt-nano")
    parser.add_argument("--data", help="(default: that of `landscape`)")
    parser.add_argument("--bits", default="4,2,3,8", help="bit widths, in the order of work (default: %(default)s)")
    parser.add_argument("--scales", default="exact,histogram", help="(default: %(default)s)")
    parser.add_argument("--methods", default="w,rtn,gptq,gptq-fp,qaft,w_ft", help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the state of interrupted training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    budget = Budget()
    data = arguments.data or default_corpus(arguments.model)
    bench = Bench(arguments.model, data, arguments.work, budget)
    grids = [(int(width), scale) for scale in arguments.scales.split(",") for width in arguments.bits.split(",")]
    methods = arguments.methods.split(",")
    measure(bench, (cell for cell in cells(grids, budget.rates) if cell.method in methods), arguments.threads)


if __name__ == "__main__":
    main()
