"""Foretell what GPTQ and QAFT would cost from what RTN costs, with the error of the formula as an interval.

Both formulas are from 38 cells of three models, fitted to two of them and tested on the third:

GPTQ    leaves 0.73 of RTN's ΔL in the median; the logarithm of the share is off by 0.29. Neither bits, nor ΔL, nor the
        distance relative to the basin foretold it to a useful degree better than this constant.
QAFT    less w_FT is 0.92 · ΔL(RTN)^0.64 · (‖Δw‖/‖w‖)^0.475; its logarithm is off by 0.34.

``benchmarks/advice/README.md`` shows how often these intervals hold on other models.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from scipy import special

from landscape.estimators.intervals import Estimate


@dataclass(frozen=True)
class Formulas:
    """The constants of both formulas."""

    gptq_share: float = 0.73
    """Median share of RTN's ΔL that GPTQ leaves."""
    gptq_error: float = 0.29
    """Standard error of the share's logarithm."""
    gptq_least: float = 0.35
    """Least share that GPTQ left in any cell: where RTN is beyond limit/0.35, it will not keep the limit."""
    qaft_factor: float = 0.92
    qaft_rise: float = 0.64
    """Exponent of RTN's ΔL."""
    qaft_distance: float = 0.475
    """Exponent of ‖Δw‖/‖w‖."""
    qaft_error: float = 0.34
    """Standard error of the logarithm."""

    def gptq(self, rtn: Estimate, confidence: float) -> Estimate:
        """Foretell ΔL of GPTQ on a grid.

        Args:
            rtn: ΔL of RTN on the same grid, whose ends each hold with the confidence.
            confidence: Probability with which each end shall hold.
        """
        return _scaled(rtn, self.gptq_share, 1.0, _quantile(confidence) * self.gptq_error)

    def qaft(self, rtn: Estimate, distance: float, confidence: float) -> Estimate:
        """Foretell ΔL of QAFT less that of its control w_FT.

        Args:
            rtn: ΔL of RTN on the same grid, whose ends each hold with the confidence.
            distance: ‖Δw‖/‖w‖ of RTN.
            confidence: Probability with which each end shall hold.
        """
        factor = self.qaft_factor * distance**self.qaft_distance
        return _scaled(rtn, factor, self.qaft_rise, _quantile(confidence) * self.qaft_error)


FORMULAS = Formulas()


def added(net: Estimate, control: Estimate) -> Estimate:
    """Return ΔL of QAFT from that less its control, and the control's."""
    return Estimate(net.value + control.value, net.low + control.low, net.high + control.high)


def at_most(rise: Estimate, rtn: Estimate) -> Estimate:
    """Return the rise of a way that starts from RTN, which is shipped where the way would end above it."""
    return Estimate(*(min(pair) for pair in zip(astuple(rise), astuple(rtn), strict=True)))


def _scaled(rtn: Estimate, factor: float, power: float, error: float) -> Estimate:
    """Return ``factor · rtn^power``; on a log scale the distances of the ends add up as independent errors do.

    Where RTN's interval reaches down to 0 or below, the logarithm has no lower end: the interval then begins at the
    lower of RTN's and 0, and where even its value does, it is RTN's own.
    """
    if not rtn.value > 0 or not math.isfinite(rtn.value):
        return rtn
    value = factor * rtn.value**power
    up = math.hypot(error, power * math.log(rtn.high / rtn.value)) if math.isfinite(rtn.high) else math.inf
    if rtn.low <= 0:
        return Estimate(value, min(rtn.low, 0.0), value * math.exp(up))
    down = math.hypot(error, power * math.log(rtn.value / rtn.low))
    return Estimate(value, value * math.exp(-down), value * math.exp(up))


def _quantile(confidence: float) -> float:
    """Return the quantile of the standard normal distribution."""
    return float(special.ndtri(confidence))
