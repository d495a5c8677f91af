"""Draw a chart with matplotlib, for print: the same bytes for the same chart, fonts embedded.

matplotlib comes with the extra ``figures`` and is imported by the functions that draw.
"""

from __future__ import annotations

import io
import math
import textwrap
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.report.chart import Axis, Band, Chart, Heatmap, Level, Look, Panel, Series, Surface
from landscape.report.palette import INK
from landscape.report.ticks import log_ticks, power_text
from quant.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
COLUMN, PAGE = 3.5, 7.1
"""Width of a figure with one column of panels, and of all others, in inches: a column and a page of a journal."""
DPI, SCREEN_DPI = 300, 120
"""Dots per inch in print, and of a picture beside text on a screen."""
_PIXELS = 0.62  # points of print per pixel of a page: markers and lines
_WORDS = {True: 98, False: 46}  # characters of a title that fit the width of a page, of a column
_DASHES: dict[str, Any] = {"solid": "-", "dash": (0, (5, 2)), "dot": (0, (1, 1.6)), "dashdot": (0, (5, 1.6, 1, 1.6))}
_SYMBOLS = {
    "circle": "o", "diamond": "D", "square": "s", "triangle-up": "^", "triangle-down": "v", "pentagon": "p",
    "hexagon": "h", "cross": "P", "x": "X", "star": "*",
}  # fmt: skip
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 7, "axes.titlesize": 7.5, "axes.labelsize": 7, "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5, "legend.fontsize": 6.5, "axes.linewidth": 0.6, "axes.edgecolor": "#888888",
    "axes.grid": True, "grid.color": "#eeeeee", "grid.linewidth": 0.5, "axes.axisbelow": True, "text.color": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "quant-landscape", "axes.unicode_minus": True,
    "text.parse_math": False, "text.usetex": False, "image.cmap": "cividis",
}  # fmt: skip
_METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
"""Fields without a value, so that neither a date nor a version is in a file."""


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        UsageError: if it is not.
    """
    if find_spec("matplotlib") is None:
        raise UsageError(
            "expected matplotlib for figures in files, got an installation without it; "
            "run: pip install 'quant-landscape[figures]'"
        )


def render(chart: Chart) -> dict[str, bytes]:
    """Draw a chart and return its files by their format: pdf, svg, png.

    Raises:
        UsageError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rc_context, rcParamsDefault

    with rc_context({**rcParamsDefault, **_STYLE}):  # not the user's own settings: the same bytes for everybody
        figure = draw(chart)
        engine = figure.get_layout_engine()
        assert engine is not None  # ``draw`` asks for one
        engine.execute(figure)  # once, and not again for every file
        figure.set_layout_engine("none")
        return {kind: _saved(figure, kind) for kind in FORMATS}


def picture(chart: Chart) -> bytes:
    """Draw a chart for a screen and return the PNG; the same bytes for the same chart.

    Raises:
        UsageError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rc_context, rcParamsDefault

    with rc_context({**rcParamsDefault, **_STYLE}):
        return _saved(draw(chart), "png", SCREEN_DPI)


def draw(chart: Chart) -> Figure:
    """Draw a chart as a figure of matplotlib, in the settings of the caller."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = chart.columns > 1 or chart.wide
    width = PAGE if wide else COLUMN
    entries = chart.legend()
    in_row = 5 if wide else 2
    legend_rows = math.ceil(len(entries) / in_row)
    heights = [_height(row, width / chart.columns) for row in chart.panels]
    title = "\n".join(textwrap.wrap(chart.title, _WORDS[wide]))
    extra = 0.16 * (title.count("\n") + 1) + 0.15 * legend_rows + 0.25
    figure = Figure(figsize=(width, sum(heights) + extra), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(chart.panels), chart.columns, height_ratios=heights)
    for i, j, panel in chart.each_panel:
        _draw_panel(figure, figure.add_subplot(grid[i, j]), panel)
    figure.suptitle(title, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
    if entries:
        figure.legend(
            [_handle(mark) for mark in entries.values()], list(entries), loc="outside lower left", ncols=in_row,
            frameon=False, handlelength=2.4, columnspacing=1.2,
        )  # fmt: skip
    return figure


def _saved(figure: Figure, kind: str, dpi: int = DPI) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=_METADATA[kind], dpi=dpi)
    return stream.getvalue()


def _height(row: tuple[Panel, ...], width: float) -> float:
    """Return the height of a row of panels, in inches."""
    heats = [len(mark.rows) for panel in row for mark in panel.marks if isinstance(mark, Heatmap)]
    if heats:
        return max(1.2, 0.13 * max(heats) + 0.5)
    return min(width, 4.0) * (0.82 if any(panel.square for panel in row) else 0.76)


