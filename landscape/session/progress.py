"""Report the progress of a run: the command line draws it, a library call stays silent."""

from __future__ import annotations

from typing import Protocol

from landscape.session.forecast import Forecast


class Progress(Protocol):
    """Receiver of reports on a run's progress."""

    def forecast(self, forecast: Forecast) -> None:
        """Show the work ahead and its cost, before the expensive part starts."""
        ...

    def stage(self, name: str) -> None:
        """Name the stage that begins."""
        ...

    def advance(self, work: float) -> None:
        """Add to the part of the forecast's ``work`` that is done."""
        ...

    def note(self, message: str) -> None:
        """Show a fact about the run."""
        ...

    def warn(self, message: str) -> None:
        """Show a problem that does not stop the run."""
        ...


class Silent:
    """Progress that shows nothing and keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def forecast(self, forecast: Forecast) -> None:
        """Ignore the report."""

    def stage(self, name: str) -> None:
        """Ignore the report."""

    def advance(self, work: float) -> None:
        """Ignore the report."""

    def note(self, message: str) -> None:
        """Ignore the report."""

    def warn(self, message: str) -> None:
        """Keep the message in ``warnings``."""
        self.warnings.append(message)
