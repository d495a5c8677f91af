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


def figure_html(figure: Figure, div_id: str, library: bool = True) -> Markup:
    """Return the figure as one ``<div>`` that loads nothing; the same bytes for the same figure.

    Args:
        figure: The figure.
        div_id: ID of its element.
        library: Whether plotly.js is in it: a page needs it once, before all others.
    """
    config = {
        "displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"],
        "showSendToCloud": False, "plotlyServerURL": "",  # plotly.js 4 offers an upload by default
    }  # fmt: skip
    fragment = to_html(figure, include_plotlyjs=library, full_html=False, div_id=div_id, config=config)
    # HTML already, hence Markup: Plotly writes its data as JSON in a script, with "<", ">" and "/" as \u003c and so on.
    return Markup(fragment)
