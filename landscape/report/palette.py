"""Choose the looks of all figures: a colour and, for readers who do not see colours, a shape or a dash as well.

Colours are those of Okabe and Ito (2008), "Color Universal Design"; blue, red and green are the paper's (Figure 3) for
RTN, GPTQ and QAFT.
"""

from __future__ import annotations

from dataclasses import dataclass

from landscape.session.point_methods import METHODS

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, ORANGE = "#CC79A7", "#56B4E9", "#E69F00"
INK, RAY, BAND, RADIUS = "#222222", "#a6a6a6", "rgba(0, 0, 0, 0.06)", "rgba(0, 0, 0, 0.16)"


@dataclass(frozen=True)
class Mark:
    """The look of the points of a method, or of a point that another tool made."""

    label: str
    """The method's name as the field writes it."""
    color: str
    symbol: str
    """Plotly's name for the marker."""
    text: str
    """Place of the bit width, seen from the marker."""


@dataclass(frozen=True)
class Stroke:
    """The look of the segments between two methods."""

    color: str
    dash: str
    """Plotly's name for the dash pattern."""


_LOOKS = {
    "rtn": (BLUE, "circle", "top left"),
    "gptq": (VERMILLION, "diamond", "bottom right"),
    "qaft": (GREEN, "square", "bottom left"),
    "qaft-lsq": (GREEN, "triangle-up", "bottom left"),
    "qaft-from-gptq": (GREEN, "triangle-down", "bottom right"),
    "awq": (ORANGE, "pentagon", "top right"),
    "signround": (PURPLE, "hexagon", "top left"),
    "w_ft": (SKY, "cross", "top right"),
}
"""Color, symbol and text position of each method's mark."""
_STROKES: dict[frozenset[str | None], Stroke] = {
    frozenset({"rtn", "gptq"}): Stroke(PURPLE, "dash"),
    frozenset({"rtn", "qaft"}): Stroke(SKY, "dot"),
    frozenset({"gptq", "qaft"}): Stroke(ORANGE, "dashdot"),
    frozenset({"gptq", "qaft-from-gptq"}): Stroke(INK, "dash"),
    frozenset({"qaft", "qaft-from-gptq"}): Stroke(INK, "dot"),
}
_FILLS = ("", "-open", "-dot", "-open-dot")


def mark(method: str) -> Mark:
    """Return the look of a method's points; a point that another tool made is a dark star."""
    row, look = METHODS.get(method), _LOOKS.get(method, (INK, "star", "top right"))
    return Mark(row.label if row else method, *look)


def symbol(method: str, variant: int) -> str:
    """Return the marker of a method, filled or open by the variant: the first, second … kind of grid of its points."""
    return mark(method).symbol + _FILLS[variant % len(_FILLS)]


def stroke(a: str | None, b: str) -> Stroke:
    """Return the look of the segment between two methods.

    Segments from w (None) are solid, in the method's colour; so are those of a pair without a look of its own, but
    dashed.
    """
    default = Stroke(mark(b).color, "solid" if a is None else "dash")
    return _STROKES.get(frozenset({a, b}), default)


def size(bits: int | None) -> float:
    """Return the diameter of a marker, in pixels: larger for fewer bits; 12 where the bit width is not known."""
    return 12 if bits is None else 15 - bits


def width(bits: int | None) -> float:
    """Return the width of a segment, in pixels: thicker for fewer bits."""
    return 1.6 if bits is None else 2.6 - 0.2 * bits
