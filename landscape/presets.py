"""Presets: what a run costs, as one named set of numbers. Each number has an option of its own on the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from quant.errors import UsageError

ALL = None
"""For a number of windows: all that the split holds."""


@dataclass(frozen=True)
class Preset:
    """The numbers of a run; the help texts of the command line are these field docstrings."""

    name: str
    """Its name."""
    train_windows: int | None
    """Windows of the training split on which the loss is probed; None for all."""
    validation_windows: int | None
    """Windows of the validation split on which the loss is probed; None for all."""
    test_windows: int | None
    """Windows of the test split on which the points (not the rays) are evaluated; None for all."""
    seq_len: int | None
    """Tokens per window; None for as many as the model takes."""
    lambdas: int
    """Distances per direction."""
    alphas: int
    """Positions per segment at first, its two ends included."""
    calibration_windows: int
    """Windows of the training split that calibrate GPTQ."""
    qaft_examples: int
    """Windows of the training split that QAFT learns from."""
    qaft_epochs: int
    """Passes of QAFT over them."""
    rates: dict[int, tuple[float, ...]] = field(default_factory=dict)
    """Learning rates of QAFT by bit width; the best on the validation split is kept."""
    refinements: int = 4
    """Positions added to each segment where its loss bends, at most."""

    def rates_for(self, bits: int) -> tuple[float, ...]:
        """Learning rates to try at a bit width."""
        return self.rates[bits]


def _rates(*by_bits: tuple[range, tuple[float, ...]]) -> dict[int, tuple[float, ...]]:
    return {bits: rates for widths, rates in by_bits for bits in widths}


# Appendix A of the paper: high precision wants low rates, int3 and int2 high ones; small models higher than large.
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "quick", 4, 4, 8, 256, 10, 6, 32, 64, 1,
            _rates((range(2, 4), (1e-3,)), (range(4, 6), (1e-4,)), (range(6, 9), (1e-5,))),
        ),
        Preset(
            "standard", 16, 16, 32, 512, 14, 11, 128, 128, 1,
            _rates((range(2, 4), (1e-4, 1e-3)), (range(4, 9), (1e-5, 1e-4))), refinements=6,
        ),
        Preset(
            "paper", 128, ALL, ALL, None, 20, 21, 128, 128, 8,
            _rates((range(2, 9), (1e-6, 1e-5, 1e-4, 1e-3))), refinements=12,
        ),
    )
}  # fmt: skip


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: if there is none.
    """
    if name not in PRESETS:
        raise UsageError(f"expected one of {', '.join(PRESETS)} as preset, got {name!r}")
    return PRESETS[name]
