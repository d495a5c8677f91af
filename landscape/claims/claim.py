"""State a claim of the paper as a number: the statistic, its interval, and the threshold at which the claim holds."""

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
    """The range of a statistic in which a claim holds."""

    low: float = -math.inf
    """Lower end of the range, excluded: no gain at all is no gain."""
    high: float = math.inf
    """Upper end of the range, included."""
    inside: bool = True
    """Whether the claim holds in the range, or outside of it."""

    def verdict(self, estimate: Estimate | None) -> Verdict:
        """Judge an interval: open if it straddles an end of the range, or there is no estimate."""
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
    """Where the claim is tested: ``up to r10``, ``int4-exact``, ``gptq-int4-exact``."""
    text: str
    """The paper's statement."""
    source: str
    """Section and figure of the paper."""
    measure: str
    """The statistic."""
    estimate: Estimate | None
    """Its value and 95 % interval; None if it is not available: ``note`` then says why."""
    threshold: str
    """The values with which the claim holds."""
    verdict: Verdict
    """``open`` if the interval does not decide it."""
    note: str = ""
    """Further facts that a reader of the number needs."""
    aside: bool = False
    """Whether it is reported beside the claim, as its converse is, and does not count in the verdict."""


@dataclass(frozen=True)
class RtnDistance:
    """The distance by which rounding to nearest moves w on one grid."""

    bits: int
    """Bit width."""
    grid: str
    """Scale and granularity of the grid."""
    distance: float
    """‖Δw‖."""


@dataclass(frozen=True, eq=False)
class Observations:
    """A landscape, with the losses by window, which its summary does not hold."""

    landscape: SurveyResult
    radial: RadialProbes
    """Losses along its random directions, on the judged split."""
    along: Mapping[str, RadialProbes]
    """By name of a point: losses from w along Δw, up to ‖Δw‖, on the same windows; one given direction."""
    test: Mapping[str, NDArray[np.float64]]
    """By name of a point: its NLL sums on the test windows, (n_w,)."""
    test_tokens: NDArray[np.int64]
    """(n_w,) scored tokens of the test windows."""
    test_blocks: NDArray[np.int64] | None = None
    """(n_w,) their articles; None if not known."""
    rtn: tuple[RtnDistance, ...] = ()
    """RTN on grids without a point in the landscape."""
