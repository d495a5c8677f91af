"""Share what all figures need: Plotly, its fonts and axes, and the way onto a page. Plotly is imported here alone."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import astuple, dataclass
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


@dataclass(frozen=True)
class Cell:
    """Place and size of a panel."""

    row: int
    column: int
    height: int
    """In pixels, on a wide screen."""
    narrow: int
    """In pixels, on a narrow screen, where panels are below one another."""


def fitted(
    figure: Figure,
    *,
    cells: Sequence[Cell],
    columns: int = 1,
    gap: int | None = None,
    top: int = 16,
    aspect: float | None = None,
    width: int | None = None,
    names: Sequence[int] = (),
    unnamed: Sequence[int] = (),
    bars: Sequence[tuple[int, int]] = (),
    bar: int = 0,
) -> Figure:
    """Let the script of the page, ``templates/figures.js``, fit the figure to the screen and to its own legend.

    CSS cannot lay out the inside of a figure: under 700 px the script puts its panels below one another, and the
    legend below the titles of the axes, however many rows it takes.

    Args:
        figure: The figure, each panel with one annotation as its title if there are several.
        cells: Its panels, in the order of their axes.
        columns: Number of panels side by side.
        gap: Room between columns in pixels; None to leave the panels as wide as they are drawn.
        top: Room above the panels, in pixels.
        aspect: Height over width of the panel, if that is fixed.
        width: Most of the width of the panels in pixels; None for all that there is.
        names: Indices of traces whose labels have no room on a narrow screen: their legend entries name them.
        unnamed: Indices of panels without labels at their vertical axis on a wide screen: those at their left serve.
        bars: Indices of a trace with an upright colour bar, and of its panel.
        bar: Room for a colour bar at the right of its panel, in pixels.
    """
    fit: dict[str, Any] = {
        "cells": [list(astuple(cell)) for cell in cells], "columns": columns, "gap": gap, "top": top, "aspect": aspect,
        "width": width, "names": list(names), "unnamed": list(unnamed), "bars": [list(each) for each in bars],
        "bar": bar, "panels": len(cells), "titled": gap is not None or len(cells) > 1,
    }  # fmt: skip
    # Plotly stretches the ranges of a picture that is to scale until its sides fit: the script sets them back.
    fit["ranges"] = {f"{name}.range": list(figure.layout[name].range) for name in ("xaxis", "yaxis") if aspect}
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
