"""Foretell what GPTQ and QAFT would cost from what RTN costs, with the error of the formula as an interval.

Both are power laws, fitted to all cells of ``benchmarks/advice``, whose page shows how often their intervals hold on a
model that had no part in the fit.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from scipy import special

from landscape.estimators.intervals import Estimate


@dataclass(frozen=True)
class PowerLaw:
    """ΔL = factor · ΔL(RTN)^power."""

    factor: float
    power: float
    """Exponent of RTN's ΔL."""
    error: float
    """Standard error of the logarithm of what is foretold, on models that had no part in the fit."""
    least: float
    """Smallest ratio of what was measured to what is foretold from this law, in any cell."""
    most: float = math.inf
    """Largest ΔL of RTN that it was fitted to: beyond, it bounds nothing from above."""

    def foretell(self, rtn: Estimate, confidence: float) -> Estimate:
        """Foretell ΔL on a grid; on a log scale errors of RTN's loss and of the law add up as independent ones do.

        Where RTN's interval reaches down to 0 or below, the logarithm has no lower end: the interval then begins at the
        lower of RTN's and 0, and where even its value does, it is RTN's own. Beyond what the law was fitted to, the
        interval begins where it does at the largest fitted loss, and has no upper end; nor has it one where RTN's own
        reaches beyond.

        Args:
            rtn: ΔL of RTN on the same grid, whose ends each hold with the confidence.
            confidence: Probability with which each end shall hold.
        """
        if not rtn.value > 0 or not math.isfinite(rtn.value):
            return rtn
        if rtn.value > self.most:
            edge = self.foretell(Estimate(*(min(end, self.most) for end in astuple(rtn))), confidence)
            return Estimate(math.exp(self._log(rtn.value)), edge.low, math.inf)
        level = self._log(rtn.value)
        error = float(special.ndtri(confidence)) * self.error
        up = math.hypot(error, self.power * math.log(rtn.high / rtn.value)) if rtn.high <= self.most else math.inf
        if rtn.low <= 0:
            return Estimate(math.exp(level), min(rtn.low, 0.0), math.exp(level + up))
        down = math.hypot(error, self.power * math.log(rtn.value / rtn.low))
        return Estimate(*map(math.exp, (level, level - down, level + up)))

    def hopeless(self, limit: float) -> float:
        """Return ΔL of RTN from which on the way would miss a limit even if it did as well as in the best cell.

        Args:
            limit: The acceptable ΔL, nats per token.
        """
        return max(limit, math.exp((math.log(limit / self.least) - self._log(1.0)) / self.power))

    def _log(self, rise: float) -> float:
        """Return the logarithm of what the law says: a rise next to 0 would underflow."""
        return math.log(self.factor) + self.power * math.log(rise)


@dataclass(frozen=True)
class Formulas:
    """The laws of both ways."""

    gptq: PowerLaw
    """ΔL of GPTQ."""
    qaft: PowerLaw
    """ΔL of QAFT less that of its control w_FT."""


FORMULAS = Formulas(
    gptq=PowerLaw(0.665, 1.12, error=0.51, least=0.33, most=15.1),
    qaft=PowerLaw(0.351, 0.877, error=0.30, least=0.63, most=15.1),
)


def added(net: Estimate, control: Estimate) -> Estimate:
    """Return ΔL of QAFT from that less its control, and the control's."""
    return Estimate(net.value + control.value, net.low + control.low, net.high + control.high)


def at_most(rise: Estimate, rtn: Estimate) -> Estimate:
    """Return the rise of a way that starts from RTN, which is shipped where the way would end above it."""
    return Estimate(*(min(pair) for pair in zip(astuple(rise), astuple(rtn), strict=True)))
