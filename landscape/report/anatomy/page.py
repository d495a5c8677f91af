"""Write the anatomy as one self-contained page: the finding in words, the figures, and every number in tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

import landscape.report.anatomy.figures as draw
from landscape.anatomy.result import AnatomyResult
from landscape.report.anatomy.hand_over import hand_over
from landscape.report.anatomy.tables import anatomy_tables
from landscape.report.anatomy.wording import READING, finding, subject_sentences, title
from landscape.report.health import health_summary
from landscape.report.markup import render, write_text
from landscape.report.plot import figure_html


@dataclass(frozen=True)
class _Drawing:
    """A figure, and what it is called for readers who cannot see it."""

    title: str
    figure: Markup


def anatomy_page(found: AnatomyResult) -> str:
    """Return the page as one HTML document, the same bytes for the same anatomy."""
    return render(
        "anatomy.html",
        title=title(found),
        subject=subject_sentences(found),
        finding=finding(found),
        figures=list(_drawings(found)),
        handed=hand_over(found),
        reading=READING,
        health=health_summary(found.run.health),
        tables=anatomy_tables(found),
    )


def write_anatomy_page(found: AnatomyResult, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        found: The anatomy.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    write_text(anatomy_page(found), path)


def _drawings(found: AnatomyResult) -> Iterator[_Drawing]:
    drawn = {
        "waterfall": draw.waterfall_figure(found),
        "matched": draw.matched_figure(found),
        "parts": draw.parts_figure(found),
        **dict(draw.ranking_figures(found)),
    }
    if found.restored:
        drawn["restoration"] = draw.restoration_figure(found)
    plan = draw.plan_figure(found)
    if plan is not None:
        drawn["plan"] = plan
    for count, (name, figure) in enumerate(drawn.items()):
        yield _Drawing(figure.layout.meta["name"], figure_html(figure, f"anatomy-{name}", library=count == 0))
