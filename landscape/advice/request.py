"""Request advice: the grids, and the acceptable loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from landscape.advice.grids import MEASURED, SHIPPED, WIDTHS
from landscape.estimators.loss_limit import Limit
from landscape.session.bounds import WINDOWS
from landscape.session.point_specs import scheme_of
from landscape.session.presets import PRESETS, Preset
from landscape.session.request import LAST, PresetRequest, ProbingRequest, option
from quant.errors import UsageError
from quant.methods.options import PAPER_GPTQ, GPTQOptions
from quant.scheme import Width

if TYPE_CHECKING:
    from landscape.advice.adviser import Question

TRIAL_CALIBRATION, TRIAL_TRAINING = 16, 32
"""Training windows of the small GPTQ and of the short fine-tuning."""


@dataclass(frozen=True, kw_only=True)
class AdviceRequest(PresetRequest, ProbingRequest):
    """The grids to advise on, and the loss that is acceptable."""

    bits: tuple[Width, ...] = option("--bits", "-b", default=WIDTHS)
    """Bit widths, 2 to 8, and float formats (nvfp4, mxfp4, fp8), comma-separated."""
    limit: Limit = option("--limit", "-l", factory=lambda: Limit.parse("ppl+5%"))
    """The loss that you accept: ppl+5% (perplexity), or nll+0.05 (nats per token)."""
    confidence: float = option("--confidence", default=0.9)
    """Probability with which the limit shall be kept, above 0.5 and below 1."""
    net: bool = False
    """Judge QAFT less what plain fine-tuning on the same text gains; by default its raw loss decides."""
    granularities: tuple[str, ...] = option("--granularity", default=SHIPPED)
    """Weights of an integer grid that share a scale: tensor, channel (output), group:N (N of its inputs), or group
    (128, or the largest number that divides all matrices), comma-separated."""
    scales: tuple[str, ...] = option("--scale", default=(), unset=MEASURED)
    """Rules for the scale of integer grids, comma-separated: exact, histogram, histogram-torch, absmax, mse."""
    radius: bool = True
    """Measure the radius R of the basin too, which places each grid in it; no verdict needs it."""
    explain: bool = False
    """Measure why: what clipping costs, and R along directions that move each tensor as far as rounding does."""
    windows: int = option("--windows", default=32, least=2, most=WINDOWS)
    """Validation windows to measure a loss on, at most; a loss far from the limit takes 4 or 8 of them."""
    preset: Preset = option(
        factory=lambda: PRESETS["standard"],
        rank=LAST,
        numbers=("seq_len",),
        least=2,  # tokens without which no loss is known
    )
    """quick, standard or paper: gives the tokens per window, if you do not, and the numbers with which the time of GPTQ
    and QAFT is estimated."""

    gptq: GPTQOptions = option(default=PAPER_GPTQ, hidden=True)
    """Options of GPTQ; advice tries it as it is shipped: see ``landscape.advice.trials``."""

    def __post_init__(self) -> None:
        if self.windows < 2:
            raise UsageError(f"expected at least 2 --windows, without which no interval is known, got {self.windows}")
        if not 0.5 < self.confidence < 1:
            raise UsageError(f"expected a --confidence above 0.5 and below 1, such as 0.9, got {self.confidence:g}")
        if not self.granularities:
            raise UsageError("expected at least one --granularity, such as channel, got none")
        if all(isinstance(width, str) for width in self.bits) and (self.scales or self.granularities != SHIPPED):
            raise UsageError(
                "expected an integer width among --bits with --scale or --granularity, got "
                f"{', '.join(map(str, self.bits))}, whose scales are given; leave these options out"
            )
        units = ["group:16" if each == "group" else each for each in self.granularities]
        for width, scale, unit in product(self.bits, self.scales or ("absmax",), units):
            scheme_of(width, scale, unit, symmetric=True)  # refuse an unknown grid now

    @property
    def question(self) -> Question:
        """The loss that the user accepts."""
        from landscape.advice.adviser import Question  # which imports numpy

        return Question(self.limit, self.confidence, self.net)

    @property
    def drawn(self) -> Preset:
        """See ``PresetRequest``: the trials take fewer windows than the methods."""
        return replace(
            self.preset,
            train_windows=TRIAL_TRAINING,
            validation_windows=self.windows,
            test_windows=1,
            calibration_windows=TRIAL_CALIBRATION,
            qaft_examples=TRIAL_TRAINING,
        )

    @property
    def data_for(self) -> tuple[str, ...]:
        """See ``PresetRequest``."""
        return ("gptq", "w_ft")
