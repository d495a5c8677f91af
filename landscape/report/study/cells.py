"""Find what the figures of a study share: its cells, names, splits, and the looks of bit widths and grids."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from landscape.formatting import number
from landscape.report import palette
from landscape.report.chart import Look
from landscape.report.survey.view import width_text
from landscape.session.point_methods import METHODS
from landscape.session.request import TEST_SPLIT
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult, SurveyResult
from quant.scheme import grid_label, width_label

_BIT_LOOKS = {
    8: ("#0072B2", "circle"), 6: ("#56B4E9", "square"), 5: ("#CC79A7", "hexagon"), 4: ("#009E73", "diamond"),
    3: ("#E69F00", "triangle-up"), 2: ("#D55E00", "triangle-down"), 7: ("#CC79A7", "pentagon"), 1: ("#222222", "star"),
}  # fmt: skip
"""Colour and marker of a bit width, where they stand for it and not for a method."""
_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True, eq=False)
class Cell:
    """The points of one bit width on one grid."""

    bits: int
    grid: str
    points: Mapping[str, PointResult]
    """By method."""

    def get(self, method: str) -> PointResult | None:
        """Return the point of a method; None if it was not made."""
        return self.points.get(method)


def cells(survey: SurveyResult) -> list[Cell]:
    """Return the cells of a model: grid by grid, the highest bit width first."""
    found: dict[tuple[str, int], dict[str, PointResult]] = {}
    for point in survey.points:
        if point.bits is not None and point.grid is not None:
            found.setdefault((point.grid, point.bits), {})[point.method] = point
    order = grids(survey)
    keys = sorted(found, key=lambda key: (order.index(key[0]), -key[1]))
    return [Cell(bits, grid, found[grid, bits]) for grid, bits in keys]


def grids(survey: SurveyResult) -> list[str]:
    """Return the grids of a model in the order of its points."""
    return list(dict.fromkeys(point.grid for point in survey.points if point.grid is not None))


def widths(surveys: Iterable[SurveyResult]) -> list[int]:
    """Return the bit widths of some models, the highest first."""
    return sorted({p.bits for survey in surveys for p in survey.points if p.bits is not None}, reverse=True)


def surveys(study: StudyResult) -> list[SurveyResult]:
    """Return the landscapes of a study."""
    return [model.survey for model in study.models]


def cell_name(cell: Cell, survey: SurveyResult) -> str:
    """Write ``int4``, or ``int4 absmax`` where the model has several grids; ``nvfp4`` for a float format."""
    if len(grids(survey)) > 1:
        return grid_label(cell.bits, cell.grid, between=" ")
    return width_label(cell.bits, cell.grid)


def width_names(bits: Iterable[int], surveys: Iterable[SurveyResult]) -> tuple[str, ...]:
    """Write bit widths of some models: ``int4``, or ``4 bits`` where points of a float format have them too."""
    points = [point for survey in surveys for point in survey.points]
    return tuple(width_text(width, points) for width in bits)


def listed(names: Sequence[str]) -> str:
    """Write ``a``, ``a and b`` or ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def slugs(study: StudyResult) -> list[str]:
    """Return a name for files and places for each model: letters, digits, dots and hyphens, no two alike."""
    found: list[str] = []
    for model in study.models:
        slug = base = re.sub(r"[^A-Za-z0-9.]+", "-", model.name).strip("-.") or "model"
        count = 1
        while slug in found:
            count += 1
            slug = f"{base}-{count}"
        found.append(slug)
    return found


@dataclass(frozen=True)
class SizeUnit:
    """A unit of the size of models."""

    name: str
    per_gb: float
    """How many make a gigabyte."""


def size_unit(models: Iterable[SurveyResult]) -> SizeUnit:
    """Return one unit for the sizes of some models: MB where the largest is below 0.1 GB."""
    sizes = [s for survey in models for s in (survey.center_size, *(p.size for p in survey.points)) if s is not None]
    largest = max((size.gigabytes for size in sizes), default=1.0)
    return SizeUnit("MB", 1000.0) if largest < 0.1 else SizeUnit("GB", 1.0)


def method_label(method: str) -> str:
    """Return a method's name as the field writes it."""
    return METHODS[method].label if method in METHODS else method


def bit_look(bits: int, variant: int = 0, **changes: object) -> Look:
    """Return the look of a bit width; open markers for all grids but the first."""
    color, symbol = _BIT_LOOKS.get(bits, (palette.INK, "x"))
    return Look(**{"color": color, "symbol": symbol, "filled": variant == 0, **changes})  # type: ignore[arg-type]


def bit_color(bits: int) -> str:
    """Return the colour of a bit width."""
    return _BIT_LOOKS.get(bits, (palette.INK, "x"))[0]


def method_look(method: str, variant: int = 0, **changes: object) -> Look:
    """Return the look of a method; open markers and other dashes for all grids but the first."""
    mark = palette.mark(method)
    look = {"color": mark.color, "symbol": mark.symbol, "dash": _DASHES[variant % 4], "filled": variant == 0}
    return Look(**{**look, **changes})  # type: ignore[arg-type]


def is_control(point: PointResult) -> bool:
    """Return whether a point is plain fine-tuning, the control of QAFT, and no quantized model."""
    return point.method in METHODS and not METHODS[point.method].needs_grid


def test_nll(point: PointResult) -> float | None:
    """Return the NLL on the test split; None if it was not measured or is not finite."""
    value = point.nll.get(TEST_SPLIT)
    return value if value is not None and math.isfinite(value) else None


def quantized(survey: SurveyResult) -> list[PointResult]:
    """Return the points without the controls."""
    return [point for point in survey.points if not is_control(point)]


def rate_text(rate: float) -> str:
    """Write a learning rate: ``1e-5``, ``2.5e-4``."""
    mantissa, exponent = f"{rate:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def p_text(p: float) -> str:
    """Write the p of a test: ``p = 0.031``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {number(p, 2)}"
