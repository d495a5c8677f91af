"""List the methods that make points, one row each; help, recipes, forecasts, marks and errors are built from it.

To add a method, add its row to ``_ROWS`` and its mark to ``landscape.report.palette``. Rows import a method when they
call it, so that ``landscape --help`` answers without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from quant.errors import UsageError
from quant.float_format import FLOAT_FORMATS
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
BACKWARD = 3.0  # one forward and one backward pass
QAFT_PER_EXAMPLE = 4.0  # forward, backward, fake quantization and the AdamW step


@dataclass(frozen=True)
class Settings:
    """Numbers and options that a method runs with."""

    preset: Preset
    bits: int
    seed: int = 0
    gptq: GPTQOptions = PAPER_GPTQ


@dataclass(frozen=True)
class Workbench:
    """Model, grid, settings and start from which a method makes a point."""

    subject: Subject
    scheme: QuantScheme | None
    """The grid; None for a method that needs none."""
    settings: Settings
    start: WeightPoint | None
    """The point that the method starts from, on the same grid; None if it starts from w."""
    folder: Path
    """Folder in which training keeps its epochs while it runs."""
    progress: Callable[[int, int], None]
    """Called with (done, total)."""

    @property
    def grid(self) -> QuantScheme:
        """The grid of a method that needs one."""
        assert self.scheme is not None
        return self.scheme

    def run(self, method: Callable[..., WeightPoint], data: tuple[object, ...], options: object) -> WeightPoint:
        """Call a method of ``quant.methods`` that moves the weights of its start."""
        subject = self.subject
        return method(
            subject.model, subject.space, self.start, *data, options, center=subject.center, progress=self.progress
        )


@dataclass(frozen=True)
class PointMethod:
    """One method: its names, the function that makes its points, and the work and data that it takes."""

    name: str
    """Name in the command line, recipes and files."""
    label: str
    """Name as the literature writes it."""
    make: Callable[[Workbench], WeightPoint]
    options: Callable[[Settings], Any] = lambda settings: None
    """Options of the method, a dataclass or a dictionary, which enter its recipe; None if it has none."""
    work: Callable[[Preset, int], float] = lambda preset, bits: 0.0
    """Work with a preset at a bit width, in forward passes of one window; the windows that training evaluates after
    each epoch and the search for scales are not counted."""
    start: str | None = None
    """The method whose point on the same grid it starts from."""
    calibrates: bool = False
    """Whether it reads the calibration windows itself."""
    trains: bool = False
    """Whether it fine-tunes the whole model."""
    on_grid: bool = True
    """Whether its points lie on a grid of the weights."""
    needs_grid: bool = True
    """Whether it makes one point for each grid; else it makes one for each set of options."""
    control: str | None = None
    """Method that trains in the same way without a grid: M subtracts its gain, which quantization does not explain."""
    joined: tuple[str, ...] = ()
    """Earlier methods; a segment is drawn to their points on the same grid."""
    float_formats: tuple[str, ...] = ()
    """Float formats that it makes points in, besides integer grids."""
    note: str = ""
    """Remark that ``--help`` shows beside the name."""


def _make_rtn(bench: Workbench) -> WeightPoint:
    from quant.methods.rtn import rtn

    return rtn(bench.subject.space, bench.subject.center, bench.grid)


def _make_gptq(bench: Workbench) -> WeightPoint:
    from quant.methods.gptq import gptq

    return bench.run(gptq, (bench.subject.calibration.windows,), bench.settings.gptq)


def _make_awq(bench: Workbench) -> WeightPoint:
    from quant.methods.awq import awq

    subject = bench.subject
    return awq(
        subject.model, subject.space, subject.center, bench.grid, subject.calibration.windows, progress=bench.progress
    )


def _awq_options(settings: Settings) -> object:
    return AWQOptions()


def _make_signround(bench: Workbench) -> WeightPoint:
    from quant.methods.signround import signround

    return bench.run(signround, (bench.subject.calibration.windows,), _signround_options(bench.settings))


def _signround_options(settings: Settings) -> SignRoundOptions:
    return SignRoundOptions(seed=settings.seed)


def _signround_work(preset: Preset, bits: int) -> float:
    options, calibration = SignRoundOptions(), preset.calibration_windows
    checks = options.steps / options.check_every + 2  # before, every few steps, and with the final codes
    return BACKWARD * options.steps * min(options.batch, calibration) + (1 + checks) * calibration


def _qaft_options(settings: Settings) -> TrainingOptions:
    preset = settings.preset
    return TrainingOptions(rates=preset.rates_for(settings.bits), epochs=preset.qaft_epochs, seed=settings.seed)


def _lsq_options(settings: Settings) -> TrainingOptions:
    return replace(_qaft_options(settings), learn_scale=True)


def _make_qaft(options: Callable[[Settings], TrainingOptions]) -> Callable[[Workbench], WeightPoint]:
    """Return a function that runs QAFT with these options."""

    def make(bench: Workbench) -> WeightPoint:
        from functools import partial

        from quant.methods.qaft import qaft

        data = bench.subject.calibration
        method = partial(qaft, watched=data.test, folder=bench.folder)
        return bench.run(method, (data.training, data.validation), options(bench.settings))

    return make


def _make_w_ft(bench: Workbench) -> WeightPoint:
    from quant.methods.qaft import finetune

    subject, data = bench.subject, bench.subject.calibration
    return finetune(
        subject.model, subject.space, data.training, data.validation, _qaft_options(bench.settings),
        center=subject.center, watched=data.test, folder=bench.folder, progress=bench.progress,
    )  # fmt: skip


def _w_ft_options(settings: Settings) -> dict[str, object]:
    options = asdict(_qaft_options(settings))
    return {name: value for name, value in options.items() if name not in ("ste", "learn_scale")}  # these are of grids


def _qaft_work(preset: Preset, bits: int) -> float:
    return preset.qaft_epochs * len(preset.rates_for(bits)) * QAFT_PER_EXAMPLE * preset.qaft_examples


_EVERY_FORMAT = tuple(FLOAT_FORMATS)

_ROWS = (
    PointMethod("rtn", "RTN", _make_rtn, float_formats=_EVERY_FORMAT),
    PointMethod(
        "gptq",
        "GPTQ",
        _make_gptq,
        options=lambda settings: settings.gptq,
        work=lambda preset, bits: GPTQ_PER_WINDOW * preset.calibration_windows + GPTQ_SOLVER,
        start="rtn",
        calibrates=True,
        joined=("rtn",),
        float_formats=_EVERY_FORMAT,
    ),
    PointMethod(
        "awq",
        "AWQ",
        _make_awq,
        options=_awq_options,
        work=lambda preset, bits: GPTQ_PER_WINDOW * preset.calibration_windows + AWQ_SOLVER,
        calibrates=True,
        on_grid=False,  # channels are scaled before they are rounded
    ),
    PointMethod(
        "signround",
        "SignRound",
        _make_signround,
        options=_signround_options,
        work=_signround_work,
        start="rtn",
        calibrates=True,
    ),
    PointMethod(
        "qaft",
        "QAFT",
        _make_qaft(_qaft_options),
        options=_qaft_options,
        work=_qaft_work,
        start="rtn",
        trains=True,
        control="w_ft",
        joined=("rtn", "gptq"),
        float_formats=_EVERY_FORMAT,
    ),
    PointMethod(
        "qaft-lsq",
        "QAFT with LSQ",
        _make_qaft(_lsq_options),
        options=_lsq_options,
        work=_qaft_work,
        start="rtn",
        trains=True,
        control="w_ft",
        float_formats=("fp8",),  # a learned scale is no E4M3 number and no power of two
        note="scales learn too",
    ),
    PointMethod(
        "qaft-from-gptq",
        "QAFT from GPTQ",
        _make_qaft(_qaft_options),
        options=_qaft_options,
        work=_qaft_work,
        start="gptq",
        trains=True,
        control="w_ft",
        joined=("gptq", "qaft"),
        float_formats=_EVERY_FORMAT,
    ),
    PointMethod(
        "w_ft",
        "w_FT",
        _make_w_ft,
        options=_w_ft_options,
        work=_qaft_work,
        trains=True,
        on_grid=False,
        needs_grid=False,
        note="plain fine-tuning, made with every QAFT as its control",
    ),
)

METHODS: dict[str, PointMethod] = {row.name: row for row in _ROWS}
"""All methods by name, the cheap ones first."""
GRID_METHODS = tuple(row for row in _ROWS if row.needs_grid)
"""Methods that make a point on each grid."""
PAPER_METHODS: tuple[str, ...] = ("rtn", "gptq", "qaft")
"""The three methods of Xu et al. 2024."""


def find_method(name: str) -> PointMethod:
    """Return the row of a method.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in METHODS:
        raise UsageError(f"expected methods from {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]


def calibrates(name: str) -> bool:
    """Return whether a method, or the one whose point it starts from, needs the calibration windows."""
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
    """Return whether a method uses the scales of RTN's grid; AWQ searches for its own, and its work counts that."""
    return name == "rtn" or find_method(name).start is not None


def point_work(method: str, bits: int, preset: Preset, judging_windows: int) -> float:
    """Return the work of one point in forward passes of one window, without the search for scales.

    Args:
        method: Name of the method.
        bits: Bit width.
        preset: The numbers that the point is made with.
        judging_windows: Windows evaluated after each epoch of training: ``Calibration.judging_windows``.
    """
    row = find_method(method)
    work = row.work(preset, bits)
    if row.trains:  # the start, and each epoch of each rate
        work += (preset.qaft_epochs * len(preset.rates_for(bits)) + 1) * judging_windows
    return work


def listed(methods: Iterable[PointMethod], last: str = "") -> str:
    """Return the names of methods for a help text, with their notes: ``rtn, gptq, qaft-lsq (scales learn too)``.

    Args:
        methods: The rows.
        last: Word before the last name, such as ``or``; empty for a comma.
    """
    names = [f"{row.name} ({row.note})" if row.note else row.name for row in methods]
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if last else ", ".join(names)


def recipe_options(row: PointMethod, settings: Settings) -> Collection[tuple[str, object]]:
    """Return the part of a recipe with a method's options; empty if it has none."""
    options = row.options(settings)
    if options is None:
        return ()
    return (("options", options if isinstance(options, dict) else asdict(options)),)
