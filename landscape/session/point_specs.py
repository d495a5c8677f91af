"""The points that a run asks for: those it makes, methods × grids, and those that other tools made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, get_args

from quant.errors import UsageError
from quant.external.gauge import Gauge, check_gauge
from quant.scheme import QuantScheme

Method = Literal["rtn", "gptq", "awq", "signround", "qaft", "qaft-lsq", "qaft-from-gptq"]
METHODS: tuple[Method, ...] = get_args(Method)
PAPER_METHODS: tuple[Method, ...] = ("rtn", "gptq", "qaft")
"""The three of Xu et al. 2024."""
CALIBRATED = frozenset({"gptq", "awq", "signround", "qaft-from-gptq"})
"""Methods that run through the calibration windows."""
OFF_GRID: frozenset[Method] = frozenset({"awq"})
"""Methods whose points lie on no grid of the weights: AWQ's channels are scaled before they are rounded."""
TRAINED = frozenset({"qaft", "qaft-lsq", "qaft-from-gptq"})
"""Methods that fine-tune the whole model."""


@dataclass(frozen=True)
class PointSpec:
    """A point that a run makes."""

    method: Method
    scheme: QuantScheme

    @property
    def name(self) -> str:
        """``gptq-int4-exact``."""
        return f"{self.method}-{self.scheme}"


@dataclass(frozen=True)
class ExternalSpec:
    """A point that another tool made, read from a file or folder: see ``quant.external.load``."""

    name: str
    """The user's own name for it."""
    path: Path
    gauge: Gauge = "nearest"
    """What to do about scales folded from matrix to matrix: see ``quant.external.unfolding``."""

    def __post_init__(self) -> None:
        check_gauge(self.gauge)

    @property
    def method(self) -> str:
        """Its name: what made it is not known."""
        return self.name

    @property
    def scheme(self) -> None:
        """It is taken as a vector of floats, on no grid."""
        return None


AnySpec = PointSpec | ExternalSpec
"""A point that a run asks for."""


def wanted_points(
    methods: Sequence[str],
    bits: Sequence[int],
    scales: Sequence[str],
    granularities: Sequence[str] = ("tensor",),
    symmetric: bool = True,
) -> tuple[PointSpec, ...]:
    """Every method on every grid, the cheap methods first.

    Raises:
        UsageError: for an unknown method, scale or granularity, or bits out of range.
    """
    schemes = [
        scheme_of(b, scale, granularity, symmetric) for scale, granularity, b in product(scales, granularities, bits)
    ]
    found = {wanted_point(method, scheme) for scheme in schemes for method in methods}
    return tuple(point for scheme in schemes for m in METHODS if (point := PointSpec(m, scheme)) in found)


def scheme_of(bits: int, scale: str, granularity: str, symmetric: bool) -> QuantScheme:
    """A grid by a user's words, which ``QuantScheme`` checks.

    Raises:
        UsageError: for an unknown scale or granularity, or bits out of range.
    """
    return QuantScheme(bits, scale, granularity, symmetric)  # type: ignore[arg-type]


def wanted_point(method: str, scheme: QuantScheme) -> PointSpec:
    """One point.

    Raises:
        UsageError: for an unknown method.
    """
    for known in METHODS:
        if method == known:
            return PointSpec(known, scheme)
    raise UsageError(f"expected methods from {', '.join(METHODS)}, got {method!r}")


def check_names(points: Sequence[AnySpec]) -> None:
    """See that every point has a name of its own.

    Raises:
        UsageError: if two share one, or one is called ``w``, which the centre is.
    """
    names = ["w", *(point.name for point in points)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"expected a name of its own for every point, got {name!r} more than once; rename one")
