"""A terminal that prints text as it is."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from quant.printable import printable


class PlainConsole(Console):
    """Prints text as it is: names from files are neither markup nor emoji nor orders to the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make every string printable, those in cells of tables included."""
        return super().render_str(printable(text), **options)
