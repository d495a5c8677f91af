"""Draw the landscape as interactive figures.

The radial one is Figure 3 of Xu et al. 2024 with the basin's radius and its border: NLL against ℓ2 distance from w, one
panel per split. The other shows the plane through w and two points.
"""

from __future__ import annotations

from typing import Any

from landscape.report.plot import AXIS, BLANK, Cell, Figure, fitted, literal
from landscape.report.survey.plane_traces import plane_traces
from landscape.report.survey.summary import headline
from landscape.report.survey.traces import legend_entries, panel_traces
from landscape.report.survey.view import Frame, bit_widths, panels, units, view, width_text
from landscape.survey.result import PlaneResult, SurveyResult

HEIGHT = 660
"""Height of the radial figure with its title and buttons, in pixels."""
_PANEL = (380, 300)  # height of a panel in pixels: side by side, and one below the other
_PLANE_WIDTH, _PLANE_HEIGHT = 700, 400  # most of the picture of a plane, without its title and legend
_GAP = 0.035  # between the panels, as a share of the width


def radial_figure(landscape: SurveyResult, bare: bool = False) -> Figure:
    """Draw NLL against ℓ2 distance from w.

    Args:
        landscape: The survey. Values that are not finite are left out; ``omissions`` names them.
        bare: Leave title and buttons to the page around it, whose script needs ``controls`` for them.

    Returns:
        A figure with one panel per split, buttons for the distance axis and for the bit width, and a legend that
        toggles rays, methods, kinds of segments, R, its band and chance.
    """
    splits, frame = panels(landscape), view(landscape)
    traces = list(legend_entries(landscape))
    for panel, split in enumerate(splits, start=1):
        axes = {"xaxis": _axis("x", panel), "yaxis": _axis("y", panel)}
        traces += [trace | axes for trace in panel_traces(landscape, split, frame)]
    figure = Figure(traces)
    _lay_out(figure, landscape, frame)
    if bare:
        cells = [Cell(0, i, *_PANEL) for i in range(len(splits))]
        return fitted(figure, cells=cells, columns=len(splits), unnamed=range(1, len(splits)), top=34)
    menus = [_axis_menu(figure, landscape, frame), *_bits_menu(figure, landscape)]
    return figure.update_layout(updatemenus=menus, title=_title(landscape))


def plane_figure(plane: PlaneResult, landscape: SurveyResult) -> Figure:
    """Draw the loss on the plane through w and two points, to scale: distances on the picture are ℓ2 distances.

    Args:
        plane: The losses. Values that are not finite are gaps.
        landscape: The survey, for chance.

    Returns:
        A contour of u, the way from L(w) to chance, with its levels ½ and 1 as lines and the three points as markers.
    """
    figure = Figure(list(plane_traces(plane, landscape)))
    line = AXIS | {"showgrid": False}
    a, b = literal(plane.a), literal(plane.b)
    wide, high = (float(side[-1] - side[0]) for side in (plane.x, plane.y))
    figure.update_layout(
        xaxis={
            **line, "title": {"text": f"ℓ2 distance from w, along Δw of {a}", "font": {"size": 13}},
            "range": [float(plane.x[0]), float(plane.x[-1])],
        },
        yaxis={
            **line, "scaleanchor": "x", "scaleratio": 1,
            "title": {"text": f"at right angles,<br>towards {b}", "standoff": 12, "font": {"size": 13}},
            "range": [float(plane.y[0]), float(plane.y[-1])],
        },
        **BLANK, hovermode="closest", hoverlabel={"align": "left", "bgcolor": "white"}, margin={"l": 92},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": -0.18, "yanchor": "top", "font": {"size": 12}},
    )  # fmt: skip
    across = min(_PLANE_WIDTH, _PLANE_HEIGHT * wide / high)
    height, named = round(across * high / wide), [i for i, trace in enumerate(figure.data) if trace.type == "scatter"]
    return fitted(
        figure, cells=[Cell(0, 0, height, height)], top=114, aspect=high / wide, width=round(across), names=named
    )  # fmt: skip


def _axis(letter: str, panel: int) -> str:
    """Name the axis of a panel: ``x`` for the first, ``x2`` for the second."""
    return letter if panel == 1 else f"{letter}{panel}"


