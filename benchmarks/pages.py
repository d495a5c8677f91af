"""Pages of Markdown whose tables are made by scripts: each stands between ``<!-- name -->`` and ``<!-- /name -->``."""

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
        """The whole page as it is."""
        return self.path.read_text(encoding="utf-8")

    def table(self, name: str) -> str:
        """What stands between the comments of that name, without the blank lines at its ends.

        Raises:
            ValueError: if the page has not one such pair of comments.
        """
        return self._parts(self.text, name)[1].strip("\n")

    def filled(self, tables: Mapping[str, Iterable[str]]) -> str:
        """The page with new lines in its tables and everything else as it is, blank lines beside the comments too.

        Args:
            tables: The lines of each table, by the name in its comments.

        Raises:
            ValueError: if the page has not one pair of comments of each name.
        """
        text = self.text
        for name, lines in tables.items():
            before, old, after = self._parts(text, name)
            margin = "\n\n" if old.startswith("\n\n") else "\n"
            text = margin.join([before, "\n".join(lines), after])
        return text

    def write(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Put new lines into the tables: arguments and errors of ``filled``, and an error leaves the page alone."""
        self.path.write_text(self.filled(tables), encoding="utf-8")

    def _parts(self, text: str, name: str) -> tuple[str, str, str]:
        """The text up to the end of the first comment, between the two, and from the second on."""
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        start, stop = text.find(begin) + len(begin), text.find(end)
        if not (text.count(begin) == text.count(end) == 1 and start <= stop):
            found = f"{text.count(begin)} and {text.count(end)}"
            raise ValueError(
                f"expected {begin} and after it {end}, once each, in {self.path.name}, got {found} of them; "
                "put them where the table is to stand"
            )
        return text[:start], text[start:stop], text[stop:]
