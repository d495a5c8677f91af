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
    for method in methods:
        if method not in METHODS:
            raise UsageError(f"expected methods from {', '.join(METHODS)}, got {method!r}")
    schemes = [QuantScheme(b, scale) for scale in scales for b in bits]  # type: ignore[arg-type]
    return tuple(Wanted(m, scheme) for scheme in schemes for m in METHODS if m in methods)
