"""Describe the buttons above the radial figure for the script of the page, which keeps them consistent.

A button of Plotly's own knows nothing of the others: a zoom would need the unit that is chosen. On a page the script
``templates/figures.js`` holds unit, view and bit width, and derives abscissae, ranges and labels from all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from landscape.report.survey.view import Ranges, bit_widths, points_view, units, view, width_text
from landscape.survey.result import SurveyResult


@dataclass(frozen=True)
class Button:
    """A button of a group."""

    label: str
    """Its text."""
    value: str
    """Choice that it stands for."""


@dataclass(frozen=True)
class Controls:
    """The groups of buttons, and what the script needs to act on them."""

    groups: dict[str, tuple[str, list[Button]]]
    """Name of the group for readers who cannot see it and its buttons, the first chosen, by what they choose."""
    data: dict[str, Any]
    """``{units: [{title, length}], views: {all, everything, points: {bits or "": …}}}``, views as ``{x, y}`` in
    absolute distances."""


def controls(landscape: SurveyResult) -> Controls:
    """Return the buttons of a landscape: unit of the distance, what is shown, and the bit width."""
    frame, widths = view(landscape), bit_widths(landscape)
    views: dict[str, Any] = {"all": _ranges(frame), "points": {"": _ranges(points_view(landscape))}}
    views["points"] |= {str(bits): _ranges(points_view(landscape, bits)) for bits in widths}
    shown = [Button("all", "all"), Button("zoom to the points", "points")]
    if frame.hidden:
        views["everything"] = _ranges(Ranges(frame.x, frame.drawn))
        shown.append(Button("everything", "everything"))
    found = units(landscape)
    groups = {
        "unit": ("Unit of the distance", [Button(unit.label, str(i)) for i, unit in enumerate(found)]),
        "view": ("What is shown", shown if landscape.points else []),
        "bits": (
            "Bit width",
            [Button("all bits", ""), *(Button(width_text(b, landscape.points), str(b)) for b in widths)],
        ),
    }
    if len(widths) < 2:
        del groups["bits"]
    data = {"units": [{"title": unit.title, "length": unit.length} for unit in found], "views": views}
    return Controls(groups, data)


def _ranges(shown: Ranges) -> dict[str, list[float]]:
    return {"x": list(shown.x), "y": list(shown.y)}
