"""Read how much a cache may hold and how old it may get, as a user writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quant.errors import UsageError

_SIZES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_TIMES = {"s": 1, "min": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
SPARED = 3600.0
"""Seconds since the last use within which nothing is removed."""


@dataclass(frozen=True)
class CacheLimits:
    """Limits on the contents of a cache folder."""

    keep: int | None = None
    """Bytes of all that may go; None for no limit."""
    older_than: float | None = None
    """Seconds since the last use after which a unit goes; None for no limit."""
    stores: bool = False
    """Remove whole stores too, with their probes, if necessary."""
    spared: float = SPARED
    """Seconds since the last use within which a unit stays in any case."""


def parse_size(text: str, flag: str) -> int:
    """Read a size such as ``20GB`` as bytes.

    Raises:
        UsageError: naming the option, if it is not one.
    """
    return int(_parse(text, flag, _SIZES, "a size such as 20GB or 500MB"))


def parse_age(text: str, flag: str) -> float:
    """Read a time such as ``30d`` as seconds.

    Raises:
        UsageError: naming the option, if it is not one.
    """
    return _parse(text, flag, _TIMES, "a time such as 30d, 12h or 2w")


def _parse(text: str, flag: str, units: dict[str, int], expected: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2].lower() not in units:
        raise UsageError(f"expected {expected} as {flag}, got {text!r}")
    return float(match[1]) * units[match[2].lower()]
