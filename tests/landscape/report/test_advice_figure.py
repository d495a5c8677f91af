"""The picture of advice: where rounding lies against the basin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from landscape.estimators.loss_limit import Limit
from landscape.report.advice.figure import basin_chart
from landscape.report.chart import Band


def test_the_band_is_the_interval_of_r_in_units_of_r() -> None:
    """Marks stand at ‖Δw‖/R, so a grid whose ‖Δw‖ is the lower end of R stands at the left end of the band."""
    radius = SimpleNamespace(value=100.0, low=60.0, high=140.0)
    advised: Any = SimpleNamespace(
        search=SimpleNamespace(radius=radius), advice=(), limit=Limit.parse("ppl+5%")
    )  # fmt: skip
    chart = basin_chart(advised)
    assert chart is not None
    (band,) = (mark for mark in chart.panels[0][0].marks if isinstance(mark, Band))
    assert (band.low, band.high) == (0.6, 1.4)
