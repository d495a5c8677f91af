"""Both renderers show one chart alike, and matplotlib's files are the same bytes every time."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.report import mpl_chart, plotly_chart
from landscape.report.chart import Axis, Band, Chart, Heatmap, Level, Look, Panel, Series, Surface, heat_range, spanning
from quant.errors import UsageError

RED, BLUE = "#d55e00", "#0072b2"
GAP = math.nan
LINE = Series(
    "a <b> $x$", (1.0, 10.0, 100.0), (2.0, GAP, 5.0), Look(RED, "diamond", "dash"), ("one", "two", "three & more"),
    (1.5, GAP, 4.0), (2.5, GAP, 9.0), ("l1", "", "l3"), "bottom right",
)  # fmt: skip
HEAT = Heatmap(
    ("x1", "x2"), ("r1", "r2", "r3"), ((0.1, 1.0), (GAP, 10.0), (100.0, 0.01)), "h", (("", ""),) * 3, (0.01, 100.0),
    log=True,
)  # fmt: skip
SURFACE = Surface(
    (0.0, 1.0, 2.0), (0.0, 1.0), ((0.0, 0.4, 1.0), (0.2, 0.8, GAP)), "u", (0.0, 1.0), ((0.5, "half", "solid"),)
)
SHORT = Series("a <b> $x$", (1.0, 2.0), (3.0, 4.0), Look(RED, "diamond", "dash"))
ACROSS = Band("y", 1.0, 3.0, "band"), Level("x", 10.0, "R", Look(BLUE, None, "dot"))
CHART = Chart(
    "sample", "A title with $money$ and <tags>", "How to read it.",
    (
        (
            Panel("left", Axis("x", log=True, range=(0.5, 200.0)), Axis("y"), (*ACROSS, LINE)),
            Panel("right", Axis("x", ticks=((1.0, "one"), (10.0, "ten"))), Axis("y"), (SHORT,)),
        ),
        (Panel("heat", Axis("c"), Axis(""), (HEAT,)), Panel("surface", Axis("x"), Axis("y"), (SURFACE,))),
    ),
)  # fmt: skip


def values(x: object, y: object) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Return places that compare: None for gaps."""
    plain = [
        tuple(None if v is None or not math.isfinite(v) else float(v) for v in side)  # type: ignore[attr-defined]
        for side in (x, y)
    ]
    return plain[0], plain[1]


def test_both_renderers_show_the_same_series() -> None:
    plotly = [t for t in plotly_chart.draw(CHART).data if t.type == "scatter" and t.x[0] is not None]
    drawn = [
        line for axes in mpl_chart.draw(CHART).axes for line in axes.lines
        if line.get_marker() == "D"
    ]  # fmt: skip
    assert [values(t.x, t.y) for t in plotly] == [values(*line.get_data()) for line in drawn]
    assert [values(t.x, t.y) for t in plotly] == [values(LINE.x, LINE.y), values((1, 2), (3, 4))]
    assert {t.line.color for t in plotly} == {to_hex(line.get_color()) for line in drawn} == {RED}


def test_intervals_reach_from_low_to_high_in_both() -> None:
    (trace,) = [t for t in plotly_chart.draw(CHART).data if t.type == "scatter" and t.error_y.array is not None]
    assert list(trace.error_y.array) == [0.5, 0.0, 4.0]
    assert list(trace.error_y.arrayminus) == [0.5, 0.0, 1.0]
    (bars,) = [c for axes in mpl_chart.draw(CHART).axes[:1] for c in axes.collections if "Line" in type(c).__name__]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments() if segment.size]
    assert ends == [[1.5, 2.5], [4.0, 9.0]]


def test_one_entry_of_the_legend_per_name_in_both() -> None:
    plotly = [t.name for t in plotly_chart.draw(CHART).data if t.showlegend and t.type == "scatter"]
    (legend,) = mpl_chart.draw(CHART).legends
    assert sorted(plotly) == sorted(["band", "R", "a &lt;b&gt; $x$"])
    assert [text.get_text() for text in legend.get_texts()] == ["band", "R", "a <b> $x$"]


def test_levels_and_bands_are_at_their_values_in_both() -> None:
    shapes = plotly_chart.draw(CHART).layout.shapes
    assert {(s.x0, s.x1) for s in shapes if s.type == "line"} == {(10.0, 10.0)}
    assert {(s.y0, s.y1) for s in shapes if s.type == "rect"} == {(1.0, 3.0)}
    axes = mpl_chart.draw(CHART).axes[0]
    assert any(list(line.get_xdata()) == [10.0, 10.0] for line in axes.lines)
    (band,) = axes.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == (1.0, 3.0)


