"""Request advice: the grids, and the acceptable loss."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.estimators.loss_limit import Limit
from landscape.session.point_specs import PointSpec, point_specs
from landscape.session.presets import PRESETS, Preset
from landscape.session.request import LAST, PresetRequest, ProbingRequest, option
from quant.errors import UsageError
from quant.methods.options import PAPER_GPTQ, GPTQOptions


@dataclass(frozen=True, kw_only=True)
class AdviceRequest(PresetRequest, ProbingRequest):
    """The grids to advise on, and the loss that is acceptable."""

    bits: tuple[int, ...] = option("--bits", "-b", default=(8, 4, 3, 2))
    """Bit widths, 2 to 8, comma-separated."""
    limit: Limit = option("--limit", "-l", factory=lambda: Limit.parse("ppl+5%"))
    """The loss that you accept: ppl+5% (perplexity), or nll+0.05 (nats per token)."""
    scales: tuple[str, ...] = option("--scale", default=("exact",))
    """Rules for the grid's scale, comma-separated: exact, histogram, histogram-torch, absmax, mse."""
    granularities: tuple[str, ...] = option("--granularity", default=("tensor",))
    """Weights that share a scale: tensor, channel (output), or group:N (N of its inputs), comma-separated."""
    preset: Preset = option(
        factory=lambda: PRESETS["standard"],
        rank=LAST,
        numbers=("validation_windows", "seq_len"),
        least=2,  # windows without which no interval is known, and tokens without which no loss is
    )
    """quick, standard or paper: gives the numbers under "Set by --preset" that you do not, and those with which the
    time of GPTQ and QAFT is estimated."""

    gptq: GPTQOptions = option(default=PAPER_GPTQ, hidden=True)
    """Options of GPTQ, which advice does not run: its cost does not depend on them."""

    def __post_init__(self) -> None:
        windows = self.preset.validation_windows
        if windows is not None and windows < 2:
            raise UsageError(f"expected at least 2 --windows, without which no interval is known, got {windows}")

    @property
    def specs(self) -> tuple[PointSpec, ...]:
        """RTN on every grid."""
        return point_specs(("rtn",), self.bits, self.scales, self.granularities)
