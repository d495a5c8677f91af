"""Print on a terminal: text as it is, and tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from landscape.report.table import Table
from quant.printable import printable


class PlainConsole(Console):
    """A terminal for names from files: nothing in them is markup, an emoji or an order to the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make every string printable, those in cells of tables included.

        Line breaks at its head are ours; one inside is of a name, which must not begin a line of its own.
        """
        line = text.lstrip("\n")
        return super().render_str(text[: -len(line) or None] + printable(line).replace("\n", "\\n"), **options)


def drawn(table: Table, rows: int | None = None, wrapped: bool = True) -> RichTable:
    """Lay a table out for a terminal.

    Args:
        table: Its caption is not drawn; its header is ours, and may have lines.
        rows: How many rows to draw, from the first on; None for all.
        wrapped: Whether a cell may take several lines.
    """
    laid_out = RichTable(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(table.header):
        justify: Any = "left" if index in table.text else "right"
        laid_out.add_column(
            Text(name), justify=justify, overflow="fold" if wrapped else "ellipsis", no_wrap=not wrapped
        )
    for row in table.rows[:rows]:
        laid_out.add_row(*row)
    return laid_out