def test_heat_maps_show_the_values_and_gaps_in_both() -> None:
    (trace,) = [t for t in plotly_chart.draw(CHART).data if t.type == "heatmap"]
    logs = [[None if math.isnan(v) else math.log10(v) for v in row] for row in HEAT.values]
    assert [list(row) for row in trace.z] == logs
    axes = mpl_chart.draw(CHART).axes[2]
    (mesh,) = axes.collections
    drawn = np.ma.getdata(mesh.get_array()), np.ma.getmaskarray(mesh.get_array())
    assert drawn[1].tolist() == [[False, False], [True, False], [False, False]]
    assert np.where(drawn[1], 0, drawn[0]).tolist() == [[0.1, 1.0], [0.0, 10.0], [100.0, 0.01]]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(HEAT.rows)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row at the top


@pytest.mark.parametrize(("columns", "named"), [(3, 3), (12, 12), (13, 7), (30, 10), (80, 12)])
def test_of_many_columns_every_few_are_named_in_both(columns: int, named: int) -> None:
    names = tuple(str(i) for i in range(columns))
    row = tuple(float(i + 1) for i in range(columns))
    heat = Heatmap(names, ("a",), (row,), "unit", (names,), (1.0, 99.0))
    chart = Chart("many", "Many", "", ((Panel("p", Axis("block"), Axis(""), (heat,)),),))
    axis = plotly_chart.draw(chart).layout.xaxis
    assert len(axis.tickvals) == named
    assert list(axis.ticktext) == [names[place] for place in axis.tickvals]
    (axes, *_) = mpl_chart.draw(chart).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == list(axis.ticktext)


def test_ranges_and_ticks_are_in_the_units_of_the_values() -> None:
    layout = plotly_chart.draw(CHART).layout
    assert layout.xaxis.range == pytest.approx((math.log10(0.5), math.log10(200)))
    assert mpl_chart.draw(CHART).axes[0].get_xlim() == pytest.approx((0.5, 200))
    assert layout.xaxis2.tickvals == (1.0, 10.0)
    assert [t.get_text() for t in mpl_chart.draw(CHART).axes[1].get_xticklabels()] == ["one", "ten"]


def test_texts_are_plain_texts() -> None:
    figure = plotly_chart.draw(CHART)
    assert next(t for t in figure.data if t.customdata is not None).customdata[2] == "three &amp; more"
    svg = mpl_chart.render(CHART)["svg"].decode()
    assert "$money$" in svg  # the comment that matplotlib writes beside the glyphs: read as text, not as mathematics


def test_files_are_the_same_in_another_process_without_dates() -> None:
    code = (
        "import hashlib; from landscape.report import mpl_chart; from tests.landscape.report.test_charts import CHART\n"
        "print({k: hashlib.sha256(v).hexdigest() for k, v in mpl_chart.render(CHART).items()})"
    )
    root = Path(__file__).parents[3]
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
        for _ in range(2)
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count(":") == 3
    files = mpl_chart.render(CHART)
    assert files["pdf"].startswith(b"%PDF")
    assert files["png"].startswith(b"\x89PNG")
    assert b"CreationDate" not in files["pdf"]
    assert b"<dc:date>" not in files["svg"]
    assert re.search(rb"/FontFile2", files["pdf"])  # TrueType, embedded


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpl_chart, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'quant-landscape\[figures\]'$") as caught:
        mpl_chart.render(CHART)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (0.001, "0.001"), (1e-4, "10⁻⁴"), (1e4, "10⁴"), (2e-5, "2·10⁻⁵"), (0.05, "0.05")]
)
def test_ticks_are_plain_or_powers_of_ten(value: float, text: str) -> None:
    assert mpl_chart.power_text(value) == text


def test_ranges_hold_all_that_can_be_drawn() -> None:
    assert spanning([1.0, GAP, 3.0, math.inf], pad=0.1) == pytest.approx((0.8, 3.2))
    assert spanning([-1.0, 10.0, 1000.0], log=True, pad=0.5) == pytest.approx((1.0, 10000.0))
    low, high = spanning([2.0])
    assert low < 2.0 < high
    assert heat_range([((GAP, 1.0), (5.0, -3.0))]) == (-3.0, 5.0)
    assert heat_range([((GAP, 1.0), (5.0, -3.0))], log=True) == (1.0, 5.0)
    assert heat_range([((GAP, math.inf),)]) is None