def _axis_menu(figure: Figure, landscape: SurveyResult, frame: Frame) -> dict[str, Any]:
    """Return buttons that divide every abscissa by a length, and the view with it."""
    buttons = []
    for unit in units(landscape):
        x = [[None if v is None else v / unit.length for v in trace.x] for trace in figure.data]
        changes: dict[str, Any] = {}
        for panel in range(1, len(panels(landscape)) + 1):
            axis = f"xaxis{_axis('', panel)}"
            changes |= {f"{axis}.range": [end / unit.length for end in frame.x], f"{axis}.title.text": unit.title}
        buttons.append({"label": unit.label, "method": "update", "args": [{"x": x}, changes]})
    return _menu(buttons, left=0.0, anchor="left")


def _bits_menu(figure: Figure, landscape: SurveyResult) -> list[dict[str, Any]]:
    """Return buttons that show one bit width or all; none with fewer than two bit widths."""
    widths = bit_widths(landscape)
    if len(widths) < 2:
        return []
    indices = [i for i, trace in enumerate(figure.data) if trace.meta and "bits" in trace.meta]
    owned = [figure.data[i] for i in indices]
    everything = {"visible": [True] * len(owned), "text": [list(trace.text or ()) for trace in owned]}
    buttons = [{"label": "all bits", "method": "restyle", "args": [everything, indices]}]
    for bits in widths:
        # The labels that were left out for want of room have it once there is one bit width alone.
        own = [trace.meta["bits"] in (None, bits) for trace in owned]
        chosen = {"visible": own, "text": [list(trace.meta["label"]) for trace in owned]}
        buttons.append({"label": width_text(bits, landscape.points), "method": "restyle", "args": [chosen, indices]})
    return [_menu(buttons, left=1.0, anchor="right")]


def _menu(buttons: list[dict[str, Any]], left: float, anchor: str) -> dict[str, Any]:
    return {
        "type": "buttons", "direction": "right", "buttons": buttons, "x": left, "xanchor": anchor, "y": 1.08,
        "yanchor": "bottom", "pad": {"l": 0, "r": 0, "t": 0, "b": 0}, "bgcolor": "white", "font": {"size": 12},
        "bordercolor": "#bbbbbb", "showactive": True,
    }  # fmt: skip


def _lay_out(figure: Figure, landscape: SurveyResult, frame: Frame) -> None:
    """Set axes, titles and legend."""
    splits, unit = panels(landscape), units(landscape)[0]
    width = (1 - _GAP * (len(splits) - 1)) / len(splits)
    for i, split in enumerate(splits):
        left, suffix = i * (width + _GAP), "" if i == 0 else str(i + 1)
        figure.update_layout({
            f"xaxis{suffix}": {
                **AXIS, "domain": [left, min(1.0, left + width)], "anchor": f"y{suffix}", "range": list(frame.x),
                "title": {"text": unit.title, "standoff": 8}, **({"matches": "x"} if i else {}),
            },
            f"yaxis{suffix}": {
                **AXIS, "anchor": f"x{suffix}", "range": list(frame.y), "showticklabels": i == 0,
                **({"matches": "y"} if i else {"title": {"text": "NLL (nats per token)"}}),
            },
        })  # fmt: skip
        verdict = " (judged here)" if split == landscape.split else ""
        figure.add_annotation(
            text=f"<b>{literal(split)}</b>{verdict}", x=left, y=1.0, xref="paper", yref="paper", xanchor="left",
            yanchor="bottom", showarrow=False, font={"size": 13},
        )  # fmt: skip
    figure.update_layout(
        height=HEIGHT, autosize=True, margin={"l": 64, "r": 16, "t": 112, "b": 120}, **BLANK,
        hovermode="closest", hoverlabel={"align": "left", "bgcolor": "white"},
        legend={
            "orientation": "h", "x": 0, "xanchor": "left", "y": -0.155, "yanchor": "top", "font": {"size": 12},
            "groupclick": "togglegroup", "tracegroupgap": 0,
        },
    )  # fmt: skip


def _title(landscape: SurveyResult) -> dict[str, Any]:
    return {
        "text": literal(headline(landscape)), "x": 0, "xref": "paper", "y": 1, "yref": "container", "yanchor": "top",
        "pad": {"t": 14}, "font": {"size": 18},
    }  # fmt: skip
