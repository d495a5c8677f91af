"""Choose what part of a landscape the radial figure shows, in which units, and name what cannot be seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from landscape.formatting import number
from landscape.report.plot import literal
from landscape.survey.result import Array, PointResult, SurveyResult
from quant.scheme import width_label

ABOVE_CHANCE = 1.5
"""Rays and segments are shown up to this many times ``C − L(w)`` above chance; points and chance always."""

_FLAT = 1e-3  # of the way from L(w) to chance: the least height of a zoomed view, so that noise does not fill it


@dataclass(frozen=True)
class Ranges:
    """A visible part of the plane, in absolute distances."""

    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True)
class Frame(Ranges):
    """The part of the plane that is visible when the figure opens."""

    drawn: tuple[float, float]
    """Lowest and highest ordinate of anything drawn: the band reaches that far when the view is widened."""
    hidden: int
    """Number of values of rays and segments above the view."""


@dataclass(frozen=True)
class Unit:
    """A position of the switch of the distance axis."""

    label: str
    """Text of the button."""
    title: str
    """Title of the axis."""
    length: float
    """Divisor of distances."""


def panels(landscape: SurveyResult) -> list[str]:
    """Return the splits with a radial profile, the training split first."""
    return sorted(landscape.basins, key=lambda split: (split != "train", split))


def omissions(landscape: SurveyResult) -> list[str]:
    """Say what was measured but cannot be seen in the figure as it opens; nothing if all of it can."""
    said = []
    if hidden := view(landscape).hidden:
        some = "1 value lies" if hidden == 1 else f"{hidden} values lie"
        said.append(f"{some} above the plotted range; the button “everything” shows the whole range.")
    for split in panels(landscape):
        lost = [point.name for point in landscape.points if not math.isfinite(point.nll[split])]
        if lost:
            said.append(f"Not drawn, since the NLL on {split} is not finite: {', '.join(lost)}.")
    gaps = sum(int((~np.isfinite(line)).sum()) for line in _line_values(landscape))
    if gaps:
        said.append(f"The lines have {gaps} gaps where the NLL is not finite.")
    return said


def units(landscape: SurveyResult) -> list[Unit]:
    """Return the positions of the axis switch; one divides by ‖Δw‖ of RTN's lowest bit width, if it was made."""
    norm = landscape.subject.norm
    found = [
        Unit("distance", "ℓ2 distance from w", 1.0),
        Unit("÷ ‖w‖", f"ℓ2 distance from w, in units of ‖w‖ = {number(norm)}", norm),
    ]
    rounded = [p for p in landscape.points if p.method == "rtn" and p.distance > 0]
    if rounded:
        rtn = min(rounded, key=lambda p: p.bits or 0)
        name, length = literal(rtn.name), number(rtn.distance)
        title = f"ℓ2 distance from w, in units of ‖Δw‖ = {length} of {name}"
        found.append(Unit(f"÷ ‖Δw‖ of RTN {width_label(rtn.bits, rtn.grid)}", title, rtn.distance))
    return found


def bit_widths(landscape: SurveyResult) -> list[int]:
    """Return the bit widths of the points, highest first."""
    return sorted({point.bits for point in landscape.points if point.bits}, reverse=True)


def width_text(bits: int, points: Iterable[PointResult]) -> str:
    """Write a bit width: ``int4`` for integers, ``nvfp4`` if it is that of one float format alone, else ``4 bits``.

    Args:
        bits: The bit width.
        points: All points, those of other widths included.
    """
    names = {width_label(point.bits, point.grid) for point in points if point.bits == bits}
    return names.pop() if len(names) == 1 else f"{bits} bits"


def points_view(landscape: SurveyResult, bits: int | None = None) -> Ranges:
    """Return ranges that show w and the points with room for their labels, as near as that allows.

    Args:
        landscape: The survey.
        bits: Show the points of this bit width, and those without one; None for all.
    """
    splits, frame = panels(landscape), view(landscape)
    points = [p for p in landscape.points if bits is None or p.bits in (None, bits)]
    heights = [landscape.center[split] for split in splits] + [p.nll[split] for p in points for split in splits]
    heights = [height for height in heights if math.isfinite(height)]
    right = max((p.distance for p in points), default=0.0) or frame.x[1]  # all at w: the whole axis
    least = _FLAT * (landscape.subject.chance - min(heights))  # equal losses have no height of their own
    pad = 0.18 * max(max(heights) - min(heights), least)
    return Ranges((-0.16 * right, 1.16 * right), (min(heights) - pad, max(heights) + pad))


def view(landscape: SurveyResult) -> Frame:
    """Return ranges that show every point, chance, and the rays' plateau."""
    splits = panels(landscape)
    distances = [p.distance for p in landscape.points]
    lines = [s.distances for s in landscape.segments] + [ray.lambdas for ray in landscape.rays]
    right = max([*distances, *(float(line.max()) for line in lines)], default=landscape.subject.norm)
    chance, base = landscape.subject.chance, min(landscape.center[split] for split in splits)
    must = [chance, *(landscape.center[s] for s in splits), *(p.nll[s] for p in landscape.points for s in splits)]
    must = [value for value in must if math.isfinite(value)]
    may = np.concatenate([np.ravel(line) for line in _line_values(landscape)] or [np.array(must)])
    may = may[np.isfinite(may)]
    low, high = min([*must, *may]), max([*must, *may])
    top = max(max(must), min(high, chance + ABOVE_CHANCE * (chance - base)))
    pad = 0.06 * (top - low)
    return Frame(
        x=(-0.05 * right, 1.04 * right),
        y=(low - 1.5 * pad, top + 2.5 * pad),  # above, room for the names of R, r10 and r90
        drawn=(low - 1.5 * pad, high + 2.5 * pad),
        hidden=int((may > top + 2.5 * pad).sum()),
    )


def _line_values(landscape: SurveyResult) -> Iterator[Array]:
    """Yield the ordinates of all rays and segments that are drawn."""
    for split in panels(landscape):
        yield from (ray.nll[split] for ray in landscape.rays)
        yield from (s.nll for s in landscape.segments if s.split == split)
