"""A page in a real browser without a network: what it draws, where, and what it answers to clicks and hovers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
LOCAL = ("file:", "data:", "blob:", "about:")
DRAWN_S = 120  # a shared machine draws a page in up to half a minute


def find_browser() -> str:
    """Path of Chromium; skips the test with a reason where it, or the library that drives it, is missing."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright to drive a browser")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium to draw pages with; apt-get install chromium")
    return CHROMIUM


@dataclass
class OpenPage:
    """One page in one window; ``page`` is playwright's."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and uncaught errors."""
    requests: list[str] = field(default_factory=list)
    """Addresses beyond this machine that the page asked for."""

    def js(self, code: str, argument: object = None) -> Any:
        """Value of a JavaScript function."""
        return self.page.evaluate(code, argument)

    def figures(self) -> list[str]:
        """IDs of all figures, from the top of the page down."""
        return self.js("() => [...document.querySelectorAll('.plotly-graph-div')].map((gd) => gd.id)")

    def layout(self, figure: str, path: str) -> Any:
        """A value of a figure's layout, such as ``xaxis.range``."""
        return self.js(
            "([id, path]) => path.split('.').reduce((at, key) => at[key], document.getElementById(id)._fullLayout)",
            [figure, path],
        )

    def traces(self, figure: str) -> list[dict[str, Any]]:
        """Traces of a figure as they are now: name, group, x, y, text, visible, showlegend, mode."""
        return self.js(
            "(id) => document.getElementById(id).data.map((t) => ({name: t.name, group: t.legendgroup, x: t.x, y: t.y,"
            " text: t.text, visible: t.visible ?? true, entry: t.showlegend === true, mode: t.mode, axis: t.xaxis,"
            " hover: t.customdata}))",
            figure,
        )

    def press(self, label: str) -> None:
        """Click a button of the page by its text, and wait until the figure was drawn again."""
        self.page.get_by_role("button", name=label, exact=True).first.click()
        self.settle()

    def settle(self) -> None:
        """Wait until the page's script has no more work with figures."""
        self.wait_for("html[data-fitted]")

    def wait_for(self, selector: str) -> None:
        """Wait until an element is there; a condition in JavaScript would be evaluated, which the page forbids."""
        self.page.locator(selector).wait_for(state="attached", timeout=1000 * DRAWN_S)

    def click_legend(self, figure: str, name: str) -> None:
        """Click an entry of a legend by its text."""
        counted = "(id) => { const gd = document.getElementById(id); delete gd.dataset.clicked; "
        self.js(counted + "gd.once('plotly_restyle', () => { gd.dataset.clicked = 'yes'; }); }", figure)
        self.page.locator(f"#{figure} .legend .traces", has_text=name).locator(".legendtoggle").first.click()
        # Plotly waits whether it is a double click
        self.wait_for(f"#{figure}[data-clicked]")

    def pixel(self, figure: str, x: float, y: float, panel: str = "") -> tuple[float, float]:
        """Place of a datum in the window."""
        return tuple(self.js(
            "([id, x, y, panel]) => { const gd = document.getElementById(id), box = gd.getBoundingClientRect(),"
            " X = gd._fullLayout['xaxis' + panel], Y = gd._fullLayout['yaxis' + panel];"
            " return [box.x + X._offset + X.l2p(x), box.y + Y._offset + Y.l2p(y)]; }",
            [figure, x, y, panel],
        ))  # fmt: skip

    def hover(self, figure: str, x: float, y: float, panel: str = "") -> str:
        """Text of the label that appears when the mouse is moved onto a datum."""
        self.page.locator(f"#{figure}").scroll_into_view_if_needed()
        middle = self.page.evaluate("window.innerHeight / 2")
        away = self.pixel(figure, x, y, panel)[1] - middle  # a figure can be taller than the window
        self.page.evaluate("by => window.scrollBy({top: by, behavior: 'instant'})", away)
        left, top = self.pixel(figure, x, y, panel)
        self.page.mouse.move(left - 40, top - 40)
        self.page.mouse.move(left, top, steps=4)
        label = self.page.locator(f"#{figure} .hoverlayer .hovertext")
        label.first.wait_for(timeout=5000)
        self.page.wait_for_timeout(150)  # Plotly looks twenty times a second: the label may be that of the way there
        return " ".join(label.all_text_contents())

    def inside_panel(self, figure: str, x: float, y: float, panel: str = "") -> bool:
        """Whether a datum lies within the axes of its panel."""
        x0, x1 = sorted(self.layout(figure, f"xaxis{panel}.range"))
        y0, y1 = sorted(self.layout(figure, f"yaxis{panel}.range"))
        return x0 < x < x1 and y0 < y < y1


@contextmanager
def opened(browser: Any, path: Path, width: int, height: int = 900) -> Iterator[OpenPage]:
    """Open a file in a window of that size, the network off, and wait until all of its figures fit."""
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    try:
        page = context.new_page()
        found = OpenPage(page)
        page.on("console", lambda m: found.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(LOCAL) else found.requests.append(r.url))
        page.goto(path.as_uri(), timeout=1000 * DRAWN_S)
        found.settle()
        yield found
    finally:
        context.close()
