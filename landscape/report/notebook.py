"""Show figures in a notebook: interactive where a viewer draws Plotly's own format, as a picture everywhere else.

The interactive form loads nothing: JupyterLab and VS Code bring the renderer. GitHub and other viewers that only show
what was saved find the picture.
"""

from __future__ import annotations

import base64
import json
import textwrap
from dataclasses import dataclass
from typing import Any

from landscape.report.chart import Chart, Missing
from landscape.report.mpl_chart import picture
from landscape.report.plot import Figure, literal
from landscape.report.plotly_chart import draw
from landscape.report.study.landscapes import radial
from landscape.report.survey.figures import radial_figure
from landscape.survey.result import SurveyResult
from quant.errors import UsageError

PLOTLY = "application/vnd.plotly.v1+json"
"""Media type of a Plotly figure."""
_CONFIG = {"displaylogo": False, "showSendToCloud": False, "plotlyServerURL": "", "responsive": True}
_LETTERS = 96  # of a title on a line
_LINE = 20  # pixels: a line of a title


@dataclass(frozen=True, eq=False)
class NotebookFigure:
    """A figure in both forms; a notebook shows it where it is the value of a cell."""

    chart: Chart
    """The figure, described: the picture is drawn from it."""
    figure: Figure
    """The interactive form."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Return both forms and a sentence by media type, as IPython asks for them."""
        drawn = json.loads(self.figure.to_json())
        return {
            PLOTLY: {"data": drawn["data"], "layout": drawn["layout"], "config": _CONFIG},
            "image/png": base64.b64encode(picture(self.chart)).decode("ascii"),
            "text/plain": self.chart.title,
        }


def notebook_chart(chart: Chart) -> NotebookFigure:
    """Show a chart in a notebook, its title above it.

    Args:
        chart: The chart, such as one of ``landscape.report.study.figures.charts``.
    """
    figure, lines = draw(chart), textwrap.wrap(chart.title, _LETTERS)
    above = _LINE * len(lines) + 8
    text = {"text": "<br>".join(map(literal, lines)), "x": 0, "xref": "paper", "y": 1, "yref": "container"}
    figure.update_layout(
        title={**text, "yanchor": "top", "pad": {"t": 10}, "font": {"size": 15}},
        margin={"t": figure.layout.margin.t + above}, height=figure.layout.height + above,
    )  # fmt: skip
    return NotebookFigure(chart, figure)


def notebook_landscape(survey: SurveyResult) -> NotebookFigure:
    """Show the radial landscape of a survey in a notebook.

    Args:
        survey: The survey; the interactive form has the buttons of its page.

    Raises:
        UsageError: if no random direction was probed.
    """
    chart = radial(survey, "landscape")
    if isinstance(chart, Missing):
        raise UsageError(f"expected a survey with random directions, got none: {chart.reason}")
    return NotebookFigure(chart, radial_figure(survey))
