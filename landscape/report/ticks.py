"""Choose the ticks of a logarithmic axis: whole numbers of 1, 2 or 5 times a power of ten, with room between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LETTER, _AIR = 6.2, 10.0  # px: width of a letter of a tick, and the least room between two ticks
_MOST = 8  # more ticks than this are hard to read, however much room there is
_STEPS = (1.0, 2.0, 2.5, 5.0)  # of an even tick, times a power of ten


def log_ticks(low: float, high: float, room: float = 280.0) -> tuple[tuple[float, str], ...]:
    """Return places and texts of ticks: 1, 2 and 5 times powers of ten, thinned so that no text covers another.

    Where a range holds fewer than two of those, ticks are even.

    Args:
        low: Lower end of the axis, above 0.
        high: Upper end, above the lower one.
        room: Length of the axis on the narrowest screen, in pixels.
    """
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    tried = [[m * 10.0**k for k in powers for m in factors] for factors in ((1, 2, 5), (1,))]
    tried += [[10.0**k for k in powers if k % step == 0] for step in range(2, len(powers) + 2)]
    span = math.log10(high / low)
    for values in tried:
        kept = [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        if len(kept) < 2:
            break
        if len(kept) <= _MOST and _fits([math.log10(v / low) / span * room for v in kept], list(map(power_text, kept))):
            return tuple((v, power_text(v)) for v in kept)
    return tuple((v, power_text(v)) for v in _even(low, high))


def power_text(value: float) -> str:
    """Write a tick: plainly from 0.001 to 1000, else as a power of ten."""
    value = float(f"{value:.6g}")  # 3·10⁻¹ is not 0.30000000000000004
    if value <= 0 or 1e-3 <= value <= 1e3:
        return f"{value:g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    power = "10" + str(int(exponent)).translate(_RAISED)
    factor = f"{float(mantissa):g}"
    return power if factor == "1" else f"{factor}·{power}"


def _fits(places: Sequence[float], texts: Sequence[str]) -> bool:
    """Return whether texts centred at these places, in pixels, leave some air between them."""
    halves = [_LETTER * len(text) / 2 for text in texts]
    ends = zip(places, halves, places[1:], halves[1:], strict=False)
    return all(right - left >= a + b + _AIR for left, a, right, b in ends)


def _even(low: float, high: float) -> list[float]:
    """Return three to five even values within a range."""
    power = 10.0 ** math.floor(math.log10(high - low))
    steps = [step * scale for scale in (power / 10, power) for step in _STEPS]
    for step in steps:
        values = [float(step * i) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
        if len(values) <= 5:
            return values
    return [low, high]
