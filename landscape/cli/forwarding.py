"""Pass on what a run reports: the base of progress that ends a run at its forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.session.forecast import Forecast
    from landscape.session.progress import Progress


@dataclass(frozen=True)
class Forwarding:
    """Progress that passes on all reports."""

    progress: Progress
    """The receiver of the reports."""

    def forecast(self, forecast: Forecast) -> None:
        """Pass on a forecast."""
        self.progress.forecast(forecast)

    def stage(self, name: str) -> None:
        """Pass on the begin of a stage."""
        self.progress.stage(name)

    def advance(self, work: float) -> None:
        """Pass on finished work, in forward passes of a window."""
        self.progress.advance(work)

    def note(self, message: str) -> None:
        """Pass on a note."""
        self.progress.note(message)

    def warn(self, message: str) -> None:
        """Pass on a warning."""
        self.progress.warn(message)
