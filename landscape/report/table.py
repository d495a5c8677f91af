"""Define a table of text, as a page and the terminal print it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of text; the first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: frozenset[int] = frozenset({0})
    """Columns that hold words, not numbers."""
    folded: bool = False
    """Whether a page folds it away because it is long."""
    wide: bool = False
    """Whether it has so many columns that intervals go below their values."""


def provenance(rows: list[tuple[str, str]]) -> Table:
    """Return the table of what was measured, and how."""
    return Table("How it was measured.", ("setting", "value"), tuple(rows), frozenset({0, 1}))


def yes(flag: bool) -> str:
    """Write ``yes`` or ``no``."""
    return "yes" if flag else "no"
