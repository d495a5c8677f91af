"""Draw a chart with Plotly, for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from landscape.report.chart import Axis, Band, Chart, Heatmap, Level, Look, Panel, Series, Surface
from landscape.report.palette import INK
from landscape.report.plot import AXIS, BLANK, Cell, Figure, fitted, literal
from landscape.report.ticks import log_ticks

PANEL_HEIGHT, NARROW_HEIGHT = 380, 300
"""Height of a panel, in pixels, on a wide screen and on a narrow one."""
ROW_HEIGHT = 24
"""Height of a row of a heat map, in pixels."""
_LEFT, _GAP, _BAR = 84, 92, 84  # pixels: left of the first column, between columns, for a colour bar
_NAME = 7.6  # pixels of a letter of the name of a row
_WIDE = 1100  # pixels of the columns together, until the script of the page has measured them
_HOVER = "%{customdata}<extra></extra>"
_COLORS = "Cividis"


@dataclass
class _Drawing:
    """The parts of one figure, for Plotly to check once, at the end: it checks slowly."""

    columns: int
    traces: list[dict[str, Any]] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    titles: list[dict[str, Any]] = field(default_factory=list)
    axes: dict[str, Any] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    bars: list[tuple[int, int]] = field(default_factory=list)
    """Index of each trace with a colour bar, and of its panel."""
    unnamed: list[int] = field(default_factory=list)
    """Panels whose rows are named by the panel at their left."""
    named: set[str] = field(default_factory=set)
    """Entries of the legend so far."""


def draw(chart: Chart) -> Figure:
    """Draw a chart, fitted to the screen by the page; its title is left to the page, which can wrap it."""
    drawing, rows = _Drawing(chart.columns), len(chart.panels)
    heights = [_height(row) for row in chart.panels]
    for i, j, panel in chart.each_panel:
        upper = 1 - i / rows
        _place(drawing, panel, (i, j), heights[i], (upper - 0.8 / rows, upper))
        _draw_panel(drawing, panel)
    names = [len(name) for _, j, p in chart.each_panel for m in p.marks if isinstance(m, Heatmap) for name in m.rows]
    left, bar = max([_LEFT, round(_NAME * max(names, default=0)) + 14]), _BAR if drawing.bars else 0
    later = any(j and isinstance(m, Heatmap) and m.named for _, j, p in chart.each_panel for m in p.marks)
    gap = (left if later else _GAP if not names else 24) + (bar if _bar_before_last(drawing) else 0)
    figure = Figure(drawing.traces, {
        **BLANK, **drawing.axes, "annotations": drawing.titles, "shapes": drawing.shapes, "hovermode": "closest",
        "height": sum(heights) + 130 * rows, "margin": {"l": left, "r": 16 + bar, "t": 40, "b": 96},
        "hoverlabel": {"align": "left", "bgcolor": "white"},
        "legend": {
            "orientation": "h", "x": 0, "xanchor": "left", "y": -0.2, "yanchor": "top", "font": {"size": 12},
            "groupclick": "togglegroup", "tracegroupgap": 0,
        },
    })  # fmt: skip
    return fitted(
        figure, cells=drawing.cells, columns=chart.columns, gap=gap, top=34, unnamed=drawing.unnamed,
        bars=drawing.bars, bar=bar,
    )  # fmt: skip


def _height(row: Sequence[Panel]) -> int:
    """Return the height of a row of panels: a heat map is as high as its rows."""
    heats = [len(mark.rows) for panel in row for mark in panel.marks if isinstance(mark, Heatmap)]
    return max(140, ROW_HEIGHT * max(heats)) if heats else PANEL_HEIGHT


def _bar_before_last(drawing: _Drawing) -> bool:
    return any(drawing.cells[panel].column < drawing.columns - 1 for _, panel in drawing.bars)


def _place(
    drawing: _Drawing, panel: Panel, at: tuple[int, int], height: int, upright: tuple[float, float]
) -> None:  # fmt: skip
    """Add a pair of axes and the title above them."""
    index, (row, column) = len(drawing.cells), at
    heat = any(isinstance(mark, Heatmap) for mark in panel.marks)
    drawing.cells.append(Cell(row, column, height, height if heat else NARROW_HEIGHT))
    width, mark = 1 / drawing.columns, _suffix(index)
    across = [column * width, column * width + (0.86 * width if drawing.columns > 1 else 1.0)]
    drawing.axes[f"xaxis{mark}"] = _axis(panel.x) | {"domain": across, "anchor": f"y{mark}"}
    drawing.axes[f"yaxis{mark}"] = _axis(panel.y) | {"domain": list(upright), "anchor": f"x{mark}"}
    drawing.titles.append({
        "text": f"<b>{literal(panel.title)}</b>", "x": across[0], "y": upright[1], "xref": "paper", "yref": "paper",
        "xanchor": "left", "yanchor": "bottom", "align": "left", "showarrow": False, "font": {"size": 13, "color": INK},
    })  # fmt: skip


def _suffix(index: int) -> str:
    """Return what follows ``x`` and ``y`` in the names of the axes of a panel."""
    return "" if index == 0 else str(index + 1)


def _draw_panel(drawing: _Drawing, panel: Panel) -> None:
    """Add the marks of a panel, the last that was placed."""
    mark_of = _suffix(len(drawing.cells) - 1)
    axes = {"xaxis": f"x{mark_of}", "yaxis": f"y{mark_of}"}
    for mark in panel.marks:
        if isinstance(mark, Heatmap):
            _draw_heat(drawing, mark, axes)
        elif isinstance(mark, Surface):
            _draw_surface(drawing, mark, axes)
        else:
            shown = mark.legend and bool(mark.name) and mark.name not in drawing.named
            drawing.named |= {mark.name} if shown else set()
            if isinstance(mark, Series):
                drawing.traces.append(_series(mark, shown) | axes)
            else:
                _draw_across(drawing, mark, mark_of, shown)


def _axis(axis: Axis) -> dict[str, Any]:
    title = {"text": literal(axis.title), "standoff": 6, "font": {"size": 12}}
    options: dict[str, Any] = {**AXIS, "title": title, "tickfont": {"size": 12}}
    ticks = axis.ticks
    if axis.log:
        options |= {"type": "log", "dtick": 1, "exponentformat": "power"}
        ticks = ticks or (() if axis.range is None else log_ticks(*axis.range))
    if ticks:
        values, texts = zip(*ticks, strict=True)
        options |= {"tickmode": "array", "tickvals": list(values), "ticktext": [literal(text) for text in texts]}
        options.pop("dtick", None)
    if axis.range is not None:
        options["range"] = [math.log10(end) for end in axis.range] if axis.log else list(axis.range)
    return options


def _series(mark: Series, shown: bool) -> dict[str, Any]:
    look = mark.look
    parts = [part for part, there in (("lines", look.dash), ("markers", look.symbol), ("text", mark.labels)) if there]
    options: dict[str, Any] = {
        "type": "scatter", "x": _plain(mark.x), "y": _plain(mark.y), "mode": "+".join(parts) or "none",
        "name": literal(mark.name), "legendgroup": literal(mark.name), "showlegend": shown, "opacity": look.opacity,
        "line": {"color": look.color, "dash": look.dash or "solid", "width": look.width}, "connectgaps": False,
        "cliponaxis": not look.symbol,
    }  # fmt: skip
    if look.symbol:
        options["marker"] = _marker(look)
    if mark.labels:
        options |= {
            "text": [literal(text) for text in mark.labels], "textposition": mark.side,
            "textfont": {"size": 11, "color": look.color},
        }  # fmt: skip
    if mark.hover:
        options |= {"customdata": [_lines(text) for text in mark.hover], "hovertemplate": _HOVER}
    else:
        options["hoverinfo"] = "skip"
    if mark.low:
        options["error_y"] = {
            "type": "data", "symmetric": False, "array": _arms(mark.high, mark.y),
            "arrayminus": _arms(mark.y, mark.low), "color": look.color, "thickness": 1.2, "width": 3,
        }  # fmt: skip
    return options


def _marker(look: Look) -> dict[str, Any]:
    line = {"color": "white", "width": 0.8} if look.filled else {"color": look.color, "width": 1.8}
    symbol = look.symbol if look.filled else f"{look.symbol}-open"
    return {"color": look.color, "symbol": symbol, "size": look.size, "line": line}


def _draw_across(drawing: _Drawing, mark: Level | Band, suffix: str, shown: bool) -> None:
    """Draw a level or a band as a shape, and its entry in the legend as a trace without data."""
    entry: dict[str, Any] = {
        "type": "scatter", "x": [None], "y": [None], "name": literal(mark.name), "legendgroup": literal(mark.name),
        "showlegend": True, "hoverinfo": "skip",
    }  # fmt: skip
    other = "y" if mark.axis == "x" else "x"
    low, high = (mark.value, mark.value) if isinstance(mark, Level) else (mark.low, mark.high)
    shape: dict[str, Any] = {
        f"{mark.axis}ref": f"{mark.axis}{suffix}", f"{mark.axis}0": low, f"{mark.axis}1": high,
        f"{other}ref": f"{other}{suffix} domain", f"{other}0": 0, f"{other}1": 1,
    }  # fmt: skip
    if isinstance(mark, Level):
        line = {"color": mark.look.color, "dash": mark.look.dash or "solid", "width": mark.look.width}
        shape |= {"type": "line", "line": line, "opacity": mark.look.opacity}
        entry |= {"mode": "lines", "line": line}
    else:
        shape |= {"type": "rect", "fillcolor": INK, "opacity": mark.opacity, "line": {"width": 0}, "layer": "below"}
        color = f"rgba(34, 34, 34, {min(1.0, 2 * mark.opacity):.3g})"
        entry |= {"mode": "markers", "marker": {"symbol": "square", "size": 14, "color": color}}
    drawing.shapes.append(shape)
    if shown:
        drawing.traces.append(entry | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"})


def _draw_heat(drawing: _Drawing, mark: Heatmap, axes: dict[str, str]) -> None:
    values = [[_scaled(v, mark.log) for v in line] for line in mark.values]
    low, high = (_scaled(end, mark.log) for end in mark.range)
    panel, suffix = len(drawing.cells) - 1, axes["xaxis"][1:]
    trace: dict[str, Any] = {
        **axes, "type": "heatmap", "x": list(range(len(mark.columns))), "y": list(range(len(mark.rows))), "z": values,
        "zmin": low, "zmax": high, "colorscale": _COLORS, "hovertemplate": _HOVER, "hoverongaps": False, "xgap": 1,
        "ygap": 1, "customdata": [list(map(_lines, line)) for line in mark.hover], "showscale": mark.bar,
        "colorbar": _colorbar(mark.title, mark.range, mark.log),
    }  # fmt: skip
    if mark.text:
        trace |= {"text": [list(map(literal, line)) for line in mark.text], "texttemplate": "%{text}"}
    if mark.bar:
        drawing.bars.append((len(drawing.traces), panel))
    if not mark.named:
        drawing.unnamed.append(panel)
    drawing.traces.append(trace)
    upright = [len(mark.rows) - 0.5, -0.5]  # the first row at the top
    drawing.axes[f"xaxis{suffix}"] |= {"showgrid": False, **_named(mark.columns, mark.named_columns)}
    drawing.axes[f"yaxis{suffix}"] |= {
        "showgrid": False, "range": upright, "showticklabels": mark.named, **_named(mark.rows, range(len(mark.rows))),
    }  # fmt: skip


def _named(names: Sequence[str], places: Sequence[int]) -> dict[str, Any]:
    return {"tickvals": list(places), "ticktext": [literal(names[place]) for place in places]}


def _draw_surface(drawing: _Drawing, mark: Surface, axes: dict[str, str]) -> None:
    z = [_plain(line) for line in mark.values]
    base = {**axes, "type": "contour", "x": list(mark.x), "y": list(mark.y), "z": z, "hoverinfo": "skip"}
    low, high = mark.range
    drawing.bars.append((len(drawing.traces), len(drawing.cells) - 1))
    drawing.traces.append({
        **base, "contours": {"coloring": "heatmap", "showlines": False}, "colorscale": _COLORS, "reversescale": True,
        "zmin": low, "zmax": high, "showlegend": False, "colorbar": _colorbar(mark.title, mark.range, False),
    })  # fmt: skip
    for value, name, dash in mark.levels:
        drawing.traces.append({
            **base, "contours": {"coloring": "none", "type": "constraint", "operation": "=", "value": value},
            "line": {"color": INK, "dash": dash, "width": 2}, "name": literal(name), "showlegend": True,
        })  # fmt: skip


def _colorbar(title: str, ends: tuple[float, float], log: bool) -> dict[str, Any]:
    """Describe a colour bar; the script of the page puts it at the right of its panel."""
    bar: dict[str, Any] = {
        "title": {"text": literal(title), "side": "right", "font": {"size": 11}}, "xanchor": "left", "xpad": 8,
        "ypad": 0, "yanchor": "middle", "thickness": 12, "outlinewidth": 0, "tickfont": {"size": 11},
    }  # fmt: skip
    if log:
        ticks = log_ticks(*ends)
        bar |= {"tickvals": [math.log10(value) for value, _ in ticks], "ticktext": [text for _, text in ticks]}
    return bar


def _scaled(value: float, log: bool) -> float | None:
    if not math.isfinite(value) or (log and value <= 0):
        return None
    return math.log10(value) if log else value


def _plain(values: Iterable[float]) -> list[float | None]:
    """Return a list that JSON can hold: None, a gap, where a value is not finite."""
    return [float(v) if math.isfinite(v) else None for v in values]


def _arms(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    """Return the lengths of error bars; 0 where an end is not bounded, which the hover text says."""
    return [a - b if math.isfinite(a - b) else 0.0 for a, b in zip(upper, lower, strict=True)]


def _lines(text: str) -> str:
    return literal(text).replace("\n", "<br>")
