"""Write one self-contained page: the figure, what it shows in words, and every number in tables. It loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from landscape.report.health import health_summary
from landscape.report.markup import render, write_text
from landscape.report.plot import figure_html
from landscape.report.survey.controls import controls
from landscape.report.survey.figures import plane_figure, radial_figure
from landscape.report.survey.strip import verdict_strip
from landscape.report.survey.summary import headline
from landscape.report.survey.tables import tables
from landscape.report.survey.verdicts import point_note
from landscape.report.survey.view import omissions
from landscape.report.survey.wording import (
    CAVEATS,
    READING,
    notable_sentences,
    plane_sentences,
    subject_sentences,
    subtitle,
)
from landscape.survey.result import PlaneResult, SurveyResult

DIV_ID = "radial-landscape"
"""ID of the figure's element; fixed, so that the same landscape gives the same bytes."""


@dataclass(frozen=True)
class _PlaneDrawing:
    """The picture of a plane, and what it shows in words."""

    id: str
    a: str
    b: str
    figure: Markup
    sentences: list[str]


def page(landscape: SurveyResult) -> str:
    """Return the page as one HTML document, the same bytes for the same landscape."""
    return render(
        "survey.html",
        title=headline(landscape),
        subtitle=subtitle(landscape),
        subject=subject_sentences(landscape),
        strip=verdict_strip(landscape),
        split=landscape.split,
        controls=controls(landscape),
        figure_id=DIV_ID,
        figure=figure_html(radial_figure(landscape, bare=True), DIV_ID, buttons=True),
        omissions=omissions(landscape),
        planes=[_drawing(plane, landscape, f"plane-{i}") for i, plane in enumerate(landscape.planes, start=1)],
        notable=notable_sentences(landscape),
        points=[point_note(point, landscape) for point in landscape.points],
        reading=READING,
        caveats=CAVEATS,
        health=health_summary(landscape.run.health),
        tables=tables(landscape),
    )


def write_page(landscape: SurveyResult, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        landscape: The survey.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    write_text(page(landscape), path)


def _drawing(plane: PlaneResult, landscape: SurveyResult, name: str) -> _PlaneDrawing:
    drawn = figure_html(plane_figure(plane, landscape), name, library=False)
    return _PlaneDrawing(name, plane.a, plane.b, drawn, plane_sentences(plane, landscape))
