"""The points that a run asks for: methods × bit widths × scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from quant.errors import UsageError
from quant.grid import QuantScheme

Method = Literal["rtn", "gptq", "qaft"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Wanted:
    """A point that a run asks for."""

    method: Method
    scheme: QuantScheme

    @property
    def name(self) -> str:
        """``gptq-int4-exact``."""
        return f"{self.method}-{self.scheme}"


def wanted_points(methods: Sequence[str], bits: Sequence[int], scales: Sequence[str]) -> tuple[Wanted, ...]:
    """Every method at every bit width and scale, RTN first where it is asked for.

    Raises:
        UsageError: for an unknown method or scale, or bits out of range.
    """
    schemes = [QuantScheme(b, scale) for scale in scales for b in bits]  # type: ignore[arg-type]
    found = {wanted_point(method, scheme) for scheme in schemes for method in methods}
    return tuple(point for scheme in schemes for m in METHODS if (point := Wanted(m, scheme)) in found)


def wanted_point(method: str, scheme: QuantScheme) -> Wanted:
    """One point.

    Raises:
        UsageError: for an unknown method.
    """
    for known in METHODS:
        if method == known:
            return Wanted(known, scheme)
    raise UsageError(f"expected methods from {', '.join(METHODS)}, got {method!r}")
