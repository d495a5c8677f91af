"""Draw a chart with Plotly, for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from plotly.subplots import make_subplots

from landscape.report.chart import Axis, Band, Chart, Heatmap, Level, Look, Panel, Series, Surface
from landscape.report.palette import INK
from landscape.report.plot import AXIS, BLANK, Figure, literal

PANEL_HEIGHT = 380
"""Height of a row of panels, in pixels."""
ROW_HEIGHT = 24
"""Height of a row of a heat map, in pixels."""
_TITLES, _LEGEND_ROW, _MARGIN = 62, 24, 96  # pixels: above and below a row of panels; legend; axis title
_HOVER = "%{customdata}<extra></extra>"
_COLORS = "Cividis"


def draw(chart: Chart) -> Figure:
    """Draw a chart; its title is left to the page, which can wrap it."""
    rows, heights = len(chart.panels), [_height(row) for row in chart.panels]
    entries = chart.legend()
    total = sum(heights) + _TITLES * rows + _MARGIN + _LEGEND_ROW * math.ceil(len(entries) / 4)
    inner = sum(heights) + _TITLES * (rows - 1)
    figure: Figure = make_subplots(
        rows=rows, cols=chart.columns, row_heights=heights, specs=_specs(chart),
        vertical_spacing=_TITLES / inner * 1.35 if rows > 1 else 0.0,
        horizontal_spacing=(0.28 if _has_heat(chart) else 0.2) / chart.columns if chart.columns > 1 else 0.0,
        subplot_titles=[f"<b>{literal(panel.title)}</b>" for _, _, panel in chart.each_panel],
    )  # fmt: skip
    figure.update_annotations(font={"size": 13, "color": INK})
    seen: set[str] = set()
    for i, j, panel in chart.each_panel:
        _draw_panel(figure, panel, i + 1, j + 1, seen)
    return figure.update_layout(
        **BLANK, height=round(total), autosize=True, margin={"l": 76, "r": 24, "t": 40, "b": _MARGIN},
        hovermode="closest", hoverlabel={"align": "left", "bgcolor": "white"},
        legend={
            "orientation": "h", "x": 0, "xanchor": "left", "y": -64 / inner, "yanchor": "top", "font": {"size": 12},
            "groupclick": "togglegroup", "tracegroupgap": 0,
        },
    )  # fmt: skip


def _height(row: Sequence[Panel]) -> int:
    """Return the height of a row of panels: a heat map is as high as its rows."""
    heats = [len(mark.rows) for panel in row for mark in panel.marks if isinstance(mark, Heatmap)]
    return max(140, ROW_HEIGHT * max(heats)) if heats else PANEL_HEIGHT


def _has_heat(chart: Chart) -> bool:
    return any(isinstance(mark, Heatmap | Surface) for _, _, panel in chart.each_panel for mark in panel.marks)


def _specs(chart: Chart) -> list[list[dict[str, Any] | None]]:
    return [[{} if j < len(row) else None for j in range(chart.columns)] for row in chart.panels]


def _draw_panel(figure: Figure, panel: Panel, row: int, col: int, seen: set[str]) -> None:
    place = {"row": row, "col": col}
    figure.update_xaxes(**_axis(panel.x, panel), **place)
    figure.update_yaxes(**_axis(panel.y, panel), **place)
    for mark in panel.marks:
        if isinstance(mark, Heatmap):
            _draw_heat(figure, mark, row, col)
        elif isinstance(mark, Surface):
            _draw_surface(figure, mark, row, col)
        else:
            shown = mark.legend and bool(mark.name) and mark.name not in seen
            seen |= {mark.name} if shown else set()
            if isinstance(mark, Series):
                figure.add_trace(_series(mark, shown), **place)
            else:
                _draw_across(figure, mark, place, shown)


def _axis(axis: Axis, panel: Panel) -> dict[str, Any]:
    options: dict[str, Any] = {**AXIS, "title": {"text": literal(axis.title), "standoff": 6, "font": {"size": 12}}}
    if axis.log:
        step = _decades(axis)
        options |= {"type": "log", "dtick": step, "exponentformat": "none" if step == "D2" else "power"}
    if axis.ticks:
        values, texts = zip(*axis.ticks, strict=True)
        options |= {"tickmode": "array", "tickvals": list(values), "ticktext": [literal(text) for text in texts]}
        options.pop("dtick", None)
    if axis.range is not None:
        options["range"] = [math.log10(end) for end in axis.range] if axis.log else list(axis.range)
    return options


def _decades(axis: Axis) -> Any:
    """Return the step of the ticks of a logarithmic axis: whole decades, or 1, 2 and 5 where there are few."""
    if axis.range is None:
        return 1
    span = math.log10(axis.range[1] / axis.range[0])
    return max(1, math.ceil(span / 6)) if span > 2 else "D2"


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


def _draw_across(figure: Figure, mark: Level | Band, place: dict[str, int], shown: bool) -> None:
    """Draw a level or a band as a shape, and its entry in the legend as a trace without data."""
    entry: dict[str, Any] = {
        "type": "scatter", "x": [None], "y": [None], "name": literal(mark.name), "legendgroup": literal(mark.name),
        "showlegend": True, "hoverinfo": "skip",
    }  # fmt: skip
    if isinstance(mark, Level):
        line = {"color": mark.look.color, "dash": mark.look.dash or "solid", "width": mark.look.width}
        add = figure.add_vline if mark.axis == "x" else figure.add_hline
        add(**{mark.axis: mark.value}, line=line, opacity=mark.look.opacity, exclude_empty_subplots=False, **place)
        entry |= {"mode": "lines", "line": line}
    else:
        add = figure.add_vrect if mark.axis == "x" else figure.add_hrect
        ends = {f"{mark.axis}0": mark.low, f"{mark.axis}1": mark.high}
        add(
            **ends,
            fillcolor=INK,
            opacity=mark.opacity,
            line_width=0,
            layer="below",
            exclude_empty_subplots=False,
            **place,
        )
        color = f"rgba(34, 34, 34, {min(1.0, 2 * mark.opacity):.3g})"
        entry |= {"mode": "markers", "marker": {"symbol": "square", "size": 13, "color": color}}
    if shown:
        figure.add_trace(entry, **place)


def _draw_heat(figure: Figure, mark: Heatmap, row: int, col: int) -> None:
    values = [[_scaled(v, mark.log) for v in line] for line in mark.values]
    low, high = (_scaled(end, mark.log) for end in mark.range)
    place = {"row": row, "col": col}
    trace: dict[str, Any] = {
        "type": "heatmap", "x": list(range(len(mark.columns))), "y": list(range(len(mark.rows))), "z": values,
        "zmin": low, "zmax": high, "colorscale": _COLORS, "hovertemplate": _HOVER, "hoverongaps": False, "xgap": 1,
        "ygap": 1, "customdata": [list(map(_lines, line)) for line in mark.hover], "showscale": mark.bar,
        "colorbar": _colorbar(figure, mark.title, mark.range, mark.log, row, col),
    }  # fmt: skip
    if mark.text:
        trace |= {"text": [list(map(literal, line)) for line in mark.text], "texttemplate": "%{text}"}
    figure.add_trace(trace, **place)
    figure.update_xaxes(showgrid=False, **_named(mark.columns), **place)
    names = mark.rows if mark.named else [""] * len(mark.rows)
    upright = [len(mark.rows) - 0.5, -0.5]  # the first row at the top
    figure.update_yaxes(showgrid=False, automargin=True, range=upright, **_named(names), **place)


def _named(names: Sequence[str]) -> dict[str, Any]:
    return {"tickvals": list(range(len(names))), "ticktext": [literal(name) for name in names]}


def _draw_surface(figure: Figure, mark: Surface, row: int, col: int) -> None:
    z = [_plain(line) for line in mark.values]
    base = {"type": "contour", "x": list(mark.x), "y": list(mark.y), "z": z, "hoverinfo": "skip"}
    low, high = mark.range
    figure.add_trace({
        **base, "contours": {"coloring": "heatmap", "showlines": False}, "colorscale": _COLORS, "reversescale": True,
        "zmin": low, "zmax": high, "showlegend": False,
        "colorbar": _colorbar(figure, mark.title, mark.range, False, row, col),
    }, row=row, col=col)  # fmt: skip
    for value, name, dash in mark.levels:
        figure.add_trace({
            **base, "contours": {"coloring": "none", "type": "constraint", "operation": "=", "value": value},
            "line": {"color": INK, "dash": dash, "width": 2}, "name": literal(name), "showlegend": True,
        }, row=row, col=col)  # fmt: skip


def _colorbar(figure: Figure, title: str, ends: tuple[float, float], log: bool, row: int, col: int) -> dict[str, Any]:
    """Place a colour bar at the right of its panel."""
    panel = figure.get_subplot(row, col)
    (low, high), right = panel.yaxis.domain, panel.xaxis.domain[1]
    bar: dict[str, Any] = {
        "title": {"text": literal(title), "side": "right", "font": {"size": 11}}, "x": right + 0.008,
        "xanchor": "left", "y": (low + high) / 2, "len": (high - low) * 1.02, "thickness": 12, "outlinewidth": 0,
        "tickfont": {"size": 11},
    }  # fmt: skip
    if log:
        decades = range(math.ceil(math.log10(ends[0]) - 1e-9), math.floor(math.log10(ends[1]) + 1e-9) + 1)
        if len(decades) > 1:
            bar |= {"tickvals": list(decades), "ticktext": [f"10<sup>{k}</sup>".replace("-", "−") for k in decades]}
        else:
            logs = [math.log10(end) for end in ends]
            bar |= {"tickvals": logs, "ticktext": [f"{end:.2g}" for end in ends]}
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
