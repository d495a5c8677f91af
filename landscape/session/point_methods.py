"""List the methods that make points: one row each, from which help, recipes, forecasts, marks and errors come.

To add a method, add its row to ``_ROWS`` and its mark to ``landscape.report.palette``. Rows import what they call when
they call it, so that ``landscape --help`` answers without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from quant.errors import UsageError
from quant.methods.options import PAPER_GPTQ, AWQOptions, GPTQOptions, SignRoundOptions, TrainingOptions

if TYPE_CHECKING:
    from pathlib import Path

    from landscape.session.presets import Preset
    from landscape.session.subject import Subject
    from quant.point import WeightPoint
    from quant.scheme import QuantScheme

# Costs in forward passes of one window, measured on SmolLM2-135M and opt-nano on two cores; a forecast, not a promise.
GPTQ_PER_WINDOW = 2.0  # one pass to collect a block's Hessians, one to feed the quantized block
GPTQ_SOLVER = 40.0  # the damping sweep over all layers
AWQ_SOLVER = 400.0  # twenty searches for the scale of every matrix
BACKWARD = 3.0  # a forward and a backward pass
QAFT_PER_EXAMPLE = 4.0  # forward, backward, fake quantization and the AdamW step


@dataclass(frozen=True)
class Settings:
    """The numbers that a method is run with."""

    preset: Preset
    bits: int
    seed: int = 0
    gptq: GPTQOptions = PAPER_GPTQ


@dataclass(frozen=True)
class Workbench:
    """What a method makes a point from."""

    subject: Subject
    scheme: QuantScheme | None
    """The grid; None for a method that needs none."""
    settings: Settings
    start: WeightPoint | None
    """The point of the row's ``start``, on the same grid."""
    folder: Path
    """Where training keeps its epochs while it runs."""
    progress: Callable[[int, int], None]
    """Called with how much is done, and of how much."""

    @property
    def grid(self) -> QuantScheme:
        """The grid of a method that needs one."""
        assert self.scheme is not None
        return self.scheme

    def run(self, method: Callable[..., WeightPoint], data: tuple[object, ...], options: object) -> WeightPoint:
        """Call a method of ``quant.methods`` that moves the weights of the point it starts from."""
        subject = self.subject
        return method(
            subject.model, subject.space, self.start, *data, options, center=subject.center, progress=self.progress
        )


@dataclass(frozen=True)
class PointMethod:
    """How one method makes points, what it takes, and how it is called."""

    name: str
    """What the command line, recipes and files call it."""
    label: str
    """Its name as the field writes it."""
    make: Callable[[Workbench], WeightPoint]
    options: Callable[[Settings], Any] = lambda settings: None
    """Its options, a dataclass or a dictionary: part of its recipe; None if it has none."""
    work: Callable[[Preset, int], float] = lambda preset, bits: 0.0
    """Forward passes of one window that it takes with a preset at a bit width, the validation windows of training and
    the search for scales not counted."""
    start: str | None = None
    """The method whose point on the same grid it starts from."""
    calibrates: bool = False
    """Whether it runs through the calibration windows itself."""
    trains: bool = False
    """Whether it fine-tunes the whole model."""
    on_grid: bool = True
    """Whether its points lie on a grid of the weights."""
    needs_grid: bool = True
    """Whether there is one point for each grid; else there is one for each set of options."""
    control: str | None = None
    """The method that trains alike without a grid: its gain is no merit of quantization, and M is net of it."""
    joined: tuple[str, ...] = ()
    """The earlier methods to whose points on the same grid a segment is drawn."""
    note: str = ""
    """What a reader of ``--help`` needs to know beside the name."""


def _rtn(bench: Workbench) -> WeightPoint:
    from quant.methods.rtn import rtn

    return rtn(bench.subject.space, bench.subject.center, bench.grid)


def _gptq(bench: Workbench) -> WeightPoint:
    from quant.methods.gptq import gptq

    return bench.run(gptq, (bench.subject.calibration.gptq,), bench.settings.gptq)


def _awq(bench: Workbench) -> WeightPoint:
    from quant.methods.awq import awq

    subject = bench.subject
    return awq(
        subject.model, subject.space, subject.center, bench.grid, subject.calibration.gptq, progress=bench.progress
    )


def _awq_options(settings: Settings) -> object:
    return AWQOptions()


def _signround(bench: Workbench) -> WeightPoint:
    from quant.methods.signround import signround

    return bench.run(signround, (bench.subject.calibration.gptq,), _signround_options(bench.settings))


def _signround_options(settings: Settings) -> SignRoundOptions:
    return SignRoundOptions(seed=settings.seed)


def _signround_work(preset: Preset, bits: int) -> float:
    options, calibration = SignRoundOptions(), preset.calibration_windows
    checks = options.steps / options.check_every + 2  # before, after every few steps, and the outputs that stay
    return BACKWARD * options.steps * min(options.batch, calibration) + (1 + checks) * calibration


def _training(settings: Settings) -> TrainingOptions:
    preset = settings.preset
    return TrainingOptions(rates=preset.rates_for(settings.bits), epochs=preset.qaft_epochs, seed=settings.seed)


def _training_lsq(settings: Settings) -> TrainingOptions:
    return replace(_training(settings), learn_scale=True)


