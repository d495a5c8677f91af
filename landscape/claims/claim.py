"""A claim of the paper put as a number: what is measured, with which interval, and from where on the claim holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.intervals import Estimate
from landscape.estimators.radial_losses import RadialProbes
from landscape.survey.result import SurveyResult

Verdict = Literal["holds", "fails", "open"]

SOURCE = "Xu et al. 2024, §4.3"


@dataclass(frozen=True)
class Threshold:
    """The values of a statistic with which a claim holds, and the verdict on an interval of it."""

    low: float = -math.inf
    """Lower end of the range, itself not in it: no gain at all is no gain."""
    high: float = math.inf
    """Upper end of the range, itself in it."""
    inside: bool = True
    """Whether the claim holds in the range, or outside of it."""

    def verdict(self, estimate: Estimate | None) -> Verdict:
        """Holds or fails if the whole interval says so; open if it straddles an end, or there is no estimate."""
        if estimate is None:
            return "open"
        if self.low < estimate.low and estimate.high <= self.high:
            return "holds" if self.inside else "fails"
        if estimate.high <= self.low or self.high < estimate.low:
            return "fails" if self.inside else "holds"
        return "open"

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"≤ {self.high:g}"
        if math.isinf(self.high):
            return f"> {self.low:g}"
        return f"{'between' if self.inside else 'not between'} {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Claim:
    """One claim in one case: near w or beyond R, on one grid or at one point."""

    number: int
    """1 to 6, as ``landscape.claims.point_claims`` orders them."""
    case: str
    """Where it is looked at: ``up to r10``, ``int4-exact``, ``gptq-int4-exact``."""
    text: str
    """What the paper says."""
    source: str
    """Where it says so."""
    measure: str
    """The statistic."""
    estimate: Estimate | None
    """Its value and 95 % interval; None if it cannot be had, then ``note`` says why."""
    threshold: str
    """With which values the claim holds."""
    verdict: Verdict
    """``open`` if the interval leaves it so."""
    note: str = ""
    """What else a reader should know of the number."""
    aside: bool = False
    """Whether it is measured beside the claim, as its converse is, and has no part in the verdict on it."""


@dataclass(frozen=True)
class Rounded:
    """How far rounding to nearest moves w on one grid."""

    bits: int
    """Bit width."""
    grid: str
    """How its scale is found, and what shares one."""
    distance: float
    """‖Δw‖."""


@dataclass(frozen=True, eq=False)
class Observed:
    """A landscape, and the losses by window that its summary does not hold."""

    landscape: SurveyResult
    radial: RadialProbes
    """Along its random directions, on the split of the verdicts."""
    along: Mapping[str, RadialProbes]
    """By name of a point: from w along Δw, the last distance being ‖Δw‖; same windows, one direction that is meant."""
    test: Mapping[str, NDArray[np.float64]]
    """By name of a point: its NLL sums on the test windows, (n_w,)."""
    test_tokens: NDArray[np.int64]
    """(n_w,) scored tokens of the test windows."""
    test_blocks: NDArray[np.int64] | None = None
    """(n_w,) their articles; None if not known."""
    rounded: tuple[Rounded, ...] = ()
    """RTN on grids that the landscape has no point of."""


def overall(claims: list[Claim]) -> Verdict:
    """The verdict on a claim of which these are the cases: it holds if it does in all, fails if it does in any."""
    verdicts = {claim.verdict for claim in claims if not claim.aside}
    if "fails" in verdicts:
        return "fails"
    return "holds" if verdicts == {"holds"} else "open"
