"""Draw Figures 3 and 6 of Xu et al. 2024 and the planes: the loss against the distance from w, and across it."""

from __future__ import annotations

import math

import numpy as np

from landscape.formatting import distance_text, equals, nats, number
from landscape.report import palette
from landscape.report.chart import Axis, Band, Chart, Level, Look, Mark, Missing, Panel, Series, Surface
from landscape.report.palette import INK, RAY
from landscape.report.plot import Figure
from landscape.report.study.cells import grids, is_control, listed, method_label, method_look, slugs
from landscape.report.survey.controls import Controls, controls
from landscape.report.survey.figures import plane_figure, radial_figure
from landscape.report.survey.view import omissions, panels, view
from landscape.report.survey.wording import plane_sentences
from landscape.study.result import StudyResult
from landscape.survey.result import PlaneResult, PointResult, SegmentResult, SurveyResult
from quant.scheme import width_label

BEYOND = 1.25
"""Largest u with a colour of its own."""
CAPTION = (
    "Figures 3 and 6 of the paper: NLL against the ℓ2 distance from w. Thin grey lines are random directions, markers "
    "quantized weights with their bit width, lines the straight segments between them and w. The vertical line is R, "
    "the shaded band goes from r10 to r90, the dashed horizontal line is chance, ln|V|."
)


def radial(survey: SurveyResult, slug: str) -> Chart | Missing:
    """Describe the radial landscape of one model: a panel for each split with a profile."""
    name, splits = f"figure-3-{slug}", panels(survey)
    if not survey.rays:
        title = f"The radial landscape, {survey.subject.model}"
        return Missing(name, title, f"No random direction of {survey.subject.model} was probed.")
    row = tuple(_radial_panel(survey, split) for split in splits)
    return Chart(name, _radial_title(survey), CAPTION, (row,), tuple(omissions(survey)))


def planes(survey: SurveyResult, slug: str) -> list[Chart | Missing]:
    """Describe the planes of one model."""
    if not survey.planes:
        title = f"The plane through w, GPTQ and QAFT, {survey.subject.model}"
        return [Missing(f"plane-{slug}", title, f"No plane of {survey.subject.model} was probed.")]
    return [_plane_chart(plane, survey, _plane_id(slug, i)) for i, plane in enumerate(survey.planes, start=1)]


def interactive(study: StudyResult) -> dict[str, Figure]:
    """Return the figures that a page draws with more than a chart describes, by the name of their chart."""
    found: dict[str, Figure] = {}
    for model, slug in zip(study.models, slugs(study), strict=True):
        if model.survey.rays:
            found[f"figure-3-{slug}"] = radial_figure(model.survey, bare=True)
        for i, plane in enumerate(model.survey.planes, start=1):
            found[_plane_id(slug, i)] = plane_figure(plane, model.survey)
    return found


def radial_controls(study: StudyResult) -> dict[str, Controls]:
    """Return the buttons above the radial figures, by the name of their chart."""
    named = zip(study.models, slugs(study), strict=True)
    return {f"figure-3-{slug}": controls(model.survey) for model, slug in named if model.survey.rays}


def _plane_id(slug: str, number: int) -> str:
    return f"plane-{slug}-{number}"


# ---- radial ----------------------------------------------------------------------------------------------------------


def _radial_panel(survey: SurveyResult, split: str) -> Panel:
    basin, frame, marks = survey.basins[split], view(survey), list[Mark]()
    if basin.r10.value is not None:
        outer = basin.r90.low if basin.r90.value is None else basin.r90.value
        marks.append(Band("x", basin.r10.value, max(outer, basin.r10.value), "border r10 to r90"))
    if basin.radius.value is not None:
        marks.append(Level("x", basin.radius.value, "R", Look(INK, None, "solid", width=1.6)))
    marks.append(Level("y", basin.chance, "chance ln|V|", Look(INK, None, "dash", width=1.2)))
    for ray in survey.rays:
        x = (0.0, *map(float, ray.lambdas))
        y = (survey.center[split], *map(float, ray.nll[split]))
        hover = tuple(
            f"direction {ray.index}\nℓ2 distance {number(a)}\nNLL {nats(b)}" for a, b in zip(x, y, strict=True)
        )
        marks.append(Series("random directions", x, y, Look(RAY, None, "solid", width=0.8), hover))
    methods = {point.name: point.method for point in survey.points}
    marks += [_segment(s, methods) for s in survey.segments if s.split == split]
    marks += _radial_points(survey, split)
    x_axis = Axis("ℓ2 distance from w", range=frame.x)
    return Panel(f"{survey.subject.model}, {split}", x_axis, Axis("NLL (nats per token)", range=frame.y), tuple(marks))


