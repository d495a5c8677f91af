"""One self-contained page: the figure, what it shows in words, and every number in tables. It loads nothing."""

from __future__ import annotations

import html
from pathlib import Path

from landscape.figures import figure_html, radial_figure
from landscape.markup import filled, items, paragraphs, table_html, write_text
from landscape.result import Landscape
from landscape.tables import tables
from landscape.view import omissions
from landscape.wording import (
    LIMITS,
    READING,
    PointNote,
    basin_sentences,
    headline,
    point_note,
    segment_sentences,
    subject_sentences,
)

DIV_ID = "radial-landscape"
"""Of the figure's element; fixed, so that the same landscape gives the same bytes."""


def page(landscape: Landscape) -> str:
    """The page as one HTML document, the same bytes for the same landscape."""
    notes = [point_note(point, landscape) for point in landscape.points]
    return filled(
        "page.html",
        title=html.escape(headline(landscape)),
        label=html.escape(f"Interactive plot: {headline(landscape)}; all of its numbers are in the tables below"),
        subject=paragraphs(subject_sentences(landscape)),
        figure=figure_html(radial_figure(landscape), DIV_ID),
        omissions=html.escape(" ".join(omissions(landscape))),
        basin=paragraphs(basin_sentences(landscape)),
        points=items("ul", map(_note, notes)),
        segments=paragraphs(segment_sentences(landscape)),
        reading=items("ol", map(html.escape, READING)),
        limits=html.escape(LIMITS),
        tables="\n".join(map(table_html, tables(landscape))),
    )


def write_page(landscape: Landscape, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        landscape: What was measured.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    write_text(page(landscape), path)


def _note(note: PointNote) -> str:
    return f"<strong>{html.escape(note.name)}: {html.escape(note.verdict)}.</strong> {html.escape(note.detail)}"
