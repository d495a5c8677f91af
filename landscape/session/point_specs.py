"""Specify the points of a run: those that it makes, methods × grids, and those that other tools made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from landscape.session.point_methods import METHODS, Settings, find_method, with_controls
from landscape.session.presets import Preset
from quant.errors import UsageError
from quant.external.gauge import Gauge, check_gauge
from quant.scheme import QuantScheme, Width, width_bits, width_name


@dataclass(frozen=True)
class PointSpec:
    """A point that a method makes on a grid."""

    method: str
    """One of ``landscape.session.point_methods.METHODS``."""
    scheme: QuantScheme

    def __post_init__(self) -> None:
        names = [name for name, row in METHODS.items() if row.needs_grid]
        if self.method not in names:
            raise UsageError(f"expected methods from {', '.join(names)} on a grid, got {self.method!r}")
        form = self.scheme.format
        if form is not None and form not in METHODS[self.method].float_formats:
            able = ", ".join(name for name, row in METHODS.items() if form in row.float_formats)
            raise UsageError(
                f"expected methods from {able} for {form}, got {self.method}; run {self.method} apart, with integer "
                "--bits"
            )

    @property
    def name(self) -> str:
        """``gptq-int4-exact``, ``gptq-nvfp4``."""
        return f"{self.method}-{self.scheme}"

    @property
    def width(self) -> int:
        """Bit width, which selects the options of the method."""
        return self.scheme.bits


@dataclass(frozen=True)
class FreeSpec:
    """A point that a method makes on no grid, with the options of some bit widths."""

    method: str
    """One of ``landscape.session.point_methods.METHODS`` that needs no grid."""
    widths: tuple[Width, ...]
    """Bit widths and float formats that share the options of the method."""

    @property
    def name(self) -> str:
        """``w_ft-int4``, or ``w_ft-int8-int4-nvfp4``."""
        return "-".join([self.method, *map(width_name, self.widths)])

    @property
    def bits(self) -> frozenset[int]:
        """The bit widths, those of float formats included; all have the same options."""
        return frozenset(map(width_bits, self.widths))

    @property
    def width(self) -> int:
        """One of the bit widths."""
        return width_bits(self.widths[0])

    @property
    def scheme(self) -> None:
        """None: the point is on no grid."""
        return None


@dataclass(frozen=True)
class ExternalSpec:
    """A point that another tool made, read from a file or folder: see ``quant.external``."""

    name: str
    """Name that the user gave."""
    path: Path
    gauge: Gauge = "nearest"
    """For points like AWQ's, whose scales were folded between matrices (v→o, up→down): undo the folds so that Δw is
    smallest (nearest), or leave them (stored)."""

    def __post_init__(self) -> None:
        check_gauge(self.gauge)

    @property
    def method(self) -> str:
        """Name of the point; its method is not known."""
        return self.name

    @property
    def scheme(self) -> None:
        """None: the point is read as floats, on no grid."""
        return None


MadeSpec = PointSpec | FreeSpec
"""A point that this toolkit makes."""
AnySpec = PointSpec | FreeSpec | ExternalSpec
"""Any point of a run."""


def point_specs(
    methods: Sequence[str],
    bits: Sequence[Width],
    scales: Sequence[str],
    granularities: Sequence[str] = ("tensor",),
    symmetric: bool = True,
) -> tuple[PointSpec, ...]:
    """Return a point for each grid and each method that needs one, the cheap methods first.

    Args:
        methods: Names of methods.
        bits: Bit widths, and names of float formats, whose scales and granularity are given.
        scales: Rules for the scales of integer grids.
        granularities: Weights that share a scale of an integer grid.
        symmetric: Whether integer grids are symmetric.

    Raises:
        UsageError: for an unknown method, width, scale or granularity, a method that cannot make a float format, or
            scales and granularities without an integer grid that they apply to.
    """
    check_integer_options(bits, scales, granularities, symmetric)
    schemes = [
        scheme_of(b, scale, granularity, symmetric) for scale, granularity, b in product(scales, granularities, bits)
    ]
    requested = {find_method(method).name for method in methods}
    on_grids = [name for name, row in METHODS.items() if name in requested and row.needs_grid]
    return tuple(PointSpec(method, scheme) for scheme in dict.fromkeys(schemes) for method in on_grids)


def free_specs(methods: Sequence[str], bits: Sequence[Width], preset: Preset) -> tuple[FreeSpec, ...]:
    """Return the points of methods that need no grid: one for all bit widths with the same options.

    Args:
        methods: Names of methods; their controls are added.
        bits: The bit widths and float formats of the run.
        preset: Sets the options.
    """
    specs = []
    for row in with_controls(methods):
        widths_by_options: dict[str, list[Width]] = {}
        for width in () if row.needs_grid else dict.fromkeys(bits):
            options = row.options(Settings(preset, width_bits(width)))
            widths_by_options.setdefault(repr(options), []).append(width)
        specs += [FreeSpec(row.name, tuple(widths)) for widths in widths_by_options.values()]
    return tuple(specs)


def plane_pairs(specs: Iterable[AnySpec]) -> list[tuple[PointSpec, PointSpec]]:
    """Return the pairs (GPTQ, QAFT) of one grid, each of which spans a plane with w."""
    made = {(spec.method, spec.scheme): spec for spec in specs if isinstance(spec, PointSpec)}
    return [
        (spec, made["qaft", scheme])
        for (method, scheme), spec in made.items()
        if method == "gptq" and ("qaft", scheme) in made
    ]


def scheme_of(bits: Width, scale: str, granularity: str, symmetric: bool) -> QuantScheme:
    """Return the grid that a user's words name, checked by ``QuantScheme``.

    Args:
        bits: Bit width of an integer grid, or name of a float format, to which the others do not apply.
        scale: Rule for the scales.
        granularity: Weights that share a scale.
        symmetric: Whether the grid is symmetric.

    Raises:
        UsageError: for an unknown width, scale or granularity.
    """
    if isinstance(bits, str):
        return QuantScheme.of_format(bits)
    return QuantScheme(bits, scale, granularity, symmetric)  # type: ignore[arg-type]


def check_integer_options(
    bits: Sequence[Width], scales: Sequence[str], granularities: Sequence[str], symmetric: bool
) -> None:
    """Check that nothing is asked of integer grids where all grids are float formats.

    Raises:
        UsageError: naming the option.
    """
    if not bits or any(isinstance(width, int) for width in bits):
        return
    asked = {
        "--scale": tuple(scales) != (QuantScheme.scale,),
        "--granularity": tuple(granularities) != (QuantScheme.granularity,),
        "--no-symmetric": not symmetric,
    }
    if given := [flag for flag, is_given in asked.items() if is_given]:
        raise UsageError(
            f"expected an integer width among --bits with {given[0]}, got {', '.join(map(str, bits))}, whose scales "
            f"are given; leave {given[0]} out"
        )


def check_names(specs: Iterable[AnySpec]) -> None:
    """Check that the names of points are unique.

    Raises:
        UsageError: if two points share a name, or one is called ``w``, the name of the centre.
    """
    names = ["w", *(spec.name for spec in specs)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"expected a name of its own for every point, got {name!r} more than once; rename one")
