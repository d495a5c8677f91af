"""Name the points that a run asks for: those it makes, methods × grids, and those that other tools made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from landscape.session.point_methods import METHODS, Settings, find_method, with_controls
from landscape.session.presets import Preset
from quant.errors import UsageError
from quant.external.gauge import Gauge, check_gauge
from quant.scheme import QuantScheme


@dataclass(frozen=True)
class PointSpec:
    """A point that a run makes."""

    method: str
    """One of ``landscape.session.point_methods.METHODS``."""
    scheme: QuantScheme

    def __post_init__(self) -> None:
        if not find_method(self.method).needs_grid:
            raise UsageError(f"expected a method that makes a point on each grid, got {self.method}, which needs none")

    @property
    def name(self) -> str:
        """``gptq-int4-exact``."""
        return f"{self.method}-{self.scheme}"

    @property
    def width(self) -> int:
        """Its bit width, whose options it is made with."""
        return self.scheme.bits


@dataclass(frozen=True)
class FreeSpec:
    """A point that a run makes on no grid, with the options of some bit widths."""

    method: str
    """One of ``landscape.session.point_methods.METHODS`` that needs no grid."""
    widths: tuple[int, ...]
    """The bit widths whose options it is made with, which are the same for all of them."""

    @property
    def name(self) -> str:
        """``w_ft-int4``, or ``w_ft-int8-int4``."""
        return "-".join([self.method, *(f"int{bits}" for bits in self.widths)])

    @property
    def width(self) -> int:
        """One of its bit widths."""
        return self.widths[0]

    @property
    def scheme(self) -> None:
        """None: it is on no grid."""
        return None


@dataclass(frozen=True)
class ExternalSpec:
    """A point that another tool made, read from a file or folder: see ``quant.external``."""

    name: str
    """The user's own name for it."""
    path: Path
    gauge: Gauge = "nearest"
    """Where scales are folded from one matrix into the next, as in AWQ: take the coordinates nearest to w (nearest), or
    those that are stored (stored)."""

    def __post_init__(self) -> None:
        check_gauge(self.gauge)

    @property
    def method(self) -> str:
        """The name of the point: the method is not known."""
        return self.name

    @property
    def scheme(self) -> None:
        """None: it is taken as a vector of floats, on no grid."""
        return None


MadeSpec = PointSpec | FreeSpec
"""A point that a run makes."""
AnySpec = PointSpec | FreeSpec | ExternalSpec
"""A point that a run asks for."""


def point_specs(
    methods: Sequence[str],
    bits: Sequence[int],
    scales: Sequence[str],
    granularities: Sequence[str] = ("tensor",),
    symmetric: bool = True,
) -> tuple[PointSpec, ...]:
    """Return every method that needs a grid on every grid, the cheap methods first.

    Raises:
        UsageError: for an unknown method, scale or granularity, or bits out of range.
    """
    schemes = [
        scheme_of(b, scale, granularity, symmetric) for scale, granularity, b in product(scales, granularities, bits)
    ]
    asked = {find_method(method).name for method in methods}
    on_grids = [name for name, row in METHODS.items() if name in asked and row.needs_grid]
    return tuple(PointSpec(method, scheme) for scheme in dict.fromkeys(schemes) for method in on_grids)


def free_specs(methods: Sequence[str], bits: Sequence[int], preset: Preset) -> tuple[FreeSpec, ...]:
    """Return the points of methods that need no grid: one for all bit widths with the same options.

    Args:
        methods: Names of methods, whose controls count too.
        bits: The bit widths of the run.
        preset: Where the options come from.
    """
    found = []
    for row in with_controls(methods):
        alike: dict[str, list[int]] = {}
        for width in () if row.needs_grid else dict.fromkeys(bits):
            alike.setdefault(repr(row.options(Settings(preset, width))), []).append(width)
        found += [FreeSpec(row.name, tuple(widths)) for widths in alike.values()]
    return tuple(found)


def plane_pairs(specs: Iterable[AnySpec]) -> list[tuple[PointSpec, PointSpec]]:
    """Return GPTQ and QAFT of each grid that has both: with w they span a plane."""
    made = {(spec.method, spec.scheme): spec for spec in specs if isinstance(spec, PointSpec)}
    return [
        (spec, made["qaft", scheme])
        for (method, scheme), spec in made.items()
        if method == "gptq" and ("qaft", scheme) in made
    ]


def scheme_of(bits: int, scale: str, granularity: str, symmetric: bool) -> QuantScheme:
    """Return the grid that a user's words name; ``QuantScheme`` checks them.

    Raises:
        UsageError: for an unknown scale or granularity, or bits out of range.
    """
    return QuantScheme(bits, scale, granularity, symmetric)  # type: ignore[arg-type]


def check_names(specs: Iterable[AnySpec]) -> None:
    """Check that every point has a name of its own.

    Raises:
        UsageError: if two share one, or one is called ``w``, which the centre is.
    """
    names = ["w", *(spec.name for spec in specs)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"expected a name of its own for every point, got {name!r} more than once; rename one")
