"""Follow a survey that goes on past points that cannot be made."""

from __future__ import annotations

from typing import Protocol

from landscape.session.point_specs import MadeSpec


class Watcher(Protocol):
    """Receiver of the outcome of each point."""

    def made(self, spec: MadeSpec, seconds: float) -> None:
        """Note a point that was made in so many seconds."""
        ...

    def failed(self, spec: MadeSpec, error: Exception) -> None:
        """Note a point that could not be made, and why."""
        ...
