"""Advise bit width by bit width, asking for evidence in the order of its price: RTN, then trials where they can decide.

RTN         on every grid, on 4, 8, 16, … validation windows, until ΔL lies on one side of the limit, and of the
            largest ΔL at which GPTQ may still bring it within (``landscape.estimators.looks``)
GPTQ        foretold; where RTN leaves it open, tried on little data, grid by grid in the order of their bits per weight
            until one keeps the limit
w_FT        once, where neither RTN nor GPTQ keeps the limit: QAFT is foretold less this control

The evidence on a grid does not depend on the grids beside it, except that trials stop where one keeps the limit. It
comes from a ``Source``: a session that measures, or a table of measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from landscape.advice.choice import Choice, Verdict, decide, keeps
from landscape.advice.foretell import FORMULAS, Formulas, PowerLaw, added, at_most
from landscape.advice.grids import Candidates
from landscape.estimators.intervals import Estimate
from landscape.estimators.looks import FIRST, Look, look
from landscape.estimators.loss_limit import Limit
from quant.scheme import QuantScheme


class Source(Protocol):
    """The source of the evidence; in a rehearsal its answers may raise ``NotEvaluated``."""

    @property
    def windows(self) -> int:
        """Number of validation windows there are."""
        ...

    @property
    def gptq_tokens(self) -> int:
        """Number of tokens that calibrate the small GPTQ."""
        ...

    def rtn(self, scheme: QuantScheme, windows: int, level: float) -> Estimate:
        """Measure ΔL of RTN on the first windows, with a two-sided interval of this level."""
        ...

    def gptq(self, scheme: QuantScheme, windows: int, level: float) -> Estimate:
        """Measure ΔL of GPTQ calibrated on little data, in the same way."""
        ...

    def untrainable(self) -> str | None:
        """Say why w_FT cannot be trained; None if it can."""
        ...

    def control(self, windows: int, level: float) -> Estimate:
        """Measure ΔL of w_FT after a short training, in the same way."""
        ...

    def distance(self, scheme: QuantScheme) -> float:
        """Return ‖Δw‖ of RTN."""
        ...

    def bits_per_weight(self, scheme: QuantScheme) -> float:
        """Return the bits of a weight, with scales and zero points."""
        ...


@dataclass(frozen=True)
class Question:
    """A loss that a user accepts, and how surely it shall be kept."""

    limit: Limit
    confidence: float
    """Probability with which the limit shall be kept."""
    net: bool = False
    """True to judge QAFT less its control."""


@dataclass(frozen=True)
class GridEvidence:
    """The measurements of RTN on one grid."""

    scheme: QuantScheme
    bits_per_weight: float
    """With scales and zero points."""
    distance: float
    """‖Δw‖."""
    rtn: Look
    """ΔL."""
    left: Mapping[QuantScheme, float]
    """ΔL on the first windows of the grids that were left for this one, which differ in their scale."""


@dataclass(frozen=True)
class Control:
    """The change of the loss by plain fine-tuning, which QAFT's raw loss includes."""

    rise: Estimate | None
    """ΔL of w_FT after a short training; None where it could not be trained."""
    refused: str = ""
    """Why it could not be trained."""

    @property
    def share(self) -> Estimate:
        """The part of it in QAFT's raw loss: if unknown, anything below 0, as training keeps the best it met."""
        return self.rise or Estimate(0.0, -math.inf, 0.0)


@dataclass(frozen=True)
class WidthAdvice:
    """The advice for one bit width."""

    bits: int
    grids: tuple[GridEvidence, ...]
    """The evidence on each grid."""
    choices: tuple[Choice, ...]
    """All ways on these grids."""
    verdict: Verdict
    control: Control | None
    """The control of QAFT; None where no verdict of the run needed it, and QAFT is foretold less its control."""


