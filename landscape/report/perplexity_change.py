"""Write a rise of the loss as a change of the perplexity, short enough for a table."""

from __future__ import annotations

import math

from landscape.estimators.intervals import Estimate
from landscape.formatting import number, with_minus

_TIMES = 10.0  # from so many times the perplexity on, a factor says more than per cent
_MOST = 1000.0  # the factor beyond which its digits do not matter


def change_text(rise: Estimate) -> str:
    """Write exp(ΔL) − 1 in per cent; as a factor from tenfold on; in words where the output overflowed.

    Args:
        rise: ΔL in nats per token.
    """
    if not math.isfinite(rise.value):
        return "overflowed"
    if rise.value > math.log(_MOST):
        return f"over ×{number(_MOST, 4)}"
    factor = math.exp(rise.value)
    if factor >= _TIMES:
        return f"×{number(factor, 2)}"
    percent = 100 * (factor - 1)
    digits = 0 if abs(percent) >= 10 else 1
    text = f"{percent:+.{digits}f} %"
    return "±0 %" if float(text[:-2]) == 0 else with_minus(text)


def change_with_ends(rise: Estimate) -> str:
    """Write the same with the ends of its interval, unless their digits do not matter: ``+14 % (5 … 25)``."""
    text = change_text(rise)
    if not math.isfinite(rise.value):
        return text
    if not math.isfinite(rise.high):
        return f"{text} (not bounded)"
    if rise.low > math.log(_MOST):
        return text
    low, high = (_end(nats, factor=rise.value >= math.log(_TIMES)) for nats in (rise.low, rise.high))
    return f"{text} ({low} … {high})"


def _end(nats: float, factor: bool) -> str:
    """Write an end of an interval in the unit of its value, factor or per cent, without the unit."""
    if nats > math.log(_MOST):
        return f"over {number(_MOST if factor else 100 * _MOST, 4)}"
    if factor:
        return number(math.exp(nats), 2)
    percent = 100 * math.expm1(nats)
    return with_minus(f"{percent:.{0 if abs(percent) >= 9.95 else 1}f}")