def _trained(options: Callable[[Settings], TrainingOptions]) -> Callable[[Workbench], WeightPoint]:
    """Return how QAFT is run with these options."""

    def make(bench: Workbench) -> WeightPoint:
        from functools import partial

        from quant.methods.qaft import qaft

        data = bench.subject.calibration
        return bench.run(partial(qaft, folder=bench.folder), (data.qaft, data.validation), options(bench.settings))

    return make


def _finetuned(bench: Workbench) -> WeightPoint:
    from quant.methods.qaft import finetune

    subject, data = bench.subject, bench.subject.calibration
    return finetune(
        subject.model, subject.space, data.qaft, data.validation, _training(bench.settings), center=subject.center,
        folder=bench.folder, progress=bench.progress,
    )  # fmt: skip


def _finetuning(settings: Settings) -> dict[str, object]:
    options = asdict(_training(settings))
    return {name: value for name, value in options.items() if name not in ("ste", "learn_scale")}  # these are of grids


def _training_work(preset: Preset, bits: int) -> float:
    return preset.qaft_epochs * len(preset.rates_for(bits)) * QAFT_PER_EXAMPLE * preset.qaft_examples


_ROWS = (
    PointMethod("rtn", "RTN", _rtn),
    PointMethod(
        "gptq",
        "GPTQ",
        _gptq,
        options=lambda settings: settings.gptq,
        work=lambda preset, bits: GPTQ_PER_WINDOW * preset.calibration_windows + GPTQ_SOLVER,
        start="rtn",
        calibrates=True,
        joined=("rtn",),
    ),
    PointMethod(
        "awq",
        "AWQ",
        _awq,
        options=_awq_options,
        work=lambda preset, bits: GPTQ_PER_WINDOW * preset.calibration_windows + AWQ_SOLVER,
        calibrates=True,
        on_grid=False,  # its channels are scaled before they are rounded
    ),
    PointMethod(
        "signround",
        "SignRound",
        _signround,
        options=_signround_options,
        work=_signround_work,
        start="rtn",
        calibrates=True,
    ),
    PointMethod(
        "qaft",
        "QAFT",
        _trained(_training),
        options=_training,
        work=_training_work,
        start="rtn",
        trains=True,
        control="w_ft",
        joined=("rtn", "gptq"),
    ),
    PointMethod(
        "qaft-lsq",
        "QAFT with LSQ",
        _trained(_training_lsq),
        options=_training_lsq,
        work=_training_work,
        start="rtn",
        trains=True,
        control="w_ft",
        note="scales learn too",
    ),
    PointMethod(
        "qaft-from-gptq",
        "QAFT from GPTQ",
        _trained(_training),
        options=_training,
        work=_training_work,
        start="gptq",
        trains=True,
        control="w_ft",
        joined=("gptq", "qaft"),
    ),
    PointMethod(
        "w_ft",
        "w_FT",
        _finetuned,
        options=_finetuning,
        work=_training_work,
        trains=True,
        on_grid=False,
        needs_grid=False,
        note="plain fine-tuning, made with every QAFT as its control",
    ),
)

METHODS: dict[str, PointMethod] = {row.name: row for row in _ROWS}
"""Every method by its name, the cheap ones first."""
GRID_METHODS = tuple(row for row in _ROWS if row.needs_grid)
"""Those that make a point on each grid."""
PAPER_METHODS: tuple[str, ...] = ("rtn", "gptq", "qaft")
"""The three of Xu et al. 2024."""


def find_method(name: str) -> PointMethod:
    """Return the row of a method.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in METHODS:
        raise UsageError(f"expected methods from {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]


def calibrates(name: str) -> bool:
    """Return whether a method needs the calibration windows, for itself or for the point that it starts from."""
    row = find_method(name)
    return row.calibrates or (row.start is not None and calibrates(row.start))


def trains(name: str) -> bool:
    """Return whether a method fine-tunes the whole model."""
    return find_method(name).trains


def with_controls(methods: Iterable[str]) -> tuple[PointMethod, ...]:
    """Return the rows of methods and of their controls, in the order of the table.

    Raises:
        UsageError: for an unknown name.
    """
    rows = [find_method(name) for name in methods]
    names = {row.name for row in rows} | {row.control for row in rows}
    return tuple(row for row in METHODS.values() if row.name in names)


def searches_scales(name: str) -> bool:
    """Return whether a method takes the scales of RTN's grid; AWQ finds its own, and its work counts them."""
    return name == "rtn" or find_method(name).start is not None


def point_work(method: str, bits: int, preset: Preset, validation_windows: int) -> float:
    """Return the work of making one point, in forward passes of one window, without the search for scales."""
    row = find_method(method)
    work = row.work(preset, bits)
    if row.trains:  # every epoch of every rate is judged on the validation windows, as the start is
        work += (preset.qaft_epochs * len(preset.rates_for(bits)) + 1) * validation_windows
    return work


def listed(methods: Iterable[PointMethod], last: str = "") -> str:
    """Return the names of methods for a help text, with their notes: ``rtn, gptq, qaft-lsq (scales learn too)``.

    Args:
        methods: The rows.
        last: The word before the last name, ``or``; nothing for a comma.
    """
    names = [f"{row.name} ({row.note})" if row.note else row.name for row in methods]
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if last else ", ".join(names)


def recipe_options(row: PointMethod, settings: Settings) -> Collection[tuple[str, object]]:
    """Return the part of a recipe that says how a method is run; empty if it has no options."""
    options = row.options(settings)
    if options is None:
        return ()
    return (("options", options if isinstance(options, dict) else asdict(options)),)
