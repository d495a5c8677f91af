"""Score advice against outcomes: hits and misses, limits kept, coverage of what was foretold, tokens.

Every model is advised with constants that were fitted to the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.advice.cells import CONFIDENCE, LIMITS, Cell, Model
from benchmarks.advice.fit import fit
from landscape.advice.adviser import Adviser, Question, WidthAdvice
from landscape.advice.foretell import FORMULAS, Formulas
from landscape.advice.ways import WAYS, Way
from landscape.estimators.intervals import Estimate
from landscape.estimators.looks import FIRST
from landscape.estimators.loss_limit import Limit

CALIBRATING = 2
"""Passes of a calibration token in GPTQ: it goes through every block twice."""
TRAINING = 4
"""Passes of a token in QAFT: a forward, a backward and two more passes' worth."""


@dataclass(frozen=True, eq=False)
class Decision:
    """The advice on one grid for one limit, beside what was right."""

    model: Model
    cell: Cell
    limit: Limit
    advice: WidthAdvice

    @property
    def way(self) -> Way:
        """The way that is advised."""
        return self.advice.verdict.choice.way

    @property
    def right(self) -> tuple[Way, ...]:
        """The ways that are right."""
        return self.cell.right(self.limit)

    @property
    def hit(self) -> bool:
        """True if the advised way is right."""
        return self.way in self.right

    @property
    def cheap(self) -> bool:
        """True if a more expensive way was right."""
        return not self.hit and WAYS.index(self.way) < WAYS.index(self.right[0])

    @property
    def kept(self) -> bool:
        """True if the advised way kept the limit on the test windows."""
        return self.cell.outcomes[self.way] <= self.limit.nats

    @property
    def could_be_kept(self) -> bool:
        """True if any way kept it."""
        return min(self.cell.outcomes.values()) <= self.limit.nats

    @property
    def open(self) -> bool:
        """True if a small GPTQ was made."""
        return any(choice.tokens for choice in self.advice.choices)

    @property
    def tokens(self) -> int:
        """Token passes that this advice took, those that all grids of a model share left out: w, w_FT and R."""
        seq_len = self.model.row["seq_len"]
        looked = sum(choice.windows or 0 for choice in self.advice.choices)
        compared = FIRST * (self.cell.row["scales"] - 1)
        calibrated = sum(CALIBRATING * choice.tokens for choice in self.advice.choices if choice.tokens)
        return (looked + compared) * seq_len + calibrated

    @property
    def of_calibration(self) -> float:
        """Tokens of the advice over the token passes of GPTQ's calibration."""
        return self.tokens / (CALIBRATING * self.model.row["calibration_tokens"])

    @property
    def of_training(self) -> float:
        """Tokens of the advice over the token passes of QAFT, all its learning rates together."""
        return self.tokens / (TRAINING * self.model.row["training_tokens"])


def decisions(models: Sequence[Model], leave_out: bool = True) -> Iterator[Decision]:
    """Yield the advice on every grid and limit, each grid asked about alone.

    Args:
        models: All models.
        leave_out: Whether the constants are fitted to the other models; else they are those of the package.
    """
    for model in models:
        formulas = fit([each for each in models if each is not model]).formulas if leave_out else FORMULAS
        for cell in model.cells:
            for limit in LIMITS:
                yield decide_alone(model, cell, limit, formulas)


def decide_alone(model: Model, cell: Cell, limit: Limit, formulas: Formulas) -> Decision:
    """Advise on one grid from the rows."""
    adviser = Adviser(Question(limit, CONFIDENCE), model, formulas)
    return Decision(model, cell, limit, adviser.advise([cell.tried]))


def foretold(model: Model, cell: Cell, formulas: Formulas, level: float) -> dict[Way, tuple[Estimate, float]]:
    """Foretell GPTQ and QAFT (net of w_FT) with intervals of a two-sided level, beside what they then gave.

    Args:
        model: The model.
        cell: The grid.
        formulas: Constants that the model had no part in.
        level: Confidence of the intervals.
    """
    one_sided = (1 + level) / 2
    rtn = model.rtn(cell.scheme, model.windows, level)
    return {
        "gptq": (formulas.gptq.foretell(rtn, one_sided), cell.outcomes["gptq"]),
        "qaft": (formulas.qaft.foretell(rtn, one_sided), cell.outcomes["qaft"] - cell.control),
    }
