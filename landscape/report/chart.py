"""Describe a figure without drawing it: Plotly draws the description on a page, matplotlib in a file.

A ``Chart`` holds rows of panels, a ``Panel`` two axes and its marks. All texts are plain text: each renderer escapes
them. A value that is NaN is a gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from landscape.report.palette import INK

Dash = Literal["solid", "dash", "dot", "dashdot"]
Side = Literal["top left", "top center", "top right", "middle left", "middle right", "bottom left", "bottom center",
               "bottom right"]  # fmt: skip


@dataclass(frozen=True)
class Look:
    """The look of a series: colour, and a shape or a dash for readers who do not see colours."""

    color: str = INK
    symbol: str | None = None
    """Plotly's name of the marker; None without markers."""
    dash: Dash | None = None
    """Pattern of the line; None without a line."""
    size: float = 9.0
    """Diameter of the marker, in pixels."""
    width: float = 1.6
    """Width of the line, in pixels."""
    filled: bool = True
    """Whether the marker is filled; open ones stand for a second kind of grid, or for bounds."""
    opacity: float = 1.0


@dataclass(frozen=True)
class Series:
    """Values against values, joined by a line or not."""

    name: str
    """Entry in the legend; series of one name share it."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    look: Look
    hover: tuple[str, ...] = ()
    """Text for each value; empty without."""
    low: tuple[float, ...] = ()
    """Lower ends of the intervals of y; empty without, NaN where there is none."""
    high: tuple[float, ...] = ()
    """Upper ends of the intervals of y."""
    labels: tuple[str, ...] = ()
    """Text beside each marker; empty without."""
    side: Side = "top center"
    """Place of the labels."""
    legend: bool = True
    """Whether the legend has an entry for it."""


@dataclass(frozen=True)
class Level:
    """A straight line across the panel, at one value of an axis."""

    axis: Literal["x", "y"]
    value: float
    name: str
    look: Look
    legend: bool = True


@dataclass(frozen=True)
class Band:
    """A shaded range of one axis, across the panel."""

    axis: Literal["x", "y"]
    low: float
    high: float
    name: str
    opacity: float = 0.07
    legend: bool = True


MOST_NAMES = 12
"""Columns of a heat map that are named; of more, such as the blocks of a deep model, only every n-th one is."""


@dataclass(frozen=True)
class Heatmap:
    """Values by two categories, as coloured cells."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    """Names of the rows, from the top down."""
    values: tuple[tuple[float, ...], ...]
    """A tuple for each row; NaN is an empty cell."""
    title: str
    """Title of the colour bar, with the unit."""
    hover: tuple[tuple[str, ...], ...]
    range: tuple[float, float]
    """Values at the ends of the colours."""
    log: bool = False
    """Whether colours go with the logarithm."""
    text: tuple[tuple[str, ...], ...] = ()
    """Text inside the cells; empty without."""
    bar: bool = True
    """Whether the panel has the colour bar; panels of one row with one range share that of the last."""
    named: bool = True
    """Whether the rows are named; panels of one row with the same rows share the names of the first."""

    @property
    def named_columns(self) -> tuple[int, ...]:
        """Places of the columns that are named."""
        return tuple(range(0, len(self.columns), max(1, math.ceil(len(self.columns) / MOST_NAMES))))


@dataclass(frozen=True)
class Surface:
    """Values over a plane, as colours with lines of equal value."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    """(n_y, n_x) values; NaN is a gap."""
    title: str
    range: tuple[float, float]
    levels: tuple[tuple[float, str, Dash], ...]
    """Value, name and dash of each line."""


Mark = Series | Level | Band | Heatmap | Surface


@dataclass(frozen=True)
class Axis:
    """An axis of a panel."""

    title: str
    """Quantity and unit."""
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    """Places and texts of the ticks; empty leaves them to the renderer."""
    range: tuple[float, float] | None = None
    """Ends, in the units of the values; None leaves them to the renderer."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes and what is drawn on it, from the bottom layer to the top."""

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    square: bool = False
    """Whether both axes are equally long."""


@dataclass(frozen=True)
class Chart:
    """A figure: what to see in it, and its panels."""

    id: str
    """Name of its files, and of its place on the page."""
    title: str
    """Sentence on what to see, made from its numbers."""
    caption: str
    """How to read it."""
    panels: tuple[tuple[Panel, ...], ...]
    """Rows of panels, from the top down."""
    notes: tuple[str, ...] = ()
    """Sentences on what is not drawn, and why."""
    wide: bool = False
    """Whether one column of panels takes the width of a page, not of a column of text."""

    @property
    def columns(self) -> int:
        """Number of panels in the longest row."""
        return max(len(row) for row in self.panels)

    @property
    def each_panel(self) -> Iterator[tuple[int, int, Panel]]:
        """Row and column, from 0 on, of every panel, and the panel."""
        for i, row in enumerate(self.panels):
            for j, panel in enumerate(row):
                yield i, j, panel

    def legend(self) -> dict[str, Series | Level | Band]:
        """Return the first mark of each name that the legend has an entry for."""
        found: dict[str, Series | Level | Band] = {}
        for _, _, panel in self.each_panel:
            for mark in panel.marks:
                if isinstance(mark, Series | Level | Band) and mark.legend and mark.name:
                    found.setdefault(mark.name, mark)
        return found


@dataclass(frozen=True)
class Missing:
    """A figure that is not drawn."""

    id: str
    title: str
    """Subject of the figure."""
    reason: str
    """Why it is not drawn, in a sentence."""
    notes: tuple[str, ...] = field(default=())


def rows_of(panels: Iterable[Panel], columns: int) -> tuple[tuple[Panel, ...], ...]:
    """Arrange panels in rows of at most this many."""
    each = list(panels)
    return tuple(tuple(each[i : i + columns]) for i in range(0, len(each), columns))


def spanning(values: Iterable[float], log: bool = False, pad: float = 0.06) -> tuple[float, float]:
    """Return the range of an axis that holds all finite values, with some air.

    Args:
        values: The values; those that are not finite, or not positive on a logarithmic axis, are passed over.
        log: Whether the axis is logarithmic.
        pad: Air at each end, as a share of the range.
    """
    kept = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not kept:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = (math.log10(v) if log else v for v in (min(kept), max(kept)))
    air = pad * (high - low) or 0.5 * (1.0 if log else abs(high) or 1.0)
    return (10 ** (low - air), 10 ** (high + air)) if log else (low - air, high + air)


def heat_range(tables: Iterable[Sequence[Sequence[float]]], log: bool = False) -> tuple[float, float] | None:
    """Return the least and the largest value that some heat maps can show, a little apart; None if there is none."""
    values = [v for table in tables for row in table for v in row if math.isfinite(v) and (v > 0 or not log)]
    if not values:
        return None
    low, high = min(values), max(values)
    if low < high:
        return low, high
    return (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
