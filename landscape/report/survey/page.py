"""One self-contained page: the figure, what it shows in words, and every number in tables. It loads nothing."""

from __future__ import annotations

import html
from pathlib import Path

from landscape.report.health import alarm, health_section
from landscape.report.markup import filled, items, paragraphs, write_text
from landscape.report.survey.figures import figure_html, plane_figure, radial_figure
from landscape.report.survey.tables import tables
from landscape.report.survey.view import omissions
from landscape.report.survey.wording import (
    CAVEATS,
    READING,
    PointNote,
    basin_sentences,
    headline,
    plane_sentences,
    point_note,
    segment_sentences,
    subject_sentences,
)
from landscape.survey.result import PlaneResult, SurveyResult

DIV_ID = "radial-landscape"
"""Of the figure's element; fixed, so that the same landscape gives the same bytes."""


def page(landscape: SurveyResult) -> str:
    """The page as one HTML document, the same bytes for the same landscape."""
    notes = [point_note(point, landscape) for point in landscape.points]
    return filled(
        "survey/page.html",
        title=html.escape(headline(landscape)),
        header=f"{alarm(landscape.health)}\n{paragraphs(subject_sentences(landscape))}",
        label=html.escape(f"Interactive plot: {headline(landscape)}; all of its numbers are in the tables below"),
        figure=figure_html(radial_figure(landscape), DIV_ID),
        planes="\n".join(_plane(plane, landscape, i) for i, plane in enumerate(landscape.planes, start=1)),
        omissions=html.escape(" ".join(omissions(landscape))),
        basin=paragraphs(basin_sentences(landscape)),
        points=items("ul", map(_note, notes)),
        segments=paragraphs(segment_sentences(landscape)),
        reading=items("ol", map(html.escape, READING)),
        limits=html.escape(CAVEATS),
        health=health_section(landscape.health),
        tables=tables(landscape),
    )


def write_page(landscape: SurveyResult, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        landscape: What was measured.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    write_text(page(landscape), path)


def _plane(plane: PlaneResult, landscape: SurveyResult, index: int) -> str:
    """The picture of a plane, and beside it in words what it shows."""
    label = html.escape(f"Interactive plot: the plane through w, {plane.a} and {plane.b}; in words below it")
    drawn = figure_html(plane_figure(plane, landscape), f"plane-{index}", library=False)
    caption = html.escape(" ".join(plane_sentences(plane, landscape)))
    return (
        f'<figure aria-labelledby="plane-{index}-caption">\n'
        f'<div class="scroll" role="group" aria-label="{label}" tabindex="0">\n{drawn}\n</div>\n'
        f'<figcaption id="plane-{index}-caption">{caption}</figcaption>\n</figure>'
    )


def _note(note: PointNote) -> str:
    return f"<strong>{html.escape(note.name)}: {html.escape(note.verdict)}.</strong> {html.escape(note.detail)}"
