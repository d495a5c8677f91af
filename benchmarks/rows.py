"""Keep measurements as rows, one JSON object a line, each written as soon as it is measured."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_rows(file: Path) -> list[Row]:
    """Return the rows of a file, in its order; none if there is no such file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def append_row(file: Path, row: Row) -> None:
    """Add one row to the end of a file, which is made if there is none.

    A radius that was not reached has infinite bounds, and its row took work: Python's ``Infinity`` is kept.
    """
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Rewrite a file; an error leaves it as it was.

    Raises:
        ValueError: a number is not finite, which JSON cannot express.
    """
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")
