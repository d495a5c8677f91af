"""Build the picture of a plane, trace by trace: the loss as a contour, two levels, three points.

A trace is a plain mapping in the terms of plotly. The loss is coloured by u, its way from L(w) to chance, so that
pictures can be compared; thin lines of equal NLL show what is too flat for colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from landscape.formatting import nats, number
from landscape.report import palette
from landscape.report.plot import literal
from landscape.survey.result import Array, PlaneResult, SurveyResult

PlotTrace = dict[str, Any]
_HOVER = "%{customdata}<extra></extra>"
_HIGHEST = 1.25  # of u that has a colour of its own: models that rise far past chance do not squash the basin
_LINES = 8  # thin lines of equal NLL, about


def plane_traces(plane: PlaneResult, landscape: SurveyResult) -> Iterator[PlotTrace]:
    """Yield the filled contour, the half-way level and chance as lines, and the three points."""
    u = plane.saturation(landscape.subject.chance)
    yield _surface(plane, u)
    yield _lines(plane, landscape)
    yield _level(plane, u, 0.5, "solid", 2.5, "u = ½: the basin's border")
    yield _level(plane, u, 1.0, "dash", 1.5, "u = 1: chance, ln|V|")
    for name, method in (("w", None), (plane.a, "gptq"), (plane.b, "qaft")):
        yield _point(plane, landscape, name, method)


def _surface(plane: PlaneResult, u: Array) -> PlotTrace:
    hover = [
        [_place(plane, float(x), float(y), float(u[i, j]), float(plane.nll[i, j])) for j, x in enumerate(plane.x)]
        for i, y in enumerate(plane.y)
    ]
    low, high = _color_range(u)
    values, texts = _color_ticks(low, high)
    return _contour(plane, np.where(np.isfinite(u), np.minimum(u, _HIGHEST), np.nan)) | {
        "contours": {"coloring": "heatmap", "showlines": False},
        "colorscale": "Cividis", "reversescale": True, "zmin": low, "zmax": high, "customdata": hover,
        "hovertemplate": _HOVER, "showlegend": False,
        "colorbar": {
            "title": {"text": "u: share of the way from L(w) to chance", "side": "top", "font": {"size": 12}},
            "tickvals": values, "ticktext": texts, "tickfont": {"size": 11}, "thickness": 12, "outlinewidth": 0,
            "orientation": "h", "x": 0, "xanchor": "left", "xpad": 0, "y": 1, "yanchor": "bottom", "ypad": 14, "len": 1,
        },
    }  # fmt: skip


def _color_range(u: Array) -> tuple[float, float]:
    """Return the u that colours begin and end at: those in the picture, but for what is far beyond chance."""
    finite = u[np.isfinite(u)]
    low, high = float(finite.min(initial=_HIGHEST)), min(float(finite.max(initial=0.0)), _HIGHEST)
    return (low, high) if low < high else (0.0, _HIGHEST)


def _color_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return a few round values of u in a range, and their texts; chance and the end of the colours go by name."""
    step = _round_step((high - low) / 5)
    values = [float(step * i) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    texts = [number(round(value / step) * step, 2) for value in values]
    return values, [f"{text}: chance" if value == 1 else text for value, text in zip(values, texts, strict=True)]


def _lines(plane: PlaneResult, landscape: SurveyResult) -> PlotTrace:
    """Thin lines of equal NLL, at round values from the lowest on, up to where colours end."""
    base, finite = plane.point_nll["w"], plane.nll[np.isfinite(plane.nll)]
    low = float(finite.min(initial=base))
    high = min(float(finite.max(initial=base)), base + _HIGHEST * (landscape.subject.chance - base))
    step = _round_step((high - low) / _LINES)
    return _contour(plane, plane.nll) | {
        "contours": {
            "coloring": "none", "showlines": True, "showlabels": True, "start": math.ceil(low / step) * step,
            "end": high, "size": step, "labelfont": {"size": 10, "color": palette.INK},
        },
        "line": {"color": palette.INK, "width": 0.6}, "name": "NLL", "showlegend": True, "showscale": False,
        "hoverinfo": "skip",
    }  # fmt: skip


def _round_step(step: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= 0.999 * step)


def _level(plane: PlaneResult, u: Array, level: float, dash: str, width: float, name: str) -> PlotTrace:
    """Draw one contour line of u, with an entry in the legend."""
    return _contour(plane, u) | {
        "contours": {"coloring": "none", "showlines": True, "type": "constraint", "operation": "=", "value": level},
        "line": {"color": palette.INK, "width": width, "dash": dash}, "name": name, "showlegend": True,
        "hoverinfo": "skip",
    }  # fmt: skip


def _contour(plane: PlaneResult, values: Array) -> PlotTrace:
    z = [[float(value) if np.isfinite(value) else None for value in row] for row in values]
    return {"type": "contour", "x": plane.x.tolist(), "y": plane.y.tolist(), "z": z, "connectgaps": False}


def _point(plane: PlaneResult, landscape: SurveyResult, name: str, method: str | None) -> PlotTrace:
    x, y = plane.places[name]
    nll = plane.point_nll[name]
    u = float(plane.saturation(landscape.subject.chance, nll))
    color, symbol = ("black", "x") if method is None else (palette.mark(method).color, palette.mark(method).symbol)
    return {
        "type": "scatter", "x": [x], "y": [y], "mode": "markers+text", "name": literal(name),
        "marker": {"color": color, "symbol": symbol, "size": 15, "line": {"color": "white", "width": 2}},
        "text": [f"<b>{literal(name)}</b>"], "textposition": "top center",
        "textfont": {"size": 12, "color": palette.INK, "shadow": "0 0 3px white, 0 0 3px white, 0 0 6px white"},
        "customdata": [f"<b>{literal(name)}</b><br>{_place(plane, x, y, u, nll)}"], "hovertemplate": _HOVER,
        "cliponaxis": False,
    }  # fmt: skip


def _place(plane: PlaneResult, x: float, y: float, u: float, nll: float) -> str:
    distance = number(float(np.hypot(x, y)), 4)
    return (
        f"({number(x, 4)}, {number(y, 4)}), ‖Δw‖ = {distance}<br>NLL {nats(nll)} on {plane.split}, u = {number(u, 3)}"
    )
