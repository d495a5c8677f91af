"""Choose between ways and grids: the cheapest that keeps the limit, else the one that comes nearest to it.

A choice is a way on a grid, with the rise of the loss that it costs. Three properties hold by construction:

- Choices are ordered by one key, and each is judged by itself. So the grid that is recommended gets the same verdict
  when it is asked about alone.
- Where nothing keeps the limit, the choice is named that would keep a loosened limit first. So on the same evidence a
  looser limit never asks for a more expensive way.
- The raw loss decides; only on request QAFT counts less its control, ``w_FT``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from landscape.advice.ways import WAYS, Way
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from quant.scheme import QuantScheme

Origin = Literal["measured", "foretold"]
"""Whether a point was made and its loss measured, or its loss is foretold from that of others."""


@dataclass(frozen=True)
class Choice:
    """One way on one grid, and what it costs."""

    way: Way
    scheme: QuantScheme
    bits_per_weight: float
    """With scales and zero points."""
    rise: Estimate
    """ΔL against w, nats per token; each end holds with the confidence asked for."""
    source: Origin
    net: Estimate | None = None
    """For QAFT, the rise less that of its control w_FT; None where the two do not differ."""
    windows: int | None = None
    """Windows on which it was measured; None where it is foretold."""
    tokens: int | None = None
    """Tokens that calibrated the point, where that is fewer than the method takes by default."""

    def judged(self, net: bool) -> Estimate:
        """Return the rise that decides: the raw one, or the net one where that is asked for and there is one."""
        return self.net if net and self.net is not None else self.rise

    @property
    def as_shipped(self) -> bool:
        """True if the loss was measured at the very point that one would ship."""
        return self.source == "measured" and self.tokens is None

    @property
    def price(self) -> tuple[int, float, str]:
        """The key by which choices are cheap: way, bits per weight, name of the grid."""
        return WAYS.index(self.way), self.bits_per_weight, str(self.scheme)


@dataclass(frozen=True)
class Verdict:
    """The choice for one bit width."""

    choice: Choice
    keeps: bool
    """Whether it keeps the limit with the confidence asked for; else it is the one that comes nearest."""


def keeps(choice: Choice, limit: Limit, net: bool) -> bool:
    """Return whether a choice keeps the limit with the confidence of its interval."""
    return limit.keeps(choice.judged(net))


def decide(choices: Iterable[Choice], limit: Limit, net: bool = False) -> Verdict:
    """Name the cheapest choice that keeps the limit, else the one that comes nearest to it.

    Args:
        choices: The ways and grids of one bit width, at least one.
        limit: The rise that is acceptable.
        net: Whether QAFT counts less its control.
    """
    choices = tuple(choices)
    kept = [choice for choice in choices if keeps(choice, limit, net)]
    if kept:
        return Verdict(min(kept, key=lambda choice: choice.price), keeps=True)
    return Verdict(min(choices, key=lambda choice: _nearness(choice, net)), keeps=False)


def _nearness(choice: Choice, net: bool) -> tuple[float, float, int, tuple[int, float, str]]:
    """Return the key by which a choice comes near a limit: the end of its interval, then its value, then its price.

    Where the outputs overflow, training comes first.
    """
    rise = choice.judged(net)
    training = 0 if math.isfinite(rise.value) else -WAYS.index(choice.way)
    return rise.high, rise.value, training, choice.price
