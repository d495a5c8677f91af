"""Write tables into pages of Markdown, each between ``<!-- name -->`` and ``<!-- /name -->``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Page:
    """A page with places for tables."""

    path: Path

    @property
    def text(self) -> str:
        """Read the whole page."""
        return self.path.read_text(encoding="utf-8")

    def table(self, name: str) -> str:
        """Return the text between the comments of that name, without the blank lines at its ends.

        Raises:
            ValueError: the page has not exactly one such pair of comments.
        """
        return self._parts(self.text, name)[1].strip("\n")

    def filled(self, tables: Mapping[str, Iterable[str]]) -> str:
        """Return the page with new lines in its tables and all else unchanged, also blank lines beside the comments.

        Args:
            tables: The lines of each table, by the name in its comments.

        Raises:
            ValueError: the page has not exactly one pair of comments of each name.
        """
        text = self.text
        for name, lines in tables.items():
            before, old, after = self._parts(text, name)
            margin = "\n\n" if old.startswith("\n\n") else "\n"
            text = margin.join([before, "\n".join(lines), after])
        return text

    def write(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Write new lines into the tables, with arguments and errors of ``filled``; an error leaves the page alone."""
        self.path.write_text(self.filled(tables), encoding="utf-8")

    def _parts(self, text: str, name: str) -> tuple[str, str, str]:
        """Split the text into the parts before, between and after the comments, which stay in the outer parts."""
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        start, stop = text.find(begin) + len(begin), text.find(end)
        if not (text.count(begin) == text.count(end) == 1 and start <= stop):
            found = f"{text.count(begin)} and {text.count(end)}"
            raise ValueError(
                f"expected {begin} and after it {end}, once each, in {self.path.name}, got {found} of them; "
                "put them where the table is to stand"
            )
        return text[:start], text[start:stop], text[stop:]
