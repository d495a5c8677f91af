"""Find what covers what on a page, by bounding boxes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from tests.landscape.report.browser.pages import OpenPage

PARTS = {
    "title": "h1",
    "heading": "h2:not(.unseen), h3",
    "strip": ".strip td, .strip tbody th",
    "button": ".controls button",
    "caption": "figcaption, .strip caption, header .note",
    "axis title": ".infolayer g[class^='g-'] > text",
    "tick": "[class*='axislayer'] g[class$='tick'] > text",
    "legend": ".legend .bg",
    "colour bar": ".colorbar .cbfills, .colorbar .cbtitle text, .colorbar .cbaxis text",
    "annotation": ".annotation-text",
}
"""Selectors of what a reader must be able to see, each wholly; beside them stand the panels, see ``boxes``.

Labels of points, of R and of its band, and contour labels, lie inside the panels on purpose: they are not compared. A
legend is one box: Plotly lays out its entries.
"""
SLACK = 1.0  # px: boxes are rounded, and letters do not fill theirs


@dataclass(frozen=True)
class Box:
    """A part of the page, in pixels from its corner."""

    kind: str
    text: str
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: Box) -> bool:
        """Whether the two share more than a pixel in both directions."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > SLACK and down > SLACK


def boxes(page: OpenPage) -> list[Box]:
    """All visible parts of the page; a panel is the place between its axes."""
    found = page.js(
        """(parts) => {
          const at = [window.scrollX, window.scrollY];
          const out = [];
          const add = (kind, text, r) => r.width > 0 && r.height > 0 &&
            out.push([kind, text, r.left + at[0], r.top + at[1], r.right + at[0], r.bottom + at[1]]);
          for (const [kind, selector] of Object.entries(parts)) {
            for (const node of document.querySelectorAll(selector)) {
              if (!node.checkVisibility()) continue; // folded away
              const style = getComputedStyle(node);
              if (style.visibility === "hidden" || style.opacity === "0") continue;
              add(kind, (node.textContent || "").trim().slice(0, 40), node.getBoundingClientRect());
            }
          }
          for (const gd of document.querySelectorAll(".plotly-graph-div")) {
            const box = gd.getBoundingClientRect(), layout = gd._fullLayout;
            for (const id of Object.keys(layout._plots)) {
              const { xaxis, yaxis } = layout._plots[id];
              const left = box.left + xaxis._offset, top = box.top + yaxis._offset;
              add("panel", gd.id + " " + id, { left, top, right: left + xaxis._length, bottom: top + yaxis._length,
                width: xaxis._length, height: yaxis._length });
            }
            add("figure", gd.id, box);
          }
          return out;
        }""",
        PARTS,
    )
    return [Box(*row) for row in found]


def overlaps(found: list[Box]) -> list[str]:
    """Every pair that covers one another, in words. A figure is not compared: it holds its own parts."""
    said, rest = [], sorted((box for box in found if box.kind != "figure"), key=lambda box: box.top)
    for i, box in enumerate(rest):
        near = takewhile(lambda other, end=box.bottom: other.top < end, rest[i + 1 :])
        said += [f"{box.kind} “{box.text}” and {other.kind} “{other.text}”" for other in near if box.covers(other)]
    return said


def outside(found: list[Box], width: int) -> list[str]:
    """Parts that the edge of the window cuts, and parts of a figure that the edge of all figures cuts."""
    figures = [box for box in found if box.kind == "figure"]
    own = {"panel", "axis title", "tick", "legend", "colour bar", "annotation"}
    left = [f"{b.kind} “{b.text}” leaves the window" for b in found if b.left < -SLACK or b.right > width + SLACK]
    return left + [
        f"{box.kind} “{box.text}” leaves its figure"
        for box in found
        if box.kind in own and not any(_within(box, figure) for figure in figures)
    ]


def _within(box: Box, figure: Box) -> bool:
    return (
        box.left >= figure.left - SLACK
        and box.right <= figure.right + SLACK
        and box.top >= figure.top - SLACK
        and box.bottom <= figure.bottom + SLACK
    )
