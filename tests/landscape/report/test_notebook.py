"""Figures for notebooks: IPython finds both forms, and each shows the numbers of the chart."""

import base64
import io
import json

import plotly.graph_objects
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.image import imread

from landscape.report.chart import Axis, Chart, Look, Panel, Series
from landscape.report.mpl_chart import PAGE, SCREEN_DPI
from landscape.report.notebook import PLOTLY, notebook_chart

Y = (3.0, 1.0, 2.0)
TITLE = (
    "A title <b>with</b> markup, long enough that it takes more than one line where it stands above a figure of a page"
)


def chart(title="What to see", y=Y):
    series = Series("a & b", (1.0, 2.0, 4.0), y, Look(symbol="circle", dash="solid"))
    return Chart("name", title, "How to read it.", ((Panel("panel", Axis("x"), Axis("y"), (series,)),),), wide=True)


def bundle(shown):
    data, _ = DisplayFormatter().format(shown)
    return data


def test_ipython_finds_the_interactive_form_the_picture_and_a_sentence():
    found = bundle(notebook_chart(chart()))
    assert found["text/plain"] == "What to see"
    figure = plotly.graph_objects.Figure(found[PLOTLY]["data"], found[PLOTLY]["layout"])  # which validates
    (trace,) = [trace for trace in figure.data if trace.x is not None and len(trace.x) == 3]
    assert tuple(trace.y) == Y
    image = imread(io.BytesIO(base64.b64decode(found["image/png"])), format="png")
    assert image.shape[1] == pytest.approx(PAGE * SCREEN_DPI, abs=1)  # pixels


def test_the_title_is_text_not_markup_and_stays_clear_of_the_panels():
    plain, titled = (bundle(notebook_chart(chart(title)))[PLOTLY]["layout"] for title in ("short", TITLE))
    assert "&lt;b&gt;with&lt;/b&gt;" in titled["title"]["text"]
    lines = titled["title"]["text"].count("<br>") + 1
    assert lines == 2
    more = titled["margin"]["t"] - plain["margin"]["t"]
    assert more >= titled["title"]["font"]["size"]  # a line more has a line's room
    assert titled["height"] - plain["height"] == more  # and takes none from the panels


def test_the_same_chart_is_saved_as_the_same_bytes_and_another_one_is_not():
    first, again, other = (json.dumps(bundle(notebook_chart(c))) for c in (chart(), chart(), chart(y=(3.0, 1.0, 2.5))))
    assert first == again
    assert first != other


def test_nothing_is_loaded_and_nothing_can_be_sent():
    found = bundle(notebook_chart(chart()))
    assert "http" not in json.dumps(found[PLOTLY])
    assert found[PLOTLY]["config"]["showSendToCloud"] is False
