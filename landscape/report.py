"""One self-contained page: the figure, what it shows in words, and every number in tables. It loads nothing."""

from __future__ import annotations

import html
import os
import uuid
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from landscape.figures import figure_html, plane_figure, radial_figure
from landscape.health import Check, failed
from landscape.result import Landscape, PlaneResult
from landscape.tables import Table, tables
from landscape.view import omissions
from landscape.wording import (
    LIMITS,
    READING,
    PointNote,
    basin_sentences,
    headline,
    health_sentence,
    plane_sentences,
    point_note,
    segment_sentences,
    subject_sentences,
)
from quant.errors import ToolkitError

DIV_ID = "radial-landscape"
"""Of the figure's element; fixed, so that the same landscape gives the same bytes."""
LONG = 64
"""Characters from which on the text of a cell may go over several lines."""


def page(landscape: Landscape) -> str:
    """The page as one HTML document, the same bytes for the same landscape."""
    template = Template(files("landscape").joinpath("page.html").read_text(encoding="utf-8"))
    notes = [point_note(point, landscape) for point in landscape.points]
    return template.substitute(
        title=html.escape(headline(landscape)),
        label=html.escape(f"Interactive plot: {headline(landscape)}; all of its numbers are in the tables below"),
        alarm=_alarm(failed(landscape.health)),
        subject=_paragraphs(subject_sentences(landscape)),
        figure=figure_html(radial_figure(landscape), DIV_ID),
        planes="\n".join(_plane(plane, landscape, i) for i, plane in enumerate(landscape.planes, start=1)),
        omissions=html.escape(" ".join(omissions(landscape))),
        basin=_paragraphs(basin_sentences(landscape)),
        points=_list("ul", map(_note, notes)),
        segments=_paragraphs(segment_sentences(landscape)),
        reading=_list("ol", map(html.escape, READING)),
        limits=html.escape(LIMITS),
        health=_health(landscape.health),
        tables="\n".join(map(_table, tables(landscape))),
    )


def write_page(landscape: Landscape, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        landscape: What was measured.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    content = page(landscape)
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


def _plane(plane: PlaneResult, landscape: Landscape, index: int) -> str:
    """The picture of a plane, and beside it in words what it shows."""
    label = html.escape(f"Interactive plot: the plane through w, {plane.a} and {plane.b}; in words below it")
    drawn = figure_html(plane_figure(plane, landscape), f"plane-{index}", library=False)
    caption = html.escape(" ".join(plane_sentences(plane, landscape)))
    return (
        f'<figure aria-labelledby="plane-{index}-caption">\n'
        f'<div class="scroll" role="group" aria-label="{label}">\n{drawn}\n</div>\n'
        f'<figcaption id="plane-{index}-caption">{caption}</figcaption>\n</figure>'
    )


def _paragraphs(sentences: Iterable[str]) -> str:
    return "\n".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)


def _list(tag: str, items: Iterable[str]) -> str:
    lines = "\n".join(f"<li>{item}</li>" for item in items)
    return f"<{tag}>\n{lines}\n</{tag}>" if lines else ""


def _note(note: PointNote) -> str:
    return f"<strong>{html.escape(note.name)}: {html.escape(note.verdict)}.</strong> {html.escape(note.detail)}"


def _alarm(checks: Sequence[Check]) -> str:
    """What failed, for the top of the page."""
    if not checks:
        return ""
    each = _list("ul", (_check((check.name,), check.words) for check in checks))
    return f'<div class="alarm">\n<p><strong>This run is not sound.</strong></p>\n{each}\n</div>'


def _health(checks: Sequence[Check]) -> str:
    """The verdict, what could not be judged, and on demand what was found in order."""
    passed, unjudged = ([check for check in checks if check.passed is flag] for flag in (True, None))
    alike = {check.words: tuple(c.name for c in unjudged if c.words == check.words) for check in unjudged}
    lines = [f"<p>{html.escape(health_sentence(checks))}</p>"]
    lines += [f"<p>Not judged: {_check(names, words)}</p>" for words, names in alike.items()]
    if passed:
        names = html.escape(", ".join(check.name for check in passed))
        found = _list("ul", (_check((check.name,), check.words) for check in passed))
        lines.append(f"<details><summary>Passed: {names}</summary>\n{found}\n</details>")
    return "\n".join(lines)


def _check(names: Sequence[str], words: str) -> str:
    return f"<strong>{html.escape(', '.join(names))}.</strong> {html.escape(words)}"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col"{_kind(table, i)}>{html.escape(name)}</th>' for i, name in enumerate(table.header))
    rows = "\n".join(f"<tr>{_cells(table, row)}</tr>" for row in table.rows)
    caption, wide = html.escape(table.caption), ' class="wide"' if table.wide else ""
    body = (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">'
        f"<table{wide}>\n<caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
    )
    return f"<details><summary>{caption}</summary>\n{body}\n</details>" if table.folded else body


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
