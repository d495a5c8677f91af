"""The anatomy as one self-contained page: the finding in words, the figures, and every number in tables."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

import landscape.report.anatomy.figures as draw
from landscape.anatomy.result import AnatomyResult
from landscape.report.anatomy.tables import anatomy_tables
from landscape.report.anatomy.wording import READING, finding, subject_sentences, title
from landscape.report.health import alarm, health_section
from landscape.report.markup import filled, items, paragraphs, write_text
from landscape.report.survey.figures import figure_html


def anatomy_page(found: AnatomyResult) -> str:
    """The page as one HTML document, the same bytes for the same anatomy."""
    return filled(
        "anatomy/page.html",
        title=html.escape(title(found)),
        header=f"{alarm(found.health)}\n{paragraphs(subject_sentences(found))}",
        finding=paragraphs(finding(found)),
        figures="\n".join(_figures(found)),
        reading=items("ul", map(html.escape, READING)),
        health=health_section(found.health),
        tables=anatomy_tables(found),
    )


def write_anatomy_page(found: AnatomyResult, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        found: What was measured.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    write_text(anatomy_page(found), path)


def _figures(found: AnatomyResult) -> Iterator[str]:
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
        label = html.escape(f"Interactive plot: {figure.layout.title.text}; its numbers are in the tables below")
        body = figure_html(figure, f"anatomy-{name}", library=count == 0)
        scroll = f'<div class="scroll" role="group" aria-label="{label}" tabindex="0">'
        yield f'<figure>\n{scroll}\n<div class="drawing">\n{body}\n</div>\n</div>\n</figure>'
