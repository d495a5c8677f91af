"""Share what all figures need: Plotly, its fonts and axes, and the way onto a page. Plotly is imported here alone."""

from __future__ import annotations

import html
from typing import Any

from markupsafe import Markup
from plotly.graph_objects import Figure as Figure
from plotly.io import to_html

from landscape.report import palette

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
TEXT: dict[str, Any] = {"family": FONT, "size": 13, "color": palette.INK}
"""Font of a figure."""
AXIS: dict[str, Any] = {
    "showline": True, "linecolor": "#888888", "gridcolor": "#eeeeee", "zeroline": False, "ticks": "outside",
}  # fmt: skip
BLANK: dict[str, Any] = {"template": "none", "paper_bgcolor": "white", "plot_bgcolor": "white", "font": TEXT}
"""Layout of a figure without Plotly's own theme."""


def literal(text: str) -> str:
    """Escape a text for Plotly, which reads markup in names, labels and titles."""
    return html.escape(text)


def fitted(
    figure: Figure,
    *,
    heights: tuple[int, int],
    panels: int = 1,
    top: int = 16,
    aspect: float | None = None,
    width: int | None = None,
    names: list[int] | None = None,
) -> Figure:
    """Let the script of the page, ``templates/figures.js``, fit the figure to the screen and to its own legend.

    CSS cannot lay out the inside of a figure: under 700 px the script puts its panels below one another, and the
    legend below the titles of the axes, however many rows it takes.

    Args:
        figure: The figure, its panels side by side, each with one annotation as its title if there are several.
        heights: Height of a panel in pixels, on a wide screen and on a narrow one.
        panels: Number of panels.
        top: Room above the panels, in pixels.
        aspect: Height over width of the panel, if that is fixed.
        width: Most of the width of the panels in pixels; None for all that there is.
        names: Indices of traces whose labels have no room on a narrow screen: their legend entries name them.
    """
    fit: dict[str, Any] = {"heights": list(heights), "panels": panels, "top": top, "aspect": aspect, "width": width}
    # Plotly stretches the ranges of a picture that is to scale until its sides fit: the script sets them back.
    axes = {f"{name}.range": list(figure.layout[name].range) for name in ("xaxis", "yaxis") if aspect}
    fit |= {"ranges": axes, "names": names or []}
    return figure.update_layout(meta={"fit": fit}, title=None, autosize=True)


def figure_html(figure: Figure, div_id: str, library: bool = True, buttons: bool = False) -> Markup:
    """Return the figure as one ``<div>`` that loads nothing; the same bytes for the same figure.

    Args:
        figure: The figure.
        div_id: ID of its element.
        library: Whether plotly.js is in it: a page needs it once, before all others.
        buttons: Whether buttons of the page choose what it shows: they know the unit, and Plotly's own reset does not.
    """
    removed = ["select2d", "lasso2d"] + (["autoScale2d", "resetScale2d"] if buttons else [])
    config = {
        "displaylogo": False, "responsive": "fit" not in (figure.layout.meta or {}), "modeBarButtonsToRemove": removed,
        "doubleClick": False if buttons else "reset+autosize",
        "showSendToCloud": False, "plotlyServerURL": "",  # plotly.js 4 offers an upload by default
    }  # fmt: skip
    fragment = to_html(figure, include_plotlyjs=library, full_html=False, div_id=div_id, config=config)
    # HTML already, hence Markup: Plotly writes its data as JSON in a script, with "<", ">" and "/" as \u003c and so on.
    return Markup(fragment)
