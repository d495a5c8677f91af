"""Sum up a landscape in a strip of verdicts: one line a grid, one cell a method, understood in five seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from landscape.estimators.location import Location, Loss
from landscape.formatting import number
from landscape.report import palette
from landscape.report.perplexity_change import change_text
from landscape.report.survey.verdicts import is_steep
from landscape.session.point_methods import METHODS
from landscape.survey.result import PointResult, SurveyResult
from quant.scheme import grid_label

SIGNS: dict[Loss, str] = {"kept": "✓", "inconclusive": "?", "degraded": "↑", "lost": "✕"}
"""A sign beside each word for a loss, for readers who do not see colours."""


@dataclass(frozen=True)
class Cell:
    """Verdict on one method on one grid."""

    method: str
    loss: Loss
    sign: str
    change: str
    """Change of perplexity against w."""
    location: Location
    steep: bool
    """Whether it lies inside the basin, and yet is shown to be steeper than random directions."""
    size: str
    """Bits per weight, where methods of the line differ in them; else empty."""


@dataclass(frozen=True)
class Line:
    """All methods on one grid, or one point of another tool."""

    name: str
    size: str
    """Bits per weight, where they are known and all its points take as many; else empty."""
    cells: tuple[Cell | None, ...]
    """A cell for each method of the strip, None where the method was not asked for."""


@dataclass(frozen=True)
class Strip:
    """The strip; without lines there is nothing to judge."""

    methods: tuple[str, ...]
    lines: tuple[Line, ...]
    others: tuple[Line, ...]
    """Points of other tools, with one cell each."""


def verdict_strip(landscape: SurveyResult) -> Strip:
    """Return the strip: lines by bit width, highest first, then by grid; methods that need no grid are left out."""
    points = [p for p in landscape.points if p.bits is not None and p.method in METHODS]
    points = [p for p in points if METHODS[p.method].needs_grid]
    methods = list(dict.fromkeys(p.method for p in points))
    grids = list(dict.fromkeys((p.bits, p.grid) for p in points))
    grids.sort(key=lambda grid: -(grid[0] or 0))  # stable: the kinds of grid keep their order
    lines = []
    for grid in grids:
        own = {p.method: p for p in points if (p.bits, p.grid) == grid}
        cells = [own.get(method) for method in methods]
        lines.append(_line(grid_label(*grid, between=" "), cells, landscape))
    others = tuple(_line(p.name, [p], landscape) for p in landscape.points if p.method not in METHODS)
    return Strip(tuple(palette.mark(method).label for method in methods), tuple(lines), others)


def _line(name: str, points: Iterable[PointResult | None], landscape: SurveyResult) -> Line:
    points = list(points)
    sizes = {_size(point) for point in points if point is not None}
    shared = sizes.pop() if len(sizes) == 1 else ""
    return Line(name, shared, tuple(_cell(point, landscape, sized=not shared) for point in points))


def _size(point: PointResult) -> str:
    return "" if point.size is None else f"{number(point.size.space_bits, 3)} bits/weight"


def _cell(point: PointResult | None, landscape: SurveyResult, sized: bool) -> Cell | None:
    if point is None:
        return None
    return Cell(
        method=palette.mark(point.method).label if point.method in METHODS else "",
        loss=point.loss,
        sign=SIGNS[point.loss],
        change=change_text(point.rise[landscape.split]),
        location=point.location,
        steep=point.location == "inside" and point.loss != "kept" and is_steep(point, landscape),
        size=_size(point) if sized else "",
    )
