"""Pieces of a page: templates filled, sentences and tables as HTML, and files written whole or not at all."""

from __future__ import annotations

import html
import os
import uuid
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template

from landscape.report.survey.tables import Table
from quant.errors import ToolkitError

LONG = 64
"""Characters from which on the text of a cell may go over several lines."""


def filled(template: str, title: str, header: str, health: str, tables: Iterable[Table], **values: str) -> str:
    """A whole page: a template of this package with its values, in the frame and the style that all pages share.

    Args:
        template: File of what comes after the header, and before the checks and the numbers.
        title: Of the page; this and all other texts are HTML already.
        header: What comes below the title.
        health: What the checks of the run found.
        tables: The numbers.
        values: By their names in the template.
    """
    return Template(_file("frame.html")).substitute(
        title=title,
        header=header,
        body=Template(_file(template)).substitute(values),
        health=health,
        tables="\n".join(map(table_html, tables)),
        style=_file("page.css"),
    )


def write_text(content: str, path: Path) -> None:
    """Write a page, whole or not at all.

    Args:
        content: Its text.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(content, encoding="utf-8", newline="\n")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ToolkitError(f"expected to write the page {path}, got: {error}; choose another folder") from error


def paragraphs(sentences: Iterable[str]) -> str:
    """Sentences, a paragraph each."""
    return "\n".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)


def items(tag: str, contents: Iterable[str]) -> str:
    """A list, ``ul`` or ``ol``, of items that are HTML already; nothing if there are none."""
    lines = "\n".join(f"<li>{item}</li>" for item in contents)
    return f"<{tag}>\n{lines}\n</{tag}>" if lines else ""


def table_html(table: Table) -> str:
    """A table that scrolls if it is too wide, folded away if it is long."""
    head = "".join(f'<th scope="col"{_kind(table, i)}>{html.escape(name)}</th>' for i, name in enumerate(table.header))
    rows = "\n".join(f"<tr>{_cells(table, row)}</tr>" for row in table.rows)
    caption, wide = html.escape(table.caption), ' class="wide"' if table.wide else ""
    body = (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">'
        f"<table{wide}>\n<caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
    )
    return f"<details><summary>{caption}</summary>\n{body}\n</details>" if table.folded else body


def _file(name: str) -> str:
    return files("landscape.report").joinpath(name).read_text(encoding="utf-8")


def _cells(table: Table, row: tuple[str, ...]) -> str:
    first, *others = row
    cells = (f"<td{_kind(table, i, text)}>{_text(text)}</td>" for i, text in enumerate(others, start=1))
    return f'<th scope="row"{_kind(table, 0)}>{html.escape(first)}</th>{"".join(cells)}'


def _text(text: str) -> str:
    """The text of a cell, its interval set apart, so that a wide table can put it on a line of its own."""
    value, bracket, interval = text.partition(" [")
    return html.escape(value) + (f'<span class="interval">{html.escape(bracket + interval)}</span>' if bracket else "")


def _kind(table: Table, column: int, text: str = "") -> str:
    names = (["text"] if column in table.text else []) + (["long"] if len(text) > LONG else [])
    return f' class="{" ".join(names)}"' if names else ""
