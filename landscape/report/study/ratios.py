"""Draw how far quantization goes, in radii of the basin: ρ along random directions, ρ_Δ along Δw itself, by bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from landscape.formatting import equals, number
from landscape.report.chart import Axis, Band, Chart, Level, Look, Mark, Missing, Panel, Series, spanning
from landscape.report.palette import INK
from landscape.report.study.cells import (
    cells,
    grids,
    listed,
    method_label,
    method_look,
    quantized,
    surveys,
    width_names,
    widths,
)
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult, SurveyResult
from quant.scheme import width_label

NAME, TITLE = "radius", "The step of quantization in radii of the basin"
CAPTION = (
    "Upper row: ρ = ‖Δw‖/R by bit width; the line at 1 is R, the shaded band goes from r10 to r90 (a tenth and nine "
    "tenths of the way to chance) in units of R. Lower row: ρ_Δ = ‖Δw‖/R(Δw), with R along Δw itself: a point beyond 1 "
    "has lost half of the way to chance on its own line. Arrows are upper bounds, where the loss along Δw never rose "
    "half of the way. Bars are 95 % intervals."
)


@dataclass(frozen=True)
class Ratio:
    """A ratio of ‖Δw‖ to a radius."""

    value: float
    low: float
    high: float
    bound: bool
    """Whether the radius is censored, and the value an upper bound."""


def rho_along(point: PointResult) -> Ratio | None:
    """Return ρ_Δ = ‖Δw‖ / R along Δw; an upper bound if R is censored, None without R or any bound of it."""
    along = point.along
    if along is None:
        return None
    if along.value is None:
        return Ratio(point.distance / along.low, 0.0, math.nan, True) if along.low > 0 else None
    if along.value <= 0:
        return None
    low = point.distance / along.high if math.isfinite(along.high) else 0.0
    return Ratio(point.distance / along.value, low, point.distance / along.low if along.low > 0 else math.inf, False)


def rho(point: PointResult) -> Ratio | None:
    """Return ρ = ‖Δw‖ / R; None if R is censored."""
    found = point.rho
    return None if found is None else Ratio(found.value, found.low, found.high, False)


def ratios(study: StudyResult) -> Chart | Missing:
    """Describe ρ and ρ_Δ by bit width: a column of panels for each model."""
    models = [survey for survey in surveys(study) if cells(survey)]
    if not models:
        return Missing(NAME, TITLE, "The study has no quantized point.")
    bits = widths(models)
    upper = [survey for survey in models if survey.basin.radius.value is not None]
    lower = [survey for survey in models if any(rho_along(point) for point in quantized(survey))]
    rows = [tuple(_random(survey, bits) for survey in upper), tuple(_along(survey, bits) for survey in lower)]
    if not any(rows):
        return Missing(NAME, TITLE, "No radius was reached, along random directions or along Δw.")
    return Chart(NAME, _title(upper), CAPTION, tuple(row for row in rows if row), tuple(_notes(models)))


def _random(survey: SurveyResult, bits: Sequence[int]) -> Panel:
    basin, marks = survey.basin, list[Mark]()
    radius = basin.radius.value
    assert radius is not None  # of the models of the upper row
    if basin.r10.value is not None:
        outer = basin.r90.value if basin.r90.value is not None else basin.r90.low
        marks.append(
            Band("y", basin.r10.value / radius, max(outer, basin.r10.value) / radius, "border r10 to r90", 0.1)
        )
    marks.append(Level("y", 1.0, "‖Δw‖ = R", Look(INK, None, "dash", width=1.4)))
    marks += _by_method(survey, bits, along=False)
    names = width_names(bits, [survey])
    return _paneled(f"{survey.subject.model}: {equals('R', basin.radius, basin)}", "ρ = ‖Δw‖/R", names, marks)


def _along(survey: SurveyResult, bits: Sequence[int]) -> Panel:
    marks: list[Mark] = [Level("y", 1.0, "‖Δw‖ = R", Look(INK, None, "dash", width=1.4))]
    marks += _by_method(survey, bits, along=True)
    return _paneled(f"{survey.subject.model}: along Δw", "ρ_Δ = ‖Δw‖/R(Δw)", width_names(bits, [survey]), marks)


def _paneled(title: str, label: str, names: Sequence[str], marks: list[Mark]) -> Panel:
    ticks = tuple((float(i), name) for i, name in enumerate(names))
    drawn = [v for mark in marks if isinstance(mark, Series) for v in (*mark.y, *mark.low, *mark.high)]
    x = Axis("bit width", ticks=ticks, range=(-0.6, len(names) - 0.4))
    return Panel(
        title, x, Axis(f"{label} (logarithmic)", log=True, range=spanning([*drawn, 1.0], log=True)), tuple(marks)
    )


def _by_method(survey: SurveyResult, bits: Sequence[int], along: bool) -> Iterator[Series]:
    """Yield a series for each method on each grid, side by side, and the bounds as series of their own."""
    groups: dict[tuple[str, str], list[PointResult]] = {}
    for point in quantized(survey):
        if point.grid is not None and point.bits is not None:
            groups.setdefault((point.method, point.grid), []).append(point)
    for place, ((method, grid), points) in enumerate(groups.items()):
        shift = 0.12 * (place - (len(groups) - 1) / 2)
        several = f" {grid}" if len(grids(survey)) > 1 else ""
        found = [(point, (rho_along if along else rho)(point)) for point in points]
        for bound in (False, True):
            kept = [(p, r) for p, r in found if r is not None and r.bound is bound]
            if not kept:
                continue
            look = method_look(method, grids(survey).index(grid), dash=None)
            if bound:
                look = Look(look.color, "triangle-down", None, size=10, filled=False)
            name = method_label(method) + several + (", at most" if bound else "")
            yield Series(
                name, tuple(bits.index(p.bits or 0) + shift for p, _ in kept), tuple(r.value for _, r in kept), look,
                tuple(_hover(p, r, survey, along) for p, r in kept),
                () if bound else tuple(r.low for _, r in kept), () if bound else tuple(r.high for _, r in kept),
            )  # fmt: skip


def _hover(point: PointResult, ratio: Ratio, survey: SurveyResult, along: bool) -> str:
    symbol = "ρ_Δ" if along else "ρ"
    value = f"{symbol} is at most {number(ratio.value, 3)}" if ratio.bound else (
        f"{symbol} = {number(ratio.value, 3)} [{number(ratio.low, 3)}, {number(ratio.high, 3)}]"
    )  # fmt: skip
    away = f"‖Δw‖ = {number(point.distance, 4)} = {number(point.distance / survey.subject.norm, 3)} ‖w‖"
    return f"{survey.subject.model}: {point.name}\n{value}\n{away}\nlocation: {point.location}; loss: {point.loss}"


def _title(models: Sequence[SurveyResult]) -> str:
    beyond, within = [], []
    for survey in models:
        rounded = [(p.rho.value, p) for cell in cells(survey) if (p := cell.get("rtn")) and p.rho is not None]
        if not rounded:
            continue
        bits = [width_label(point.bits, point.grid) for ratio, point in rounded if ratio > 1]
        ratio, point = max(rounded, key=lambda each: each[0])
        most = f"ρ = {number(ratio, 2)} at {width_label(point.bits, point.grid)}"
        if bits:
            most = f"{'up to ' if len(bits) > 1 else ''}{most}"
            beyond.append(f"{listed(list(dict.fromkeys(bits)))} of {survey.subject.model} ({most})")
        else:
            within.append(f"{survey.subject.model} (at most {most})")
    said = [f"Rounding goes beyond R with {'; '.join(beyond)}"] if beyond else []
    said += [f"{'r' if said else 'R'}ounding stays within R at every bit width of {listed(within)}"] if within else []
    return "; ".join(said) or "The step of quantization in radii of the basin"


def _notes(models: Sequence[SurveyResult]) -> Iterator[str]:
    for survey in models:
        if survey.basin.radius.value is None:
            yield f"R of {survey.subject.model} was not reached: ρ is not drawn."
        elif survey.basin.r90.value is None:
            yield f"r90 of {survey.subject.model} was not reached: its band ends at the lower bound."
        if lacking := [p.name for p in quantized(survey) if rho_along(p) is None]:
            yield f"Without R along Δw for {survey.subject.model}: {', '.join(lacking)}."