def _draw_panel(figure: Figure, axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    for mark in panel.marks:
        if isinstance(mark, Heatmap):
            _draw_heat(figure, axes, mark)
        elif isinstance(mark, Surface):
            _draw_surface(figure, axes, mark)
        elif isinstance(mark, Series):
            _draw_series(axes, mark)
        else:
            _draw_across(axes, mark)
    if panel.square:
        axes.set_box_aspect(1)
    _set_axis(axes, "x", panel.x)
    _set_axis(axes, "y", panel.y)


def _set_axis(axes: Axes, letter: str, axis: Axis) -> None:
    side = axes.xaxis if letter == "x" else axes.yaxis
    side.set_label_text(axis.title)
    if axis.log:
        (axes.set_xscale if letter == "x" else axes.set_yscale)("log")
        _log_ticks(side, axis.range)
    if axis.range is not None:
        (axes.set_xlim if letter == "x" else axes.set_ylim)(*axis.range)
    if axis.ticks:
        values, texts = zip(*axis.ticks, strict=True)
        side.set_ticks(list(values), list(texts))
        side.set_ticks([], minor=True)


def _log_ticks(side: Any, ends: tuple[float, float] | None) -> None:
    """Put the ticks of ``log_ticks``, with minor ones between them but without texts."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    if ends is not None:
        side.set_ticks([value for value, _ in log_ticks(*ends)])
    side.set_major_formatter(FuncFormatter(lambda value, _: power_text(value)))
    side.set_minor_formatter(NullFormatter())


def _draw_series(axes: Axes, mark: Series) -> None:
    look = mark.look
    x, y = np.array(mark.x, float), np.array(mark.y, float)
    axes.plot(x, y, **_line(look))
    if mark.low:
        arms = np.array([np.subtract(mark.y, mark.low), np.subtract(mark.high, mark.y)], float)
        arms = np.where(np.isfinite(arms), np.maximum(arms, 0.0), 0.0)
        axes.errorbar(x, y, yerr=arms, fmt="none", ecolor=look.color, elinewidth=0.8, capsize=1.5, alpha=look.opacity)
    down, left = mark.side.split()
    away = look.size * _PIXELS / 2 + 1.5
    across = away if down == "middle" else 0.6 * away
    shift = {"left": -across, "center": 0, "right": across}[left], {"top": away, "middle": 0, "bottom": -away}[down]
    aligned = {"left": "right", "right": "left", "center": "center"}[left]
    upright = {"top": "bottom", "middle": "center", "bottom": "top"}[down]
    for at, height, text in zip(x, y, mark.labels, strict=False):
        if text and math.isfinite(at) and math.isfinite(height):
            axes.annotate(
                text, (at, height), xytext=shift, textcoords="offset points", ha=aligned, va=upright, fontsize=5.5,
                color=look.color,
            )  # fmt: skip


def _line(look: Look) -> dict[str, Any]:
    face = look.color if look.filled else "white"
    return {
        "color": look.color, "linestyle": _DASHES[look.dash] if look.dash else "none",
        "linewidth": look.width * _PIXELS,
        "marker": _SYMBOLS[look.symbol] if look.symbol else "none", "markersize": look.size * _PIXELS,
        "markerfacecolor": face, "markeredgecolor": "white" if look.filled else look.color,
        "markeredgewidth": 0.4 if look.filled else 0.9, "alpha": look.opacity,
    }  # fmt: skip


def _draw_across(axes: Axes, mark: Level | Band) -> None:
    if isinstance(mark, Level):
        options = _line(mark.look)
        draw_line = axes.axvline if mark.axis == "x" else axes.axhline
        kept = ("color", "linestyle", "linewidth", "alpha")
        draw_line(mark.value, **{name: options[name] for name in kept})
    else:
        shade = axes.axvspan if mark.axis == "x" else axes.axhspan
        shade(mark.low, mark.high, color=INK, alpha=mark.opacity, linewidth=0, zorder=0)


def _draw_heat(figure: Figure, axes: Axes, mark: Heatmap) -> None:
    from matplotlib.colors import LogNorm, Normalize

    values = np.array(mark.values, float)
    norm = LogNorm(*mark.range) if mark.log else Normalize(*mark.range)
    if mark.log:
        values = np.where(values > 0, values, np.nan)
    edges = np.arange(len(mark.columns) + 1) - 0.5, np.arange(len(mark.rows) + 1) - 0.5
    named = mark.named_columns
    seam = 0.5 * len(named) / len(mark.columns)  # finer cells, finer seams
    drawn = axes.pcolormesh(*edges, np.ma.masked_invalid(values), norm=norm, edgecolors="white", linewidth=seam)
    axes.set_xticks(named, [mark.columns[place] for place in named])
    axes.set_yticks(range(len(mark.rows)), mark.rows if mark.named else [""] * len(mark.rows))
    axes.set_ylim(len(mark.rows) - 0.5, -0.5)
    axes.grid(False)
    for i, line in enumerate(mark.text):
        for j, text in enumerate(line):
            share = float(norm(values[i, j])) if math.isfinite(values[i, j]) else 1.0
            axes.text(j, i, text, ha="center", va="center", fontsize=6, color="white" if share < 0.5 else "black")
    if mark.bar:
        aspect = min(28.0, 1.3 * len(mark.rows) + 4)  # as thin on a low panel as on a high one
        bar = figure.colorbar(drawn, ax=axes, label=mark.title, aspect=aspect, pad=0.02)
        if mark.log:
            _log_ticks(bar.ax.yaxis, mark.range)


def _draw_surface(figure: Figure, axes: Axes, mark: Surface) -> None:
    values = np.ma.masked_invalid(np.array(mark.values, float))
    low, high = mark.range
    drawn = axes.contourf(
        mark.x, mark.y, np.ma.clip(values, low, high), levels=np.linspace(low, high, 51), cmap="cividis_r"
    )
    drawn.set_rasterized(True)  # as vectors the seams between the colours would show
    for value, _, dash in mark.levels:
        if values.count() and float(values.min()) < value < float(values.max()):
            axes.contour(mark.x, mark.y, values, levels=[value], colors=INK, linewidths=1.0, linestyles=[_DASHES[dash]])
    axes.grid(False)
    axes.set_aspect("equal")
    ticks = [0.25 * i for i in range(round(high / 0.25) + 1)]
    figure.colorbar(drawn, ax=axes, label=mark.title, aspect=22, pad=0.02, shrink=0.75, ticks=ticks)


def _handle(mark: Series | Level | Band) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if isinstance(mark, Band):
        return Patch(facecolor=INK, alpha=min(1.0, 2 * mark.opacity), linewidth=0)
    return Line2D([], [], **_line(mark.look))
