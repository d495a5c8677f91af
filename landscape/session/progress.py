"""What a run tells while it works; the command line draws it, a library call stays silent."""

from __future__ import annotations

from typing import Protocol

from landscape.session.forecast import Forecast


class Progress(Protocol):
    """Hears of a run's progress."""

    def forecast(self, forecast: Forecast) -> None:
        """What is about to be done and what it will cost, told before the expensive work starts."""
        ...

    def stage(self, name: str) -> None:
        """A new stage begins."""
        ...

    def advance(self, work: float) -> None:
        """So much of the forecast's ``work`` is done."""
        ...

    def note(self, message: str) -> None:
        """Say something about the run that is good to know."""
        ...

    def warn(self, message: str) -> None:
        """Something went wrong that the run survives."""
        ...


class Silent:
    """Says nothing, but keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def forecast(self, forecast: Forecast) -> None:
        """Ignored."""

    def stage(self, name: str) -> None:
        """Ignored."""

    def advance(self, work: float) -> None:
        """Ignored."""

    def note(self, message: str) -> None:
        """Ignored."""

    def warn(self, message: str) -> None:
        """Kept in ``warnings``."""
        self.warnings.append(message)
