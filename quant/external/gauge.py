"""Name the coordinates of matrices between which a tool can move scales without changing the function."""

from __future__ import annotations

from typing import Literal, get_args

from quant.errors import UsageError

Gauge = Literal["nearest", "stored"]
"""``nearest`` to the original, or as the matrices are ``stored``: see ``quant.external.unfolding``."""
GAUGES: tuple[Gauge, ...] = get_args(Gauge)
"""The default first."""


def check_gauge(gauge: str) -> None:
    """Check that a gauge is known.

    Raises:
        UsageError: if it is not.
    """
    if gauge not in GAUGES:
        raise UsageError(f"expected {' or '.join(GAUGES)} as gauge (--unfold-gauge), got {gauge!r}")
