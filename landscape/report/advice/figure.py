"""Draw where RTN on each grid lies against the basin: its distance from w over R, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from landscape.advice.advise import AdviceResult
from landscape.advice.adviser import WidthAdvice
from landscape.report.advice.wording import grid_name
from landscape.report.chart import Axis, Band, Chart, Level, Look, Mark, Panel, Series, spanning
from landscape.report.palette import BLUE, INK, VERMILLION
from landscape.report.perplexity_change import change_with_ends

CAPTION = (
    "Each mark is RTN on one grid. To the right: its distance from the weights in units of R, at which the loss along "
    "random directions is halfway to chance. Upwards: the rise of its loss. Grey: the interval of R. A mark far left "
    "of 1 and high up lies on a steeper way than random ones, such as the clipping of a few weights."
)
_SYMBOLS = {"tensor": "circle", "channel": "diamond", "group": "square"}
_LEAST = 1e-4  # nats: rises below it, and those not above 0, are drawn there


def basin_chart(advised: AdviceResult) -> Chart | None:
    """Return the picture; None if R was not measured, or is not reached."""
    if advised.search is None or advised.search.radius.value is None:
        return None
    points = [mark for found in advised.advice for mark in _points(found, advised)]
    low, high = (end / advised.search.radius.value for end in (advised.search.radius.low, advised.search.radius.high))
    marks: list[Mark] = [
        Band("x", low, high if math.isfinite(high) else 4.0, "interval of R", opacity=0.1),
        Level("x", 1.0, "R", Look(INK, dash="solid", width=1.2)),
        Level("y", advised.limit.nats, f"limit {advised.limit.text}", Look(VERMILLION, dash="dash")),
        *points,
    ]
    places = [x for mark in points for x in mark.x]
    rises = [y for mark in points for y in mark.y]
    x = Axis("distance from w over R", log=True, range=spanning([*places, 1.3], log=True))
    y = Axis("rise of the loss, nats per token", log=True, range=spanning([*rises, advised.limit.nats], log=True))
    title = "Where rounding lies against the basin"
    return Chart("basin", title, CAPTION, ((Panel("", x, y, tuple(marks)),),))


def _points(found: WidthAdvice, advised: AdviceResult) -> Iterator[Series]:
    """Yield a mark for RTN on each grid of one bit width."""
    for grid in found.grids:
        rho, rise = advised.rho(grid), grid.rtn.rise
        if rho is None or not math.isfinite(rise.value):
            continue
        unit = grid.scheme.granularity.partition(":")[0]
        value, low, high = (max(end, _LEAST) for end in (rise.value, rise.low, rise.high))
        yield Series(
            f"RTN, one scale per {unit}", (rho.value,), (value,),
            Look(BLUE, _SYMBOLS[unit], size=10.0, filled=unit != "tensor"),
            (f"{found.bits} bits, {grid_name(grid.scheme)}: perplexity {change_with_ends(rise)} at {rho.value:.2g} R",),
            (low,), (high,), (str(found.bits),), "top right",
        )  # fmt: skip
