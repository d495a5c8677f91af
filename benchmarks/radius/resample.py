"""Count by resampling how often `landscape radius` holds the R of a real model, and keep the rows of a table.

    python -m benchmarks.radius.resample     (a quarter of an hour on one core)

Every row is 2000 searches on samples of a table of ``benchmarks/radius/tables`` (``real_table.py`` evaluates them,
``resampling.py`` draws the samples). Rows are kept in ``resampled-searches.jsonl`` as soon as they are measured, so
that ``--missing`` takes up an interrupted run; at the end the tables of `README.md` are rewritten.
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.radius import resampling, resampling_table
from benchmarks.radius.loss_table import HERE, LossTable
from benchmarks.radius.simulate import keep
from benchmarks.radius.table import rewrite
from benchmarks.rows import Row, read_rows

REPETITIONS = 2000
PRECISIONS = (0.1, 0.05, 0.03, 0.02)
"""The defaults of `landscape advise` and `landscape radius`, and two that a first round seldom reaches."""


def tables() -> list[Path]:
    """List the files of all tables."""
    return sorted((HERE / "tables").glob("*.npz"))


def keys() -> list[Row]:
    """List what identifies each row, in order."""
    return [{"model": file.stem, "precision": precision} for file in tables() for precision in PRECISIONS]


def wanted(only: str, kept: list[Row]) -> list[Row]:
    """List what identifies the rows to measure: of models whose name contains a text, except those that are kept."""
    found = [{name: each[name] for name in ("model", "precision")} for each in kept]
    return [key for key in keys() if only in key["model"] and key not in found]


def row(table: LossTable, key: Row, repetitions: int = REPETITIONS) -> Row:
    """Measure one row, with random numbers of its own."""
    rng = np.random.Generator(
        np.random.Philox(key=zlib.crc32(f"resample {key['model']} {key['precision']:g}".encode()))
    )
    ends = resampling.run_searches(table, key["precision"], repetitions, rng)
    size = {
        "directions": len(table.totals),
        "windows": len(table.tokens),
        "articles": len(set(table.articles.tolist())),
    }
    return key | size | asdict(resampling.summarize(table.radius(), ends))


def main() -> None:
    """Measure the rows, keep each, and rewrite the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models whose name contains this text")
    parser.add_argument("--missing", action="store_true", help="only rows that are not kept yet")
    options = parser.parse_args()
    for key in wanted(options.only, read_rows(resampling_table.ROWS) if options.missing else []):
        measured = row(LossTable.load(HERE / "tables" / f"{key['model']}.npz"), key)
        keep(resampling_table.ROWS, measured, keys())
        print(resampling_table.line(measured), flush=True)
    rewrite()


if __name__ == "__main__":
    main()
