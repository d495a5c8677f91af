"""Name the points that a run asks for: those it makes, methods × grids, and those that other tools made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from landscape.session.point_methods import METHODS, find_method
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
        find_method(self.method)

    @property
    def name(self) -> str:
        """``gptq-int4-exact``."""
        return f"{self.method}-{self.scheme}"


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


AnySpec = PointSpec | ExternalSpec
"""A point that a run asks for."""


def point_specs(
    methods: Sequence[str],
    bits: Sequence[int],
    scales: Sequence[str],
    granularities: Sequence[str] = ("tensor",),
    symmetric: bool = True,
) -> tuple[PointSpec, ...]:
    """Return every method on every grid, the cheap methods first.

    Raises:
        UsageError: for an unknown method, scale or granularity, or bits out of range.
    """
    schemes = [
        scheme_of(b, scale, granularity, symmetric) for scale, granularity, b in product(scales, granularities, bits)
    ]
    asked = {find_method(method).name for method in methods}
    return tuple(
        PointSpec(method, scheme) for scheme in dict.fromkeys(schemes) for method in METHODS if method in asked
    )


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
