"""Evaluate plans with an engine, which knows positions, windows and a model, and nothing of files."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from landscape.probing.plan import ProbePlan, ProbeResult


class Engine(Protocol):
    """An evaluator of plans."""

    def evaluate(self, plan: ProbePlan) -> Generator[ProbeResult, None, None]:
        """Yield one result per probe, in the plan's order, as soon as it is evaluated."""
        ...
