"""Stop measuring a rise of the loss as soon as it is decided, with a level that holds over all looks.

A rise far from a limit is decided by a few windows, one near it takes many. So it is looked at after 4, 8, 16, …
windows, each time with an interval of a higher level: with K looks each end is off with probability (1 − confidence)/K
at most, and so at any of them with probability 1 − confidence (Bonferroni). Stopping at the first look that decides
then keeps the level, which an ordinary interval at the stopping time would not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from landscape.estimators.intervals import Estimate
from quant.errors import UsageError

FIRST = 4
"""Windows of the first look: three degrees of freedom."""


@dataclass(frozen=True)
class Look:
    """A rise of the loss at the look at which it was decided, or at the last one."""

    rise: Estimate
    """ΔL, nats per token; each end holds with the confidence asked for, whichever look ended the series."""
    windows: int
    """Number of windows."""
    decided: bool
    """Whether the interval reaches across none of the marks."""


def look_sizes(windows: int) -> tuple[int, ...]:
    """Return the numbers of windows of all looks: 4, 8, 16, …, and at last all of them."""
    sizes = []
    size = FIRST
    while size < windows:
        sizes.append(size)
        size *= 2
    return (*sizes, windows)


def two_sided(confidence: float, looks: int) -> float:
    """Return the level of a two-sided interval whose ends each hold at all looks with a confidence.

    Args:
        confidence: The probability that an end holds at every look.
        looks: Number of looks.

    Raises:
        UsageError: if the confidence is not above ½ and below 1.
    """
    if not 0.5 < confidence < 1:
        raise UsageError(f"expected a confidence above 0.5 and below 1, such as 0.9, got {confidence:g}")
    return 1 - 2 * (1 - confidence) / looks


def look(measure: Callable[[int, float], Estimate], windows: int, confidence: float, marks: Sequence[float]) -> Look:
    """Measure a rise on more and more windows until it lies on one side of every mark.

    Args:
        measure: Measures the rise on the first so many windows, with a two-sided interval of this level.
        windows: Number of windows there are.
        confidence: The probability with which each end shall hold.
        marks: Rises to compare it with, nats per token. Below the lowest of them nothing else is asked.

    Raises:
        UsageError: see ``two_sided``.
    """
    sizes = look_sizes(windows)
    level = two_sided(confidence, len(sizes))
    for size in sizes:
        rise = measure(size, level)
        if decided(rise, marks):
            return Look(rise, size, decided=True)
    return Look(rise, size, decided=False)


def decided(rise: Estimate, marks: Sequence[float]) -> bool:
    """Return whether an interval reaches across none of the marks; a model that overflowed is beyond all of them."""
    return not math.isfinite(rise.value) or all(rise.high <= mark or rise.low > mark for mark in marks)
