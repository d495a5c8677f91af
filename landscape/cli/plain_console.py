"""Print on a terminal: text as it is, and tables that are never cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from landscape.report.table import Table
from quant.printable import printable

_UNBOUNDED = 10_000
"""Columns of a terminal on which any table fits."""


class PlainConsole(Console):
    """A terminal for names from files: nothing in them is markup, an emoji or an order to the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make every string printable, those in cells of tables included.

        Line breaks at its head are ours; one inside is of a name, which must not begin a line of its own.
        """
        line = text.lstrip("\n")
        return super().render_str(text[: -len(line) or None] + _one_line(line), **options)

    def print_table(self, table: Table, rows: int | None = None, wrapped: bool = True) -> None:
        """Print a table, in parts one below another where the terminal is too narrow for all columns.

        Args:
            table: Its caption is not printed; its header is ours, and may have lines.
            rows: How many rows to print, from the first on; None for all.
            wrapped: Whether a cell of words may take several lines; one of numbers never does.
        """
        rest = list(range(1, len(table.header)))
        while True:
            parts = (_laid_out(table, [0, *rest[:count]], rows, wrapped) for count in range(len(rest), 0, -1))
            part = next(filter(self._fits, parts), None) or _laid_out(table, [0, *rest[:1]], rows)
            self.print(part)
            if not (rest := rest[len(part.columns) - 1 :]):
                return

    def _fits(self, laid_out: RichTable) -> bool:
        unbounded = self.options.update(width=_UNBOUNDED)
        return Measurement.get(self, unbounded, laid_out).minimum <= self.width


def _laid_out(table: Table, columns: Sequence[int], rows: int | None, wrapped: bool | None = None) -> RichTable:
    """Lay some columns of a table out for a terminal.

    Args:
        table: The table.
        columns: Their indices.
        rows: How many rows.
        wrapped: Whether words may take several lines; None for numbers as well.
    """
    laid_out = RichTable(box=None, pad_edge=False, header_style="bold")
    for index in columns:
        words = index in table.text
        whole = wrapped is not None and not (words and wrapped)
        lines = [*table.header[index].split("\n"), *(_one_line(row[index]) for row in table.rows[:rows])]
        least = max(map(cell_len, lines)) if whole else None
        justify: Any = "left" if words else "right"
        laid_out.add_column(Text(table.header[index]), justify=justify, overflow="fold", no_wrap=whole, min_width=least)
    for row in table.rows[:rows]:
        laid_out.add_row(*(row[index] for index in columns))
    return laid_out


def _one_line(text: str) -> str:
    """Write out the line breaks of a text, and what else a terminal would take as an order."""
    return printable(text).replace("\n", "\\n")
