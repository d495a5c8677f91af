"""Pages as a reader has them: their tables, their text, and what they would load."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Reads a page: its tables by caption, its text outside scripts, what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.headers: list[dict[str, str | None]] = []
        self.loads: list[str] = []
        self.text = ""
        self.style = ""
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.loads += [str(v) for k, v in attributes if k in ("src", "srcset", "href", "data", "poster", "action")]
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self.headers += [dict(attributes)] if tag == "th" else []
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        here = next((tag for tag in reversed(self._open) if tag != "span"), "")
        if here == "style":
            self.style += data
        elif here != "script":
            self.text += data
        if here == "caption":
            self._caption = data
        elif here in ("td", "th"):
            self._rows[-1][-1] += data

    def table(self, start: str) -> list[dict[str, str]]:
        """Rows of a table by the names of its columns."""
        head, *rows = next(rows for caption, rows in self.tables.items() if caption.startswith(start))
        return [dict(zip(head, row, strict=True)) for row in rows]


def floats(text: str) -> list[float]:
    """The numbers in a cell."""
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text.replace("−", "-").replace(",", ""))]
