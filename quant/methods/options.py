"""Choose how each method is run: plain options that a request can hold before torch is imported."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from quant.errors import UsageError
from quant.scheme import StraightThrough

Inputs = Literal["quantized", "fp"]
"""Whether a block is calibrated on the outputs of quantized blocks or of full-precision ones."""


@dataclass(frozen=True)
class GPTQOptions:
    """Options of GPTQ; the defaults are the paper's."""

    dampings: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4)
    """Dampings tried for every matrix, in units of mean(diag H) over the live inputs (Xu et al. 2024, §3.3)."""
    block_size: int = 128
    """Columns between two updates of all later columns; changes the speed, and codes only by rounding."""
    inputs: Inputs = "quantized"
    """Calibrate each block on the outputs of quantized blocks (quantized; Frantar et al.) or of full-precision ones
    (fp)."""
    true_sequential: bool = False
    """Within a block, calibrate each matrix on the outputs of those already quantized."""
    act_order: bool = False
    """Round columns by decreasing diag(H), the size of their inputs, rather than in stored order."""
    rtn_candidate: bool = False
    """Keep RTN's codes wherever their layer error is lowest; no layer's error can then rise."""

    def __post_init__(self) -> None:
        if not self.dampings or not all(math.isfinite(d) and d >= 0 for d in self.dampings):
            raise UsageError(f"expected finite dampings of at least 0, got {self.dampings}")
        if self.block_size < 1:
            raise UsageError(f"expected a block size of at least 1, got {self.block_size}")
        if self.inputs not in get_args(Inputs):
            raise UsageError(f"expected inputs (--gptq-inputs) from {', '.join(get_args(Inputs))}, got {self.inputs!r}")
        if self.true_sequential and self.inputs == "fp":
            raise UsageError(
                "expected quantized inputs with true_sequential (--gptq-inputs quantized), got fp, which have no order"
            )

    @property
    def changed(self) -> dict[str, object]:
        """Options that differ from the paper's."""
        paper = asdict(PAPER_GPTQ)
        return {name: value for name, value in asdict(self).items() if value != paper[name]}


PAPER_GPTQ = GPTQOptions()


@dataclass(frozen=True)
class AWQOptions:
    """Options of AWQ."""

    alphas: tuple[float, ...] = tuple(step / 20 for step in range(20))
    """Exponents α tried for every group of matrices; the authors' 0, 1/20, …, 19/20."""
    inputs: Inputs = "quantized"
    """Whether a block is calibrated on the outputs of quantized blocks, as in GPTQ, or of full-precision ones, as in
    the authors' code."""

    def __post_init__(self) -> None:
        if not self.alphas or not all(0 <= alpha <= 1 for alpha in self.alphas):
            raise UsageError(f"expected one or more exponents from 0 to 1, got {self.alphas}")
        if self.inputs not in get_args(Inputs):
            raise UsageError(f"expected inputs to be one of {', '.join(get_args(Inputs))}, got {self.inputs!r}")


@dataclass(frozen=True)
class SignRoundOptions:
    """Options of SignRound; the defaults are the authors'."""

    steps: int = 200
    """Updates for every block; 0 gives RTN."""
    rate: float | None = None
    """Change of an offset in the first step, falling linearly to 0 after the last; None for 1/steps."""
    batch: int = 8
    """Windows in a step, without repetition."""
    check_every: int = 10
    """Steps between two losses on all windows, which choose the iterate that stays; the last is always checked."""
    inputs: Inputs = "quantized"
    """Whether a block reads the outputs of quantized or of full-precision blocks; its target is the same."""
    seed: int = 0
    """Seed of the windows in each step."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch < 1 or self.check_every < 1:
            raise UsageError(
                f"expected steps ≥ 0, batch ≥ 1 and check_every ≥ 1, got {self.steps}, {self.batch}, {self.check_every}"
            )
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise UsageError(f"expected a finite rate above 0, got {self.rate}")
        if self.inputs not in get_args(Inputs):
            raise UsageError(f"expected inputs to be one of {', '.join(get_args(Inputs))}, got {self.inputs!r}")


@dataclass(frozen=True)
class TrainingOptions:
    """Options of the training of QAFT and ``w_FT``."""

    rates: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3)
    """Initial learning rates to try; the paper's grid."""
    epochs: int = 8
    """Passes over the training windows, for each rate."""
    ste: StraightThrough = "identity"
    """Straight-through estimator of QAFT: see ``quant.grid.fake_quantize``."""
    seed: int = 0
    """Seed of the order of the windows; the same for every rate."""
    learn_scale: bool = False
    """Whether QAFT learns the scales too (LSQ); the gain over fixed ones is the loss of the scale search."""
    checkpointing: bool = False
    """Whether the backward pass computes activations again: a third more time, memory for one block only."""

    def __post_init__(self) -> None:
        if not self.rates or not all(math.isfinite(rate) and rate >= 0 for rate in self.rates):
            raise UsageError(f"expected one or more finite learning rates, none negative, got {self.rates}")
        if self.epochs < 1 or self.seed < 0:
            raise UsageError(f"expected epochs ≥ 1 and seed ≥ 0, got {self.epochs} and {self.seed}")
        if self.ste not in get_args(StraightThrough):
            raise UsageError(f"expected ste to be one of {', '.join(get_args(StraightThrough))}, got {self.ste!r}")
