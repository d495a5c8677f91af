"""Count by simulation how often the intervals of R hold the true R, and keep the rows of two tables of `README.md`.

    python -m benchmarks.radius.simulate     (or `make validate`; about five minutes on one core)

Every row of the first table is 2000 surveys drawn from a population whose radius is known (``landscapes.py``) and put
through the estimator of `landscape probe`; every row of the second is 2000 searches of `landscape radius`, which stop
when their interval is narrow enough. Each row has random numbers of its own: with ``--only`` it is the same as in a
whole run. Rows are kept in ``simulated-surveys.jsonl`` and ``simulated-searches.jsonl`` as soon as they are measured;
at the end the tables are rewritten.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from benchmarks.radius import coverage, simulation_table
from benchmarks.radius.cells import SearchCell, SurveyCell, searches, surveys
from benchmarks.radius.simulation_table import SEARCHES, SURVEYS
from benchmarks.radius.table import rewrite
from benchmarks.rows import Row, read_rows, write_rows

Cell = TypeVar("Cell", SurveyCell, SearchCell)
REPETITIONS = 2000


def survey_row(cell: SurveyCell, repetitions: int = REPETITIONS) -> Row:
    """Measure a row of the first table."""
    return cell.key | {name: asdict(level) for name, level in coverage.survey(cell, repetitions).items()}


def search_row(cell: SearchCell, repetitions: int = REPETITIONS) -> Row:
    """Measure a row of the second table."""
    return cell.key | asdict(coverage.summarize(cell, coverage.run_searches(cell, repetitions)))


def keep(file: Path, row: Row, keys: Iterable[Row]) -> None:
    """Put a row into its file, in place of one with the same key, in the order of the keys."""
    rows = [row, *read_rows(file)]
    found = [next((row for row in rows if key.items() <= row.items()), None) for key in keys]
    write_rows(file, [row for row in found if row is not None])


def main() -> None:
    """Measure the rows, keep each, and rewrite the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose first two columns contain this text")
    parser.add_argument("--table", choices=("coverage", "stopping"), help="rows of one table")
    options = parser.parse_args()
    if options.table != "stopping":
        _run(SURVEYS, list(surveys()), survey_row, options.only)
    if options.table != "coverage":
        _run(SEARCHES, list(searches()), search_row, options.only)
    rewrite()


def _run(file: Path, cells: Sequence[Cell], measure: Callable[[Cell], Row], only: str) -> None:
    for cell in cells:
        if only in simulation_table.head(cell.key):
            row = measure(cell)
            keep(file, row, [each.key for each in cells])
            print(simulation_table.line(row), flush=True)


if __name__ == "__main__":
    main()
