"""Describe what to evaluate: probes, and plans that list them position by position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landscape.positions.directions import Family
from landscape.positions.position import At, OnRay, Position
from quant.hashing import token_hash

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Probe:
    """Identity of one evaluation, inside one model and dtype."""

    position: str
    """Recipe of the position: ``w``, ``point/…``, ``ray/…``, ``segment/…``, ``plane/…``, ``parts/…``."""
    window: str
    """Hash of the window's token ids."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Comparison of the predictions at a position with those at w, summed over the scored tokens of one window."""

    kl: float
    """Sum of KL(w ‖ position), in nats; NaN and infinity are results, as for a loss."""
    agreeing: int
    """Number of tokens whose most probable id is the same as at w."""
    entropy: float
    """Sum of the entropies of the predictions at the position, in nats."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The loss that one probe measured."""

    probe: Probe
    total: float
    """Sum of −ln p over the scored tokens, in nats; NaN and infinity are results, where the model's output is one."""
    tokens: int
    """Number of scored tokens."""
    fidelity: Fidelity | None = None
    """Comparison with w; None if it was not measured."""


class NotEvaluated(KeyError):  # noqa: N818 – it reports a state that forecasts expect
    """A probe without a result, or a point that is not made yet.

    Forecasts catch this error alone, so that a mistyped key of any other mapping stays an error.
    """


def require(known: Mapping[K, V], key: K) -> V:
    """Look up the result of a probe, or a point, that must be known by now.

    Raises:
        NotEvaluated: It is not known.
    """
    try:
        return known[key]
    except KeyError:
        raise NotEvaluated(f"expected {key} to be evaluated or made, it is not yet; run its plan first") from None


@dataclass(frozen=True, eq=False)
class Window:
    """One window of tokens and its identity."""

    identity: str
    """Hash of the token ids."""
    tokens: Tensor
    """(L,) int64."""
    article: int | None = None
    """Index of the article in its split; None if not known. A label outside the identity: it does not change the
    loss."""


def identified(windows: Tensor, articles: Tensor | None = None) -> tuple[Window, ...]:
    """Give windows of token ids their identities.

    Args:
        windows: Token ids, (n, L).
        articles: Index of each window's article, (n,), if known.
    """
    labels = [None] * len(windows) if articles is None else articles.tolist()
    return tuple(Window(token_hash(row)[:32], row, label) for row, label in zip(windows, labels, strict=True))


def blocks_of(windows: Iterable[Window]) -> NDArray[np.int64] | None:
    """Return the articles of windows as the estimators take them, (n_w,); None if not all are known."""
    labels = [window.article for window in windows]
    known = [label for label in labels if label is not None]
    return np.array(known, np.int64) if len(known) == len(labels) else None


@dataclass(frozen=True, eq=False)
class PlanStep:
    """One position and the windows to evaluate there."""

    position: Position
    windows: tuple[Window, ...]
    fidelity: bool = False
    """Whether to compare the predictions with those at w too."""


@dataclass(frozen=True, eq=False)
class ProbePlan:
    """Steps in the order of evaluation.

    All λ of a direction stand in a row, so that it is drawn once. Positions that leave the first blocks unchanged are
    sorted by the number of these blocks, so that the output of the blocks is computed once.
    """

    steps: tuple[PlanStep, ...]

    @classmethod
    def of(cls, positions: Iterable[Position], windows: tuple[Window, ...], fidelity: bool = False) -> ProbePlan:
        """Plan the same windows at every position."""
        return cls(tuple(PlanStep(position, windows, fidelity) for position in positions))

    def __add__(self, other: ProbePlan) -> ProbePlan:
        return ProbePlan(self.steps + other.steps)

    def __len__(self) -> int:
        """Count the distinct probes."""
        return len(set(self.probes()))

    def probes(self) -> Iterator[Probe]:
        """Yield the probes in order; a probe in several steps comes several times."""
        for step in self.steps:
            yield from _probes(step)

    @property
    def compared(self) -> tuple[Window, ...]:
        """The distinct windows on which predictions are compared with those at w."""
        windows = {window.identity: window for step in self.steps if step.fidelity for window in step.windows}
        return tuple(windows.values())

    def missing(self, known: Mapping[Probe, ProbeResult]) -> ProbePlan:
        """Return the plan of all probes that are not known yet, each once.

        A probe that is known without its fidelity is missing where a step asks for that, and one that several steps
        ask for is evaluated with its fidelity if any of them does.
        """
        compared = {p for step in self.steps if step.fidelity for p in _probes(step)}
        taken: set[Probe] = set()
        steps = []
        for step in self.steps:
            left = []
            for probe, window in zip(_probes(step), step.windows, strict=True):
                if probe not in taken and _lacking(known.get(probe), probe in compared):
                    taken.add(probe)
                    left.append((probe in compared, window))
            for fidelity, group in groupby(left, key=lambda each: each[0]):
                steps.append(replace(step, windows=tuple(window for _, window in group), fidelity=fidelity))
        return ProbePlan(tuple(steps))


def _probes(step: PlanStep) -> list[Probe]:
    recipe = str(step.position)
    return [Probe(recipe, window.identity) for window in step.windows]


def _lacking(result: ProbeResult | None, fidelity: bool) -> bool:
    """Return whether a probe must be evaluated, given what is known of it."""
    return result is None or (fidelity and result.fidelity is None)


def point_plan(labels: Iterable[str], windows: tuple[Window, ...], fidelity: bool = False) -> ProbePlan:
    """Plan the points with these labels."""
    return ProbePlan.of([At(label) for label in labels], windows, fidelity)


def ray_plan(
    family: Family,
    directions: int,
    lambdas: Sequence[float],
    windows: tuple[Window, ...],
    pairs: bool = False,
    fidelity: bool = False,
) -> ProbePlan:
    """Plan every direction at every distance, direction by direction, so that each is drawn once.

    Args:
        family: The directions.
        directions: Number of directions, the first ones of the family.
        lambdas: Distances from w, (n_λ,).
        windows: The windows at each position.
        pairs: Whether to follow every direction both ways, ±ê.
        fidelity: Whether to compare the predictions with those at w.
    """
    signs = (1, -1) if pairs else (1,)
    positions = (OnRay(family.name, index, s * lam) for index in range(directions) for s in signs for lam in lambdas)
    return ProbePlan.of(positions, windows, fidelity)
