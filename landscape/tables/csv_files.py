"""Write tidy tables as CSV files, the same bytes for the same result.

    <folder>/points.csv     one file a table; first line: names of the columns
    <folder>/columns.csv    type, unit and meaning of every column of every table

UTF-8, commas, quotes where needed (RFC 4180), lines that end in a line feed. An empty cell is a value that is not
there; a number that is not finite is ``nan``, ``inf`` or ``-inf``, which pandas and R read. Numbers have as many digits
as it takes to read the same float back. Yes and no are ``true`` and ``false``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult
from landscape.tables.column import Cell, Row, cells, columns
from landscape.tables.tidy import TABLES, Tables, tidy
from quant.files.cache import atomic_path
from quant.printable import utf8

SCHEMA = "columns"
"""Name of the file that describes the columns of the others."""
_ADVICE = "free some space, or choose another --csv"


def write_tables(found: SurveyResult | StudyResult, folder: Path) -> Tables:
    """Write all tables of a result, each file whole or not at all; older files of the same names are replaced.

    Args:
        found: The result.
        folder: The folder; it is made if it is missing.

    Returns:
        The tables, by the names of their files without ``.csv``; one without a row is written with its header alone.

    Raises:
        StoreError: if the folder cannot be written.
    """
    tables = tidy(found)
    for name, rows in tables.items():
        _write(folder / f"{name}.csv", csv_text(TABLES[name], rows))
    _write(folder / f"{SCHEMA}.csv", schema_text())
    return tables


def csv_text(row: type[Row], rows: Sequence[Row]) -> str:
    """Return a table as CSV.

    Args:
        row: The class of its rows, which gives the header.
        rows: Its rows.
    """
    return _csv([[each.name for each in columns(row)], *([_text(cell) for cell in cells(each)] for each in rows)])


def schema_text() -> str:
    """Return the columns of all tables as CSV: table, column, type, whether it may be empty, unit, meaning."""
    return _csv([["table", "column", "type", "optional", "unit", "meaning"], *_schema()])


def _schema() -> Iterator[list[str]]:
    for name, row in TABLES.items():
        for each in columns(row):
            yield [name, each.name, each.kind, _text(each.optional), each.unit, each.meaning]


def _csv(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return repr(float(cell)) if isinstance(cell, float) else str(cell)


def _write(path: Path, text: str) -> None:
    with atomic_path(path, advice=_ADVICE) as temporary:
        temporary.write_bytes(utf8(text))
