"""Declare the columns of a tidy table beside its rows: a row is a frozen dataclass, and a field is a column.

``columns(PointRow)`` lists name, type, unit and meaning of each; ``landscape.tables.csv_files`` writes that list beside
the tables, the export into the attributes of its datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate

Cell = str | int | float | bool | None
"""Value of one column in one row; None where there is none, NaN or infinity where the number is not finite."""
Kind = Literal["text", "integer", "number", "yes or no"]

NATS = "nats per token"
L2 = "ℓ2 distance"
_KINDS: Mapping[type, Kind] = {str: "text", int: "integer", float: "number", bool: "yes or no"}


@dataclass(frozen=True)
class Column:
    """One column of a tidy table."""

    name: str
    kind: Kind
    """Type of its values."""
    optional: bool
    """Whether a value may be missing."""
    unit: str
    """Unit; empty for a pure number, a word or a name."""
    meaning: str
    """Meaning in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Base of all rows; the docstring of a row class says what one row is."""


def column(meaning: str, unit: str = "") -> Any:
    """Declare a field of a row as a column.

    Args:
        meaning: Sentence for people who meet the column in a file.
        unit: Its unit; empty for a pure number, a word or a name.
    """
    return field(metadata={"meaning": meaning, "unit": unit})


def low_end(name: str, unit: str = "") -> Any:
    """Declare the lower end of the interval of a column."""
    return column(f"Lower end of the 95 % interval of {name}; -inf where the data do not bound it.", unit)


def high_end(name: str, unit: str = "") -> Any:
    """Declare the upper end of the interval of a column."""
    return column(f"Upper end of the 95 % interval of {name}; inf where the data do not bound it.", unit)


def columns(row: type[Row]) -> tuple[Column, ...]:
    """List the columns of a table, in their order."""
    hints = get_type_hints(row)
    return tuple(_column(each.name, hints[each.name], each.metadata) for each in fields(row))


def cells(row: Row) -> tuple[Cell, ...]:
    """Return the values of a row, in the order of its columns."""
    return tuple(getattr(row, each.name) for each in fields(row))


def estimate_cells(name: str, estimate: Estimate | None) -> dict[str, Any]:
    """Return the three columns of a number with its interval: ``rise``, ``rise_low``, ``rise_high``."""
    found = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip(_interval_names(name), map(_float, found), strict=True))


def crossing_cells(name: str, crossing: Crossing | None) -> dict[str, Any]:
    """Return the three columns of a radius; where it was not reached, the value is missing and low a lower bound."""
    found = (None, None, None) if crossing is None else (crossing.value, crossing.low, crossing.high)
    return dict(zip(_interval_names(name), map(_float, found), strict=True))


def _interval_names(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _column(name: str, hint: Any, metadata: Mapping[str, str]) -> Column:
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    (kind,) = kinds
    return Column(name, _KINDS[kind], type(None) in get_args(hint), metadata["unit"], metadata["meaning"])