def _segment(segment: SegmentResult, methods: dict[str, str]) -> Series:
    keep = segment.alphas >= 0 if segment.a == "w" else np.full(segment.alphas.shape, True)
    alphas, x, y = (tuple(map(float, values[keep])) for values in (segment.alphas, segment.distances, segment.nll))
    start = None if segment.a == "w" else methods[segment.a]
    stroke = palette.stroke(start, methods[segment.b])
    name = f"{'w' if start is None else method_label(start)} – {method_label(methods[segment.b])}"
    look = Look(stroke.color, None, stroke.dash, width=palette.width(segment.bits), opacity=0.85)  # type: ignore[arg-type]
    hover = tuple(
        f"{segment.a} – {segment.b}, α = {number(a, 3)}\nℓ2 distance {number(d)}\nNLL {nats(n)}"
        for a, d, n in zip(alphas, x, y, strict=True)
    )
    return Series(name, x, y, look, hover)


def _radial_points(survey: SurveyResult, split: str) -> list[Series]:
    base = survey.center[split]
    found = [Series("w", (0.0,), (base,), Look("black", "circle", size=9), (f"w\nNLL {nats(base)}",))]
    for point in survey.points:
        if not math.isfinite(point.nll[split]):
            continue
        variant = grids(survey).index(point.grid) if point.grid is not None else 0
        several = f" {point.grid}" if point.grid and len(grids(survey)) > 1 else ""
        look = method_look(point.method, variant, dash=None, size=palette.size(point.bits) * 0.8)
        label = "" if is_control(point) else point.name if point.bits is None else _bits(point)
        hover = f"{point.name}\n‖Δw‖ = {number(point.distance)}\nNLL {nats(point.nll[split])}"
        found.append(
            Series(
                method_label(point.method) + several, (point.distance,), (point.nll[split],), look, (hover,),
                labels=(label,), side=palette.mark(point.method).text,  # type: ignore[arg-type]
            )
        )  # fmt: skip
    return found


def _bits(point: PointResult) -> str:
    """Write the bits of an integer grid, or the name of a float format."""
    return width_label(point.bits, point.grid).removeprefix("int")


def _short(point: PointResult) -> str:
    return f"{method_label(point.method)} {width_label(point.bits, point.grid)}"


def _radial_title(survey: SurveyResult) -> str:
    basin, model = survey.basin, survey.subject.model
    if basin.radius.value is None:
        return f"{model}: {equals('the radius R', basin.radius, basin)}"
    share = f"{number(basin.radius.value / survey.subject.norm, 2)} ‖w‖"
    lost = [_short(p) for p in survey.points if p.bits is not None and p.loss == "lost"]
    inside = [_short(p) for p in survey.points if p.loss == "lost" and p.location == "inside"]
    said = f"{model}: half of the way to chance is reached at R = {distance_text(basin.radius, basin)}"
    said += f", {share}"
    if inside:
        return f"{said}; {listed(inside)} lost within the basin"
    return f"{said}; lost: {listed(lost)}" if lost else f"{said}; no point is lost"


# ---- planes ----------------------------------------------------------------------------------------------------------


def _plane_chart(plane: PlaneResult, survey: SurveyResult, name: str) -> Chart:
    u = np.clip(plane.saturation(survey.subject.chance), -1.0, None)
    surface = Surface(
        tuple(map(float, plane.x)), tuple(map(float, plane.y)),
        tuple(tuple(float(v) if math.isfinite(v) else math.nan for v in row) for row in u),
        "u: share of the way from L(w) to chance", (0.0, BEYOND),
        ((0.5, "u = ½: the basin’s border", "solid"), (1.0, "u = 1: chance, ln|V|", "dash")),
    )  # fmt: skip
    marks: list[Mark] = [surface]
    for label, method in (("w", None), (plane.a, "gptq"), (plane.b, "qaft")):
        x, y = plane.places[label]
        look = Look("black", "x", size=11) if method is None else method_look(method, dash=None, size=12.0)
        hover = f"{label}\nNLL {nats(plane.point_nll[label])} on {plane.split}"
        marks.append(Series(label, (x,), (y,), look, (hover,)))
    ends = [(float(side[0]), float(side[-1])) for side in (plane.x, plane.y)]
    axes = (
        Axis(f"ℓ2 distance from w along Δw of {plane.a}", range=ends[0]),
        Axis(f"at right angles, towards {plane.b}", range=ends[1]),
    )
    base, model = plane.point_nll["w"], survey.subject.model
    ways = [(plane.point_nll[p] - base) / (survey.subject.chance - base) for p in (plane.a, plane.b)]
    shares = [f"{way:.0%}" if math.isfinite(way) else "beyond all" for way in ways]
    title = f"{model}: {plane.a} is {shares[0]} of the way from L(w) to chance, {plane.b} {shares[1]}"
    lines = "The solid line is u = ½, the border of the basin, the dashed one chance."
    caption = " ".join([*plane_sentences(plane, survey), lines])
    return Chart(name, title, caption, ((Panel("", *axes, tuple(marks)),),))
