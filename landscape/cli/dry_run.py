"""Stop a run when its forecast is known: ``--dry-run`` of the commands that forecast their work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from landscape.cli.forwarding import Forwarding

if TYPE_CHECKING:
    from landscape.session.forecast import Forecast
    from landscape.session.progress import Progress
    from landscape.session.request import Request


def forecast_alone(answer: Callable[[Any, Any], object], request: Request, progress: Progress) -> Forecast:
    """Answer a request up to its forecast: no loss is evaluated, and no point is made that takes long.

    The store is opened, which fixes its threads and batch size, and a text that is sampled from the model is sampled.

    Args:
        answer: A verb that reports its forecast before the work begins.
        request: Its request.
        progress: Receives stages, notes and warnings.
    """
    try:
        answer(request, _UntilForecast(progress))
    except _ForecastMade as made:
        return made.forecast
    raise RuntimeError("expected a forecast before the work, there was none")


class _ForecastMade(BaseException):
    """Leaves the run, past everything that handles errors."""

    def __init__(self, forecast: Forecast) -> None:
        super().__init__()
        self.forecast = forecast


class _UntilForecast(Forwarding):
    """Progress that passes on all reports, and ends the run at the forecast."""

    def forecast(self, forecast: Forecast) -> None:
        raise _ForecastMade(forecast)
