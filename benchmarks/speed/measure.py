"""Measure speed and memory as ratios within one run: rows, each kept as soon as it is measured.

    python -m benchmarks.speed.measure
    python -m benchmarks.speed.measure --code path/to/another/checkout --label before
    python -m benchmarks.speed.table

Every benchmark runs in a process of its own, whose peak memory is a row too. Implementations of the same task are timed
in turns. With ``--code`` the packages `landscape` and `quant` come from another checkout, and these scripts measure
them. The rows go to ``benchmarks/speed/<label>.jsonl``; those of an earlier run of the same benchmark are replaced.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.rows import Row, read_rows, write_rows

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SKIP = "not measured: "

# name: (module, function, thread counts)
BENCHMARKS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "window": ("forward", "bench_window", (1, 2)),
    "probe": ("rays", "bench_probe", (1, 2)),
    "qaft": ("training", "bench_qaft", (2,)),
    "gradient": ("training", "bench_gradient", (2,)),
    "evaluation-memory": ("memory", "bench_evaluation_memory", (1,)),
    "training-memory": ("memory", "bench_training_memory", (1,)),
    "drawing": ("rays", "bench_drawing", (1,)),
    "store": ("storage", "bench_store", (1,)),
    "help": ("command", "bench_help", (1,)),
    "page": ("command", "bench_page", (2,)),
    "ray": ("ray_engine", "bench_ray", (1,)),
    "dampings": ("gptq_solver", "bench_dampings", (2,)),
    "solver": ("gptq_solver", "bench_solver", (2,)),
    "scales": ("scale_search", "bench_scales", (2,)),
}


def run_here(name: str, threads: int, rounds: int, model: str | None) -> None:
    """Run one benchmark in this process, and print each row as a line of JSON."""
    import torch

    from benchmarks.speed.models import Options
    from benchmarks.speed.turns import peak

    torch.set_num_threads(threads)
    module, function, _ = BENCHMARKS[name]
    work = getattr(importlib.import_module(f"benchmarks.speed.{module}"), function)
    before = peak()
    for row in work(Options(rounds, model)):
        print(json.dumps(row, ensure_ascii=False), flush=True)
    print(json.dumps({"key": f"peak/{name}", "value": peak(), "before": before, "unit": "GiB"}), flush=True)


def run_apart(name: str, threads: int, code: Path, options: argparse.Namespace) -> list[Row]:
    """Run one benchmark in a process of its own, on the packages of a checkout.

    The scripts are those of this checkout: ``benchmarks`` is imported before the search path is turned to the other.
    """
    arguments = [name, threads, options.rounds, options.model]
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import benchmarks; sys.path[0] = {str(code)!r}\n"
        f"import quant; assert quant.__file__.startswith({str(code)!r}), quant.__file__\n"
        f"from benchmarks.speed.measure import run_here; run_here(*{arguments!r})"
    )
    command, environment = [sys.executable, "-P", "-c", program], {**os.environ, "PYTHONPATH": str(code)}
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=code, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):  # a library speaks
                print(line, end="", file=sys.stderr)
                continue
            row = json.loads(line)
            rows.append({"benchmark": name, "threads": threads, "model": options.model, **row})
            print(shown(rows[-1]), flush=True)
    if process.returncode:
        raise SystemExit(f"benchmark {name} failed with exit status {process.returncode}")
    return rows


def shown(row: Row) -> str:
    """Format a row for readers who wait."""
    if "missing" in row:
        value = row["missing"]
    elif "ratio" in row:
        low, middle, high = row["ratio"]
        value = f"{middle:.3g} [{low:.3g}, {high:.3g}]  ({row['seconds'][0]:.3g} s / {row['seconds'][1]:.3g} s)"
    else:
        value = f"{row['value']:.4g} {row['unit']}"
    return f"{row['key']:28} {row['threads']} thread{'s' if row['threads'] > 1 else ' '}  {value}"


def keep(file: Path, new: list[Row]) -> None:
    """Replace the rows of the same benchmark, thread count and model in a file."""
    same = {(row["benchmark"], row["threads"], row["model"]) for row in new}
    old = [row for row in read_rows(file) if (row["benchmark"], row["threads"], row["model"]) not in same]
    write_rows(file, [*old, *new])


def main() -> None:
    """Run the benchmarks one after the other."""
    from benchmarks.speed.machine import environment

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="benchmarks, comma-separated (default: all)")
    parser.add_argument("--rounds", type=int, default=9, help="pairs that a ratio is the median of (default: 9)")
    parser.add_argument("--model", help="model of the forward passes (default: random weights in SmolLM2's shapes)")
    parser.add_argument("--code", type=Path, default=ROOT, help="checkout to measure (default: this one)")
    parser.add_argument("--label", default="now", help="name of the file of rows (default: now)")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        parser.error(f"expected some of {', '.join(BENCHMARKS)}, got {', '.join(unknown)}")
    code = options.code.resolve()
    shared = environment(code)
    for name in chosen:
        for threads in BENCHMARKS[name][2]:
            rows = run_apart(name, threads, code, options)
            keep(HERE / f"{options.label}.jsonl", [row | {"environment": shared} for row in rows])


if __name__ == "__main__":
    main()
