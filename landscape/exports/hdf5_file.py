"""Write an HDF5 file whole or not at all, with text and tables that any reader of HDF5 understands.

Numbers are float64 and int64, text is UTF-8 of a fixed length, nothing is compressed, and no type is of Python alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.probing.file_sink import FileSink
from landscape.tables.column import Cell, Column, Row, columns
from quant.files.cache import atomic_path
from quant.printable import utf8

Group: TypeAlias = h5py.Group
KNOWN = "_known"
"""End of the name of a column of 0 and 1: whether the value in the column of that name is there."""
_BLANK: Mapping[str, Cell] = {"text": "", "integer": 0, "number": float("nan"), "yes or no": 0}
"""Values that stand in a column where there is none."""


def write_hdf5(path: Path, fill: Callable[[Group], None], advice: str) -> None:
    """Write a file, whole or not at all; an older one is replaced.

    Args:
        path: The file; missing folders are made.
        fill: Fills the root of the file.
        advice: Advice for the user if it cannot be written.

    Raises:
        StoreError: if it cannot be written.
    """
    with atomic_path(path, advice=advice) as temporary, temporary.open("xb+", buffering=0) as raw:
        sink = FileSink(raw)
        with h5py.File(sink, "w") as file:
            fill(file)
        sink.check()


def write_array(group: Group, name: str, values: NDArray[Any], unit: str, meaning: str) -> None:
    """Write an array with its unit and meaning as attributes."""
    dataset = group.create_dataset(name, data=values)
    write_attributes(dataset, {"unit": unit, "meaning": meaning})


def write_attributes(item: Group | h5py.Dataset, values: Mapping[str, str | int]) -> None:
    """Write attributes of a group or an array; text is UTF-8 whatever bytes a name in it has."""
    item.attrs.update({key: utf8(value).decode() if isinstance(value, str) else value for key, value in values.items()})


def write_table(group: Group, name: str, row: type[Row], rows: Sequence[Row]) -> None:
    """Write a table as a group with a dataset for each column; nothing for a table without rows.

    A column without any value is left out. One with some has a companion, its name and ``_known``, of 0 and 1.
    """
    if not rows:
        return
    table = group.create_group(name)
    write_attributes(table, {"meaning": f"one row: {(row.__doc__ or '').strip()}"})
    for column in columns(row):
        values = [getattr(each, column.name) for each in rows]
        known = [value is not None for value in values]
        if any(known):
            write_array(table, column.name, _array(column, values), column.unit, column.meaning)
        if any(known) and not all(known):
            meaning = f"Whether there is a value of {column.name}: 1, or 0."
            write_array(table, f"{column.name}{KNOWN}", np.array(known, np.int64), "", meaning)


def text_array(values: Sequence[str]) -> NDArray[Any]:
    """Encode text as UTF-8 of the length of the longest, padded with zero bytes."""
    encoded = [utf8(value) for value in values]
    width = max([1, *map(len, encoded)])
    return np.array(encoded, h5py.string_dtype("utf-8", width))


def _array(column: Column, values: Sequence[Cell]) -> NDArray[Any]:
    filled = [_BLANK[column.kind] if value is None else value for value in values]
    if column.kind == "text":
        return text_array([str(value) for value in filled])
    return np.array(filled, np.float64 if column.kind == "number" else np.int64)
