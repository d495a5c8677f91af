"""Build the radial figure, trace by trace, from the bottom layer to the top.

Everything with a horizontal position is a trace, the radius and its band too, so that the switch of the distance axis
rescales all of it alike. A trace is a plain mapping in the terms of plotly's ``scatter``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.estimators.basin import Basin
from landscape.formatting import equals, nats, number, rise_text
from landscape.report import palette
from landscape.report.plot import literal
from landscape.report.survey.verdicts import ratio_text
from landscape.report.survey.view import Frame, Ranges, bit_widths, points_view
from landscape.survey.result import Array, PointResult, RayProfile, SegmentResult, SurveyResult
from quant.scheme import width_label

PlotTrace = dict[str, Any]
_HOVER = "%{customdata}<extra></extra>"
_EVERY_BITS: PlotTrace = {"bits": None, "label": []}  # of legend entries and external points: seen with any bit width
_LABELS = {"wide": (0.015, 0.045), "narrow": (0.03, 0.066)}
"""Width of a letter and height of a label over those of a panel, with a little air: side by side, and on a phone."""
_TOP = {"R": 0.04, "band": 0.1}  # of the height of a panel, from its top down to the labels there, in two rows
_VERTICES = 40  # of R and chance: hovering finds vertices, so there must always be one near the pointer


def panel_traces(landscape: SurveyResult, split: str, frame: Frame) -> Iterator[PlotTrace]:
    """Yield all traces of one panel; those of one bit width name it in ``meta``, with their labels."""
    basin, norm = landscape.basins[split], landscape.subject.norm
    yield from _band(basin, frame)
    yield from _radius(basin, norm, frame)
    yield from _chance(basin, frame)
    yield from (_ray(ray, split, landscape) for ray in landscape.rays)
    by_name = {point.name: point for point in landscape.points}
    yield from (_segment(s, by_name, landscape) for s in landscape.segments if s.split == split)
    hover = f"w: the pretrained weights<br>NLL {nats(landscape.center[split])} on {literal(split)}"
    marker = {"color": "black", "size": 9}
    yield _scatter("w", "w", [0.0], [landscape.center[split]], [hover], mode="markers", marker=marker)
    bare = _bare_views(landscape, split, frame)
    drawn = [point for point in landscape.points if math.isfinite(point.nll[split])]
    for point in drawn:
        yield _point(point, split, landscape, [where for where, names in bare.items() if point.name in names])


def _bare_views(landscape: SurveyResult, split: str, frame: Frame) -> dict[str, set[str]]:
    """Return the names of the points without a label, by view: ``all  wide``, ``points 4 narrow``, as the page asks."""
    found = {}
    for bits in (None, *bit_widths(landscape)):
        chosen = replace(landscape, points=tuple(p for p in landscape.points if bits is None or p.bits in (None, bits)))
        for view, ranges in (("all", frame), ("points", points_view(landscape, bits))):
            for room in _LABELS:
                found[f"{view} {bits or ''} {room}"] = crowded(chosen, split, ranges, room)
    return found


def legend_entries(landscape: SurveyResult) -> Iterator[PlotTrace]:
    """Yield one entry per group, a trace without data: it stays when the traces of a bit width are switched off."""
    by_name = {point.name: point for point in landscape.points}

    def entry(label: str, group: str, **look: Any) -> PlotTrace:
        return _scatter(label, group, [None], [None], None, **look) | {"showlegend": True}

    def line(color: str, dash: str = "solid", width: float = 1.6) -> dict[str, Any]:
        return {"mode": "lines", "line": {"color": color, "dash": dash, "width": width}}

    yield entry("w", "w", mode="markers", marker={"color": "black", "size": 9})
    if landscape.rays:
        yield entry("random directions", "rays", **line(palette.RAY, width=0.9))
    for group, point in {_group(p, landscape): p for p in landscape.points}.items():
        marker = _marker(point, landscape) | {"size": 10}
        yield entry(group, group, mode="markers", marker=marker, meta=_EVERY_BITS)
    for kind, stroke in {_kind(s, by_name): _stroke(s, by_name) for s in landscape.segments}.items():
        yield entry(kind, kind, meta=_EVERY_BITS, **line(stroke.color, stroke.dash, 2))
    yield entry("radius R and its interval", "R", **line(palette.INK))
    if any(basin.r10.value is not None for basin in landscape.basins.values()):
        square = {"symbol": "square", "size": 13, "color": "rgba(0, 0, 0, 0.12)"}
        yield entry("border r10 to r90", "band", mode="markers", marker=square)
    yield entry("chance ln|V|", "chance", **line(palette.INK, "dash", 1.2))


def crowded(landscape: SurveyResult, split: str, frame: Ranges, room: str = "wide") -> set[str]:
    """Return the names of the points whose label would cover another one, another marker, or the axis.

    The lower bit width keeps its label; the others show theirs when their bit width is chosen.

    Args:
        landscape: The survey.
        split: The split of the panel.
        frame: The ranges of the panel.
        room: ``wide`` for panels side by side, ``narrow`` for panels as wide as a phone.
    """
    wide, high = _LABELS[room]
    letter, high = wide * (frame.x[1] - frame.x[0]), high * (frame.y[1] - frame.y[0])
    # What takes room: abscissa and ordinate of the middle, and the width; a marker's is that of four letters.
    markers = {"w": (0.0, landscape.center[split], 4 * letter)}
    markers |= {point.name: (point.distance, point.nll[split], 4 * letter) for point in landscape.points}
    placed: list[tuple[float, float, float]] = []
    labelled: list[PointResult] = []
    for point in sorted(landscape.points, key=lambda p: p.bits or 0):
        side, wide = palette.mark(point.method).text, letter * len(_label(point))
        x = point.distance + (wide if "right" in side else -wide)
        y = point.nll[split] + (high if "top" in side else -high)
        taken = [*placed, *(marker for name, marker in markers.items() if name != point.name)]
        inside = frame.x[0] <= x - wide / 2 and x + wide / 2 <= frame.x[1]
        if inside and all(abs(x - at) > (wide + width) / 2 or abs(y - height) > high for at, height, width in taken):
            placed.append((x, y, wide))
            labelled.append(point)
    return {point.name for point in landscape.points if point not in labelled}


# ---- the basin ------------------------------------------------------------------------------------------------------


def _band(basin: Basin, frame: Frame) -> Iterator[PlotTrace]:
    """Draw the border from r10 to r90; where the loss never gets to r90, up to the lower bound of r90."""
    if basin.r10.value is None:
        return
    inner, known = basin.r10.value, basin.r90.value is not None
    outer = max(inner, basin.r90.low) if basin.r90.value is None else basin.r90.value
    yield _shade(inner, outer, "band", palette.BAND, frame)
    labels = [" r10", " r90" if known else " r90 is farther out"]
    if not known and basin.radius.value is None:
        labels[1] = ""  # R's label says it
    yield _scatter(
        "band", "band", [inner, outer], [_height("band", frame)] * 2, None, mode="text", text=labels,
        textposition="middle right", textfont={"size": 11, "color": "#666666"}, meta={"heading": _TOP["band"]},
    )  # fmt: skip


def _radius(basin: Basin, norm: float, frame: Frame) -> Iterator[PlotTrace]:
    """Draw R and its interval; a dotted line at its lower bound if it is censored."""
    radius = basin.radius
    if radius.value is not None and math.isfinite(radius.high):
        yield _shade(radius.low, radius.high, "R", palette.RADIUS, frame)
    known = radius.value is not None
    at = radius.low if radius.value is None else radius.value
    if not known and at == 0:  # no bound at all: there is nothing to draw
        return
    words = "<br>".join(
        [equals("R", radius, basin), equals("R/‖w‖", radius, basin, norm)]
        + [equals(name, c, basin) for name, c in (("r10", basin.r10), ("r90", basin.r90))]
    )
    y = [*np.linspace(frame.y[0], frame.y[1], _VERTICES).tolist(), frame.drawn[1]]
    line = {"color": palette.INK, "width": 1.6, "dash": "solid" if known else "dot"}
    yield _scatter("R", "R", [at] * len(y), y, [words] * len(y), mode="lines", line=line)
    label = " R" if known else " R and r90 are farther out"
    yield _scatter(
        "R", "R", [at], [_height("R", frame)], None, mode="text", text=[label], textposition="middle right",
        textfont={"size": 13, "color": palette.INK}, meta={"heading": _TOP["R"]},
    )  # fmt: skip


def _chance(basin: Basin, frame: Frame) -> Iterator[PlotTrace]:
    x = np.linspace(0.0, frame.x[1], _VERTICES).tolist()
    hover = [f"chance: ln|V| = {nats(basin.chance)}"] * len(x)
    line = {"color": palette.INK, "width": 1.2, "dash": "dash"}
    yield _scatter("chance", "chance", x, [basin.chance] * len(x), hover, mode="lines", line=line)


def _shade(left: float, right: float, name: str, color: str, frame: Frame) -> PlotTrace:
    low, high = frame.drawn
    return _scatter(
        name, name, [left, left, right, right], [low, high, high, low], None, mode="lines", line={"width": 0},
        fill="toself", fillcolor=color,
    )  # fmt: skip


def _height(name: str, frame: Frame) -> float:
    """Return the ordinate of a label at the top of a panel."""
    return frame.y[1] - _TOP[name] * (frame.y[1] - frame.y[0])


# ---- rays, segments, points -----------------------------------------------------------------------------------------


def _ray(ray: RayProfile, split: str, landscape: SurveyResult) -> PlotTrace:
    x = [0.0, *_plain(ray.lambdas)]
    y = [landscape.center[split], *_plain(ray.nll[split])]
    name, norm = f"direction {ray.index}", landscape.subject.norm
    hover = [f"random {name}<br>{_place(lam, norm)}<br>NLL {_nats(nll)}" for lam, nll in zip(x, y, strict=True)]
    return _scatter(name, "rays", x, y, hover, mode="lines", line={"color": palette.RAY, "width": 0.9})


def _segment(segment: SegmentResult, points: dict[str, PointResult], landscape: SurveyResult) -> PlotTrace:
    """Draw a segment against the true distance, from w on: α < 0 would be folded back onto the way to the point.

    Its ends lie under the markers of points; hovering finds either, so that they show the numbers of the points.
    """
    norm, ends = landscape.subject.norm, {0.0: segment.a, 1.0: segment.b}
    keep = segment.alphas >= 0 if segment.a == "w" else np.full(segment.alphas.shape, True)
    alphas, x, y = (_plain(values[keep]) for values in (segment.alphas, segment.distances, segment.nll))
    look, name = _stroke(segment, points), f"{segment.a} – {segment.b}"
    hover = [
        _point_hover(points[ends[alpha or 0.0]], segment.split, landscape)
        if ends.get(alpha or 0.0) in points
        else f"{literal(name)}, α = {number(alpha or 0.0, 3)}<br>{_place(lam, norm)}<br>NLL {_nats(nll)}"
        for alpha, lam, nll in zip(alphas, x, y, strict=True)
    ]
    return _scatter(
        name, _kind(segment, points), x, y, hover, mode="lines", meta={"bits": segment.bits, "label": []}, opacity=0.85,
        line={"color": look.color, "width": palette.width(segment.bits), "dash": look.dash},
    )  # fmt: skip


def _point(point: PointResult, split: str, landscape: SurveyResult, bare: list[str]) -> PlotTrace:
    """Draw a point; ``bare`` names the views in which its label has no room."""
    look, label = palette.mark(point.method), literal(_label(point))
    return _scatter(
        point.name, _group(point, landscape), [point.distance], [point.nll[split]],
        [_point_hover(point, split, landscape)], mode="markers+text", marker=_marker(point, landscape),
        text=["" if "all  wide" in bare else label], textposition=look.text, textfont={"size": 11, "color": look.color},
        meta={"bits": point.bits, "label": [label], "bare": bare},
    )  # fmt: skip


def _label(point: PointResult) -> str:
    """Return the label of a marker: the bit width or float format, or the name where that is not known."""
    return point.name if point.bits is None else width_label(point.bits, point.grid)


def _point_hover(point: PointResult, split: str, landscape: SurveyResult) -> str:
    lines = [
        f"<b>{literal(point.name)}</b>",
        f"‖Δw‖ = {_place(point.distance, landscape.subject.norm)}",
        f"ρ = ‖Δw‖/R = {ratio_text(point, landscape.basin)}" if point.rho else "ρ: R not reached",
        f"NLL {nats(point.nll[split])} on {literal(split)}",
        f"ΔL = {rise_text(point.rise[split])}",
        f"location: {point.location}; loss: {point.loss}",
    ]
    return "<br>".join(lines)


def _place(lam: float | None, norm: float) -> str:
    lam = math.nan if lam is None else lam
    return f"{number(lam)} = {number(lam / norm, 3)} ‖w‖"


# ---- looks ----------------------------------------------------------------------------------------------------------


def _scatter(name: str, group: str, x: list[Any], y: list[Any], hover: list[str] | None, **look: Any) -> PlotTrace:
    """Return a trace; Plotly reads markup in names, so they are escaped here."""
    seen = {"hoverinfo": "skip"} if hover is None else {"customdata": hover, "hovertemplate": _HOVER}
    label = {"name": literal(name), "legendgroup": literal(group), "showlegend": False}
    return {"type": "scatter", "x": x, "y": y, **label, **seen, **look}


def _grids(landscape: SurveyResult) -> list[str]:
    return list(dict.fromkeys(point.grid for point in landscape.points if point.grid is not None))


def _group(point: PointResult, landscape: SurveyResult) -> str:
    """Name the legend entry of a point: ``RTN``, or ``RTN absmax`` where there are several kinds of grid."""
    label = palette.mark(point.method).label
    return label if point.grid is None or len(_grids(landscape)) == 1 else f"{label} {point.grid}"


def _marker(point: PointResult, landscape: SurveyResult) -> dict[str, Any]:
    variant = 0 if point.grid is None else _grids(landscape).index(point.grid)
    open_line = {"color": palette.mark(point.method).color, "width": 2} if variant else {"color": "white", "width": 1}
    return {
        "color": palette.mark(point.method).color, "symbol": palette.symbol(point.method, variant),
        "size": palette.size(point.bits), "line": open_line,
    }  # fmt: skip


def _kind(segment: SegmentResult, points: dict[str, PointResult]) -> str:
    """Name the legend entry of a segment: ``w – RTN``."""
    ends = ("w" if end == "w" else palette.mark(points[end].method).label for end in (segment.a, segment.b))
    return " – ".join(ends)


def _stroke(segment: SegmentResult, points: dict[str, PointResult]) -> palette.Stroke:
    start = None if segment.a == "w" else points[segment.a].method
    return palette.stroke(start, points[segment.b].method)


def _plain(values: Array) -> list[float | None]:
    """Return a list that JSON can hold: None, a gap in the line, where a value is not finite."""
    return [float(v) if math.isfinite(v) else None for v in values]


def _nats(value: float | None) -> str:
    return "not finite" if value is None else nats(value)
