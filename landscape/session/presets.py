"""Presets: what a run costs, as one named set of numbers, each of which an option of the command line can set.

Needs nothing of ``quant`` until a name is unknown, so that ``landscape --help`` tells the numbers without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ALL_WINDOWS = None
"""For a number of windows: all that the split holds."""


@dataclass(frozen=True)
class Preset:
    """The numbers of a run; the help texts of the command line tell them for each preset (``told``)."""

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
            "paper", 128, ALL_WINDOWS, ALL_WINDOWS, None, 20, 21, 128, 128, 8,
            _rates((range(2, 9), (1e-6, 1e-5, 1e-4, 1e-3))), refinements=12,
        ),
    )
}  # fmt: skip


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: if there is none.
    """
    from quant.errors import UsageError  # here, for it brings torch with it

    if name not in PRESETS:
        raise UsageError(f"expected one of {', '.join(PRESETS)} as preset, got {name!r}")
    return PRESETS[name]


OPTIONS: dict[str, tuple[str, ...]] = {
    "windows": ("train_windows", "validation_windows"),
    "test_windows": ("test_windows",),
    "seq_len": ("seq_len",),
    "lambda_count": ("lambdas",),
    "alphas": ("alphas",),
    "refinements": ("refinements",),
    "calibration_windows": ("calibration_windows",),
    "qaft_examples": ("qaft_examples",),
    "qaft_epochs": ("qaft_epochs",),
}
"""The numbers that each option of the command line sets; ``qaft_rates`` beside them sets ``rates``, at all widths."""


def told(*numbers: str) -> str:
    """What each preset has, for ``--help``: ``[quick 4, standard 16, paper 128/all]``.

    Args:
        numbers: Fields of a preset; their values, if they differ, are all told.
    """
    shares = (
        f"{preset.name} {'/'.join(dict.fromkeys(_told(preset, number) for number in numbers))}"
        for preset in PRESETS.values()
    )
    return f"[{', '.join(shares)}]"


def _told(preset: Preset, number: str) -> str:
    if number == "rates":
        return str(len(next(iter(preset.rates.values()))))
    value = getattr(preset, number)
    if value is None:
        return "the model's" if number == "seq_len" else "all"
    return str(value)