class Adviser:
    """Adviser of one model."""

    def __init__(self, question: Question, source: Source, formulas: Formulas = FORMULAS) -> None:
        """Bind to what a user accepts, and to the evidence on a model."""
        self._question, self._source, self._formulas = question, source, formulas
        self._grids: dict[Candidates, GridEvidence] = {}

    @property
    def _marks(self) -> tuple[float, float]:
        """ΔL that RTN is compared with, nats per token: the limit, and the largest that GPTQ may bring within it."""
        return self._question.limit.nats, self._formulas.gptq.hopeless(self._question.limit.nats)

    def grid(self, tried: Candidates) -> GridEvidence:
        """Look at RTN on a grid, with the scale that loses less on the first windows."""
        if tried not in self._grids:
            source, first = self._source, min(FIRST, self._source.windows)
            rises = {scheme: source.rtn(scheme, first, 0.5).value for scheme in tried.schemes}
            best = min(rises, key=lambda scheme: rises[scheme])
            self._grids[tried] = GridEvidence(
                scheme=best,
                bits_per_weight=source.bits_per_weight(best),
                distance=source.distance(best),
                rtn=look(partial(source.rtn, best), source.windows, self._question.confidence, self._marks),
                left={scheme: rise for scheme, rise in rises.items() if scheme != best},
            )
        return self._grids[tried]

    def advise_all(self, widths: Sequence[Sequence[Candidates]]) -> tuple[WidthAdvice, ...]:
        """Advise on several bit widths; where the verdict of one needed the control of QAFT, all count it.

        No verdict changes by it: at a width that did not need it, a cheaper way keeps the limit.

        Args:
            widths: The grids of each bit width.
        """
        found = [self.advise(tried) for tried in widths]
        control = next((each.control for each in found if each.control is not None), None)
        return tuple(each if each.control == control else self._counting(each, control) for each in found)

    def _counting(self, found: WidthAdvice, control: Control | None) -> WidthAdvice:
        trained = {grid.scheme: self._foretold_qaft(grid, control) for grid in found.grids}
        choices = tuple(trained[each.scheme] if each.way == "qaft" else each for each in found.choices)
        return replace(found, choices=choices, control=control)

    def advise(self, tried: Sequence[Candidates]) -> WidthAdvice:
        """Collect the evidence on the grids of one bit width, and decide.

        Args:
            tried: The grids, at least one.
        """
        grids = tuple(map(self.grid, tried))
        enough = partial(keeps, limit=self._question.limit, net=self._question.net)
        rounded = [self._rounded(grid) for grid in grids]
        foretold = {grid.scheme: self._foretold_gptq(grid) for grid in grids}
        control = None
        if not any(map(enough, rounded)):
            for grid in sorted(grids, key=lambda grid: foretold[grid.scheme].price):
                if not grid.rtn.rise.low > self._marks[1]:
                    foretold[grid.scheme] = self._tried_gptq(grid)
                    if enough(foretold[grid.scheme]):
                        break
            else:
                control = self._control()
        trained = (self._foretold_qaft(grid, control) for grid in grids)
        choices = (*rounded, *foretold.values(), *trained)
        verdict = decide(choices, self._question.limit, self._question.net)
        return WidthAdvice(tried[0].bits, grids, choices, verdict, control)

    def _rounded(self, grid: GridEvidence) -> Choice:
        return Choice("rtn", grid.scheme, grid.bits_per_weight, grid.rtn.rise, "measured", windows=grid.rtn.windows)

    def _foretold_gptq(self, grid: GridEvidence) -> Choice:
        rise = at_most(self._foretold(self._formulas.gptq, grid), grid.rtn.rise)
        return Choice("gptq", grid.scheme, grid.bits_per_weight, rise, "foretold")

    def _foretold(self, law: PowerLaw, grid: GridEvidence) -> Estimate:
        return law.foretell(grid.rtn.rise, self._question.confidence)

    def _tried_gptq(self, grid: GridEvidence) -> Choice:
        source, question = self._source, self._question
        found = look(partial(source.gptq, grid.scheme), source.windows, question.confidence, self._marks[:1])
        return Choice(
            "gptq", grid.scheme, grid.bits_per_weight, found.rise, "measured",
            windows=found.windows, tokens=source.gptq_tokens,
        )  # fmt: skip

    def _foretold_qaft(self, grid: GridEvidence, control: Control | None) -> Choice:
        net, own = self._foretold(self._formulas.qaft, grid), grid.rtn.rise
        raw = net if control is None else added(net, control.share)
        return Choice("qaft", grid.scheme, grid.bits_per_weight, at_most(raw, own), "foretold", at_most(net, own))

    def _control(self) -> Control:
        """Look at w_FT until the sign of its ΔL is clear."""
        source = self._source
        if refused := source.untrainable():
            return Control(None, refused)
        return Control(look(source.control, source.windows, self._question.confidence, (0.0,)).rise)
