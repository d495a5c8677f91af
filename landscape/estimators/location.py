"""Say where a point lies against the basin around w, and what is left of its loss: one word each.

The two words are independent: a point deep inside the basin can be lost along an untypical direction.
"""

from __future__ import annotations

import math
from typing import Literal

from landscape.estimators.basin import INNER, OUTER, Basin
from landscape.estimators.crossing import LOST, Crossing
from landscape.estimators.intervals import Estimate
from quant.errors import UsageError

Location = Literal["inside", "border", "outside", "unresolved"]
WithinLimit = Literal["kept", "inconclusive", "degraded"]
"""ΔL against a limit: see ``limit_word``."""
Loss = WithinLimit | Literal["lost"]
"""The word for a point's loss: see ``loss_word``."""

KEPT_LIMIT = math.log(1.05)  # nats per token: a perplexity 5 % higher


def location(distance: float, basin: Basin) -> Location:
    """Say where a point at ‖Δw‖ lies, as far as the intervals of the border band allow.

    The word does not judge the point's loss: a point deep inside can be lost along an untypical direction
    (``loss_word``).

    Args:
        distance: ‖Δw‖, in the units of the basin.
        basin: The basin; beyond a censored or unbounded edge of its band the location is unresolved.

    Raises:
        UsageError: The distance is negative or not finite.
    """
    _check_distance(distance)
    if distance <= basin.r10.low:
        return "inside"
    if distance > basin.r90.high:
        return "outside"
    return "border" if basin.r10.high <= distance <= basin.r90.low else "unresolved"


def location_at(u: Estimate) -> Location:
    """Say where a point lies from the u that random directions reach on average at its own distance.

    Where the mean profile rises, ``‖Δw‖ < r10`` is ``u(‖Δw‖) < 0.1``: one distance suffices, without the band.

    Args:
        u: The normalised rise of the mean loss of random directions at ‖Δw‖, with its interval.
    """
    if u.high < INNER:
        return "inside"
    if u.low > OUTER:
        return "outside"
    return "border" if u.low >= INNER and u.high <= OUTER else "unresolved"


def loss_word(delta: Estimate, u: float, limit: float = KEPT_LIMIT) -> Loss:
    """Say what became of a point's loss, wherever the point lies.

    Args:
        delta: ΔL against w (``paired_difference``), nats per token.
        u: ``saturation`` of the point's own loss; infinite or NaN where the model overflowed.
        limit: The largest acceptable ΔL; by default a perplexity 5 % higher.

    Returns:
        ``lost`` from u = ½ on, else the ``limit_word``.
    """
    if not u < LOST:  # NaN is lost
        return "lost"
    return limit_word(delta, limit)


def limit_word(delta: Estimate, limit: float) -> WithinLimit:
    """Judge a rise of the loss against a limit.

    Args:
        delta: ΔL, nats per token.
        limit: The ΔL that is acceptable.

    Returns:
        ``kept`` if all of ΔL's interval is within the limit, ``degraded`` if all of it lies beyond or the model
        overflowed, ``inconclusive`` if it reaches across: few windows leave it wide.
    """
    if delta.high <= limit:
        return "kept"
    return "degraded" if delta.low > limit or not math.isfinite(delta.value) else "inconclusive"


def steeper(delta: Estimate, typical: float) -> bool:
    """Return whether a point's loss is shown to rise more than along random directions to the same distance.

    Args:
        delta: ΔL of the point. Infinite where the model overflowed, which is more than any finite rise.
        typical: Mean ΔL of the random directions there, or the upper end of its interval where that is known. NaN or
            infinite if it is not known: then nothing is shown.
    """
    return math.isfinite(typical) and (delta.low > typical or not math.isfinite(delta.value))


def ratio(distance: float, crossing: Crossing) -> Estimate | None:
    """Compute ``ρ = distance / R`` with R's interval; None if R is censored.

    With ‖Δw‖ and R along random directions this is the paper's ρ. Along a path ``w + t·v`` that was probed in units of
    t the distance is 1, and the ratio ``1/t½``.

    Raises:
        UsageError: The distance is negative or not finite.
    """
    _check_distance(distance)
    if crossing.value is None:
        return None
    if distance == 0:
        return Estimate(0.0, 0.0, 0.0)
    high = distance / crossing.low if crossing.low > 0 else math.inf
    return Estimate(distance / crossing.value, distance / crossing.high, high)


def _check_distance(distance: float) -> None:
    if not 0 <= distance < math.inf:
        raise UsageError(f"expected a distance from w, finite and not negative, got {distance}")
