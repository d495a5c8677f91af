"""What is to be evaluated: probes, and the plan that lists them position by position."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landscape.positions.position import Position
from quant.hashing import token_hash


@dataclass(frozen=True, slots=True)
class Probe:
    """Identity of one evaluation, inside one model and dtype."""

    position: str
    """Recipe of the position: ``w``, ``point/…``, ``ray/…``, ``segment/…``, ``plane/…``, ``parts/…``."""
    window: str
    """Hash of the window's token ids."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe measured."""

    probe: Probe
    total: float
    """Sum of −ln p over the scored tokens, in nats; NaN or infinity where the model's output is: a result."""
    tokens: int
    """How many tokens were scored."""


@dataclass(frozen=True, eq=False)
class Window:
    """One window of tokens and its identity."""

    identity: str
    """Hash of its token ids."""
    tokens: Tensor
    """(L,) int64."""
    article: int | None = None
    """Which article of its split it lies in; None if not known. A label, no part of the identity: the loss is the
    same."""


def identified(windows: Tensor, articles: Tensor | None = None) -> tuple[Window, ...]:
    """Windows of token ids, (n, L), with their identities, and with their articles, (n,), if these are known."""
    labels = [None] * len(windows) if articles is None else articles.tolist()
    return tuple(Window(token_hash(row)[:32], row, label) for row, label in zip(windows, labels, strict=True))


def blocks_of(windows: Iterable[Window]) -> NDArray[np.int64] | None:
    """The articles of windows as the estimators take them, (n_w,); None if not all are known."""
    labels = [window.article for window in windows]
    known = [label for label in labels if label is not None]
    return np.array(known, np.int64) if len(known) == len(labels) else None


@dataclass(frozen=True, eq=False)
class PlanStep:
    """One position and the windows to evaluate there."""

    position: Position
    windows: tuple[Window, ...]


@dataclass(frozen=True, eq=False)
class ProbePlan:
    """Steps in the order they are to be made.

    All λ of a direction in a row, so that it is drawn once; and positions that leave the first blocks as they are by
    how many they leave, so that what these put out is computed once.
    """

    steps: tuple[PlanStep, ...]

    @classmethod
    def of(cls, positions: Iterable[Position], windows: tuple[Window, ...]) -> ProbePlan:
        """The same windows at every position."""
        return cls(tuple(PlanStep(position, windows) for position in positions))

    def __add__(self, other: ProbePlan) -> ProbePlan:
        return ProbePlan(self.steps + other.steps)

    def __len__(self) -> int:
        """How many different probes it asks for."""
        return len(set(self.probes()))

    def probes(self) -> Iterator[Probe]:
        """Its probes, in order; one that several steps ask for comes several times."""
        for step in self.steps:
            recipe = str(step.position)
            yield from (Probe(recipe, window.identity) for window in step.windows)

    def missing(self, known: Container[Probe]) -> ProbePlan:
        """What is left to do: each probe once that is not known yet."""
        asked: set[Probe] = set()
        steps = []
        for step in self.steps:
            recipe, windows = str(step.position), []
            for window in step.windows:
                probe = Probe(recipe, window.identity)
                if probe not in known and probe not in asked:
                    asked.add(probe)
                    windows.append(window)
            if windows:
                steps.append(PlanStep(step.position, tuple(windows)))
        return ProbePlan(tuple(steps))
