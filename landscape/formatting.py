"""Write numbers as text: with their intervals, as distances and losses, as durations and sizes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # without scipy, for commands that answer at once
    from landscape.estimators.basin import Basin
    from landscape.estimators.crossing import Crossing
    from landscape.estimators.intervals import Estimate


def with_minus(text: str) -> str:
    """Return the text with the sign of subtraction in place of every hyphen."""
    return text.replace("-", "−")


def number(value: float, digits: int = 5) -> str:
    """Write a number with this many significant digits; all digits before the point are kept."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    scientific = f"{value:.{digits - 1}e}"
    exponent = int(scientific[scientific.index("e") + 1 :])  # after rounding: 9.999 has two digits before the point
    return with_minus(scientific if exponent < -4 else f"{value:,.{max(0, digits - 1 - exponent)}f}")


def nats(value: float, signed: bool = False) -> str:
    """Write an NLL, or a difference of two, to four decimals."""
    return with_minus(f"{value:{'+' if signed else ''}.4f}") if math.isfinite(value) else number(value)


def sentence(text: str) -> str:
    """Begin a sentence with a capital, unless it begins with a symbol or a name: ``w_RTN``, ``int3``, ``r_s``."""
    word = text.split(" ", 1)[0].rstrip(",:;")
    return text[:1].upper() + text[1:] if word.isalpha() and word.islower() and len(word) > 1 else text


def plural(count: int, noun: str) -> str:
    """Write ``1 window`` or ``2 windows``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """Write a time in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def data_size(count: float) -> str:
    """Write a number of bytes in B, kB, MB or GB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def interval(estimate: Estimate, text: str, unbounded: str, signed_nats: bool = False) -> str:
    """Write ``text [low, high]``, or ``text (unbounded)`` where the data do not bound it.

    Args:
        estimate: The number with its interval.
        text: Its value, as text.
        unbounded: Why there may be no bound: ``why_unbounded``.
        signed_nats: Write the ends as differences of NLL.
    """
    if not math.isfinite(estimate.high) and not (math.isfinite(estimate.low) and estimate.low > 0):
        return f"{text} ({unbounded})"
    low, high = (nats(end, True) if signed_nats else number(end, 3) for end in (estimate.low, estimate.high))
    return f"{text} [{low}, {high}]"


def windows_text(windows: int, articles: int | None) -> str:
    """Write ``8 windows in 7 articles``; where the articles are not known, say what the intervals take instead."""
    if articles is None:
        return plural(windows, "window") + (", each treated as independent" if windows > 1 else "")
    return f"{plural(windows, 'window')} in {plural(articles, 'article')}"


def why_unbounded(directions: int, windows: int, articles: int | None = None) -> str:
    """Say why an interval of R is infinite."""
    if directions < 2:
        return "not bounded by one direction"
    if windows < 2:
        return "not bounded by one window"
    return "not bounded by windows of one article: use more of the text" if articles == 1 else "not bounded by the data"


def crossing_text(
    crossing: Crossing, directions: int, windows: int, norm: float = 1.0, articles: int | None = None
) -> str:
    """Write a radius with its interval; a lower bound where the loss never rises that far.

    Args:
        crossing: The radius.
        directions: How many directions it was measured along.
        windows: How many windows it was measured on.
        norm: Length that it is divided by.
        articles: How many articles the windows are of; None if that is not known.
    """
    from landscape.estimators.intervals import Estimate

    if crossing.value is not None:
        scaled = Estimate(crossing.value / norm, crossing.low / norm, crossing.high / norm)
        return interval(scaled, number(scaled.value, 3), why_unbounded(directions, windows, articles))
    reached, low = number(crossing.bracket[0] / norm, 3), number(crossing.low / norm, 3)
    if crossing.low == 0:
        return f"not reached up to {reached}, without a sure lower bound"
    return f"more than {low}" + (f" (probed up to {reached})" if low != reached else "")


def distance_text(crossing: Crossing, basin: Basin, norm: float = 1.0) -> str:
    """Write a radius of a basin with its interval: see ``crossing_text``."""
    return crossing_text(crossing, basin.directions, basin.windows, norm, basin.articles)


def equals(name: str, crossing: Crossing, basin: Basin, norm: float = 1.0) -> str:
    """Write ``R = 71.2 [69.8, 72.6]``, or ``R is more than 50.0``."""
    return f"{name} {'is' if crossing.value is None else '='} {distance_text(crossing, basin, norm)}"


def rise_text(rise: Estimate) -> str:
    """Write ΔL with its interval over windows, or over their articles."""
    return interval(rise, nats(rise.value, True), _why_no_bound(rise), signed_nats=True)


def relative_change_text(change: Estimate) -> str:
    """Write a relative change with its interval, in per cent: ``+5.3 % [+4.1, +6.6]``."""
    if not math.isfinite(change.high):
        return f"{percent(change.value)} ({_why_no_bound(change)})"
    return f"{percent(change.value)} [{_signed(change.low)}, {_signed(change.high)}]"


def percent(share: float) -> str:
    """Write a relative change as ``+5.3 %``."""
    return f"{_signed(share)} %"


def _signed(share: float) -> str:
    sign = "+" if share > 0 else ""
    return f"{sign}{number(100 * share, 3 if abs(share) >= 0.1 else 2)}"


def height_text(height: Estimate) -> str:
    """Write a prominence or a barrier with its interval over windows, or over their articles."""
    if not math.isfinite(height.high):
        return f"{nats(height.value)} ({_why_no_bound(height)})"
    return f"{nats(height.value)} [{nats(height.low)}, {nats(height.high)}]"


def _why_no_bound(difference: Estimate) -> str:
    """Say why a difference of losses has no interval."""
    if math.isfinite(difference.value):
        return "not bounded by one window or article"
    return "the model's output overflowed"
