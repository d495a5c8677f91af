"""Define the presets: sets of numbers that decide the cost of a run, each with an option of the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from landscape.session.bounds import EPOCHS, EXAMPLES, MOST_RATE, POSITIONS, TOKENS, WINDOWS, Most
from quant.errors import UsageError

WINDOW = 512
"""Tokens per window of every command by default: R depends on it, and so do losses."""
ALL_WINDOWS = None
"""All windows of the split, where a number of windows is expected."""


@dataclass(frozen=True)
class Preset:
    """Numbers that decide the cost of a run."""

    name: str
    train_windows: int | None
    """Windows of the training split on which the loss is probed; None for all."""
    validation_windows: int | None
    """Windows of the validation split on which the loss is probed; None for all."""
    test_windows: int | None
    """Windows of the test split on which the points (not the rays) are evaluated; None for all."""
    seq_len: int | None
    """Tokens per window; None for as many as the model accepts."""
    lambdas: int
    """Distances from w along each direction."""
    alphas: int
    """Positions per segment at first, its two ends included."""
    calibration_windows: int
    """Windows of the training split that calibrate GPTQ, AWQ and SignRound."""
    qaft_examples: int
    """Windows of the training split that QAFT learns from."""
    qaft_epochs: int
    """Passes of QAFT over these windows."""
    rates: dict[int, tuple[float, ...]] = field(default_factory=dict)
    """Learning rates of QAFT by bit width; the best on the validation split is kept."""
    refinements: int = 4
    """Positions added to each segment where its loss bends, at most."""

    def __post_init__(self) -> None:
        for rates in self.rates.values():
            if not rates or not all(0 <= rate <= MOST_RATE for rate in rates):
                raise UsageError(f"expected learning rates from 0 to {MOST_RATE:g} as --qaft-rates, got {rates}")

    def rates_for(self, bits: int) -> tuple[float, ...]:
        """Return the learning rates to try at a bit width."""
        return self.rates[bits]


def _rates(*by_bits: tuple[range, tuple[float, ...]]) -> dict[int, tuple[float, ...]]:
    return {bits: rates for widths, rates in by_bits for bits in widths}


# Segments begin with few positions, as refinement adds more where it counts: on the 61 segments of a study of opt-nano,
# 6 and up to 11 more take 0.71 of the probes of 11 and up to 6 more, and miss no more of a ridge (0.013 nats).
# Appendix A of the paper: low learning rates for high precision, high ones for int3 and int2; higher for small models.
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "quick", 4, 4, 8, WINDOW, 10, 6, 32, 64, 1,
            _rates((range(2, 4), (1e-3,)), (range(4, 6), (1e-4,)), (range(6, 9), (1e-5,))),
        ),
        Preset(
            "standard", 16, 16, 32, WINDOW, 14, 6, 128, 128, 1,
            _rates((range(2, 4), (1e-4, 1e-3)), (range(4, 9), (1e-5, 1e-4))), refinements=11,
        ),
        Preset(
            "paper", 128, ALL_WINDOWS, ALL_WINDOWS, None, 20, 21, 128, 128, 8,
            _rates((range(2, 9), (1e-6, 1e-5, 1e-4, 1e-3))), refinements=12,
        ),
    )
}  # fmt: skip


def find_preset(name: str) -> Preset:
    """Return a preset by name.

    Raises:
        UsageError: if there is none.
    """
    if name not in PRESETS:
        raise UsageError(f"expected one of {', '.join(PRESETS)} as preset, got {name!r}")
    return PRESETS[name]


@dataclass(frozen=True)
class Number:
    """A number of the preset that an option of the command line sets."""

    flag: str
    help: str
    fields: tuple[str, ...]
    """Fields of ``Preset`` that the option sets."""
    most: Most
    """Its largest value."""
    least: int = 1
    """Its smallest value."""
    shown: tuple[str, ...] = ()
    """The fields whose values ``--help`` shows; all of them if empty."""

    @property
    def in_presets(self) -> str:
        """Values that the presets have, for ``--help``."""
        return in_presets(*(self.shown or self.fields))


NUMBERS = {
    "windows": Number(
        "--windows", "Training and validation windows to probe.", ("train_windows", "validation_windows"), WINDOWS
    ),
    # The training windows are set too, though not probed: the corpus is read, and self sampled, for as many.
    "validation_windows": Number(
        "--windows",
        "Validation windows.",
        ("train_windows", "validation_windows"),
        WINDOWS,
        shown=("validation_windows",),
    ),
    "test_windows": Number(
        "--test-windows", "Test windows, on which points are measured again.", ("test_windows",), WINDOWS
    ),
    "seq_len": Number("--seq-len", "Tokens per window.", ("seq_len",), TOKENS, least=2),
    "lambda_count": Number(
        "--lambda-count", "Distances per direction, when --lambdas is auto.", ("lambdas",), POSITIONS, least=4
    ),
    "alphas": Number("--alphas", "Positions per segment at first.", ("alphas",), POSITIONS, least=2),
    "refinements": Number(
        "--refinements",
        "Extra positions per segment where its loss bends, at most.",
        ("refinements",),
        POSITIONS,
        least=0,
    ),
    "calibration_windows": Number(
        "--calibration-windows", "Training windows for GPTQ, AWQ and SignRound.", ("calibration_windows",), EXAMPLES
    ),
    "qaft_examples": Number("--qaft-examples", "Training windows for QAFT.", ("qaft_examples",), EXAMPLES),
    "qaft_epochs": Number("--qaft-epochs", "QAFT epochs.", ("qaft_epochs",), EPOCHS),
}
"""Numbers that options set, in all their fields; besides these, ``--qaft-rates`` sets ``rates`` at all bit widths."""
RATES_HELP = "Learning rates that QAFT tries, comma-separated. Number of rates:"


def in_presets(*fields: str) -> str:
    """Return the values of all presets, for ``--help``: ``[quick 4, standard 16, paper 128/all]``.

    Args:
        fields: Fields of a preset; if their values differ, all are shown.
    """
    shares = (
        f"{preset.name} {'/'.join(dict.fromkeys(_as_text(preset, field) for field in fields))}"
        for preset in PRESETS.values()
    )
    return f"[{', '.join(shares)}]"


def _as_text(preset: Preset, field: str) -> str:
    if field == "rates":
        return str(len(next(iter(preset.rates.values()))))
    value = getattr(preset, field)
    if value is None:
        return "the model's" if field == "seq_len" else "all"
    return str(value)
