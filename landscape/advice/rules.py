"""Decide how to quantize to a bit width, by rules that are data: each a verdict, and bounds on measured numbers.

The rules are tried in the order of the cost of their methods, and the first one whose bounds all hold is the advice:

    rtn     rounding to nearest is enough: nothing to calibrate, nothing to train
    grid    change the scale or granularity first: RTN on another grid of as many bits was measured to keep the limit,
            or to lose at most half, and little enough for that grid to do without training
    gptq    a layer-wise method should do
    qaft    fine-tune with quantization in the loop

``rtn`` fires only where the whole interval of the measured ΔL is within the limit, and so does ``grid`` where another
grid keeps the limit. The other rules fire on the value, and where an interval reaches across a bound the advice names
the other verdicts that stay possible.

ΔL of RTN is measured, not predicted, also with its clipping undone and on other grids. The rescue of a point by GPTQ is
a prediction from two numbers: the threshold of one was fitted on the built-in model alone, that of the other is the
paper's, with which this model agrees. ``benchmarks/advice/README.md`` shows how often the prediction comes true
elsewhere.

The advice names the best method, not one that surely keeps the limit: where no method does, it still names the one to
take. ``Advice.keeps`` says whether it keeps the limit, as far as that is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from quant.scheme import QuantScheme

Recommendation = Literal["rtn", "grid", "gptq", "qaft"]
RECOMMENDATIONS: tuple[Recommendation, ...] = get_args(Recommendation)
"""The verdicts in the order of their cost."""
WORDS: dict[Recommendation, str] = {
    "rtn": "rounding to nearest (RTN) is enough",
    "grid": "change the scale or granularity first",
    "gptq": "a layer-wise method (GPTQ) should do",
    "qaft": "fine-tune with quantization in the loop (QAFT)",
}


WORTH_CHANGING = 0.5
"""Largest share of ΔL that RTN on another grid may leave for a change of grid to be worth it. Our choice."""
CLIPPING_DOMINATES = 0.5
"""Clipping dominates where surely less than this share of ΔL is left with the clipping undone. Our choice."""


@dataclass(frozen=True)
class Evidence:
    """The measurements on one grid before anything is calibrated or trained."""

    scheme: QuantScheme
    """The grid."""
    distance: float
    """‖Δw‖ of RTN."""
    rise: Estimate
    """ΔL at RTN, nats per token."""
    unclipped: Estimate
    """ΔL at RTN with its clipping undone."""
    remaining: Estimate | None
    """The share of ΔL left with the clipping undone; None where ΔL is not above 0."""
    clipped: float
    """Share of the weights that are clipped."""
    others: Mapping[QuantScheme, Estimate]
    """ΔL at RTN on other grids of as many bits."""
    over_here: Estimate | None
    """The least ΔL on another grid over ΔL on this one; None where the latter is not above 0."""
    rho: Estimate | None
    """ρ = ‖Δw‖/R, R along uniform directions; None if R is censored."""
    rho_prof: Estimate | None
    """The same with R along directions that have the per-tensor norms of Δw."""
    rho_along: Estimate | None
    """ρ_Δ, the same with R along Δw itself: it describes the loss at RTN, and no rule uses it."""

    @property
    def best_other(self) -> QuantScheme:
        """The other grid on which RTN loses least."""
        return min(self.others, key=lambda scheme: self.others[scheme].value)

    @property
    def clipping_dominates(self) -> bool:
        """True if undoing the clipping surely removes most of ΔL."""
        return self.remaining is not None and self.remaining.high < CLIPPING_DOMINATES


Measure = Callable[[Evidence, Limit], Estimate | None]


@dataclass(frozen=True)
class Bound:
    """A condition: a number of the evidence is at most a threshold."""

    name: str
    """Name of the number, for readers."""
    measure: Measure
    """Takes the number from the evidence; None where it is not known."""
    most: float
    """The threshold."""
    source: str
    """Where the threshold comes from."""


@dataclass(frozen=True)
class Rule:
    """A verdict and the bounds that must hold for it."""

    verdict: Recommendation
    bounds: tuple[Bound, ...]
    """Bounds that must all hold; none for the last resort."""
    surely: bool = False
    """Whether whole intervals must be within the bounds, not their values alone."""


RESCUE = 2**6.75
"""Largest ΔL/limit at which methods without training are advised: 107.6. Fitted on opt-nano, where training
through the rounding was never the right method, so that it has a lower bound alone: it may be too high, hardly too
low."""
RIM = 1.0
"""Largest ρ_prof at which GPTQ is trusted at all: the rim of the basin in the paper (Xu et al. 2024, §4.3). Not fitted;
opt-nano agrees with every value from 0.55 on."""

GPTQ_LEAVES = 0.47
"""Least share of RTN's ΔL that GPTQ left on opt-nano, among the 12 grids on which that ΔL is above 0.03 nats."""

_CHOICE = "our choice, not fitted"
_RESCUE = "fitted on opt-nano, may be too high: benchmarks/advice/README.md"
_RIM = "the paper's rim: benchmarks/advice/README.md"


def rules(rescue: float = RESCUE, rim: float = RIM, worth: float = WORTH_CHANGING) -> tuple[Rule, ...]:
    """Build the rules, in the order in which they are tried.

    Args:
        rescue: ``RESCUE``, or another value to test.
        rim: ``RIM``, or another value to test.
        worth: ``WORTH_CHANGING``, or another value to test.
    """
    return (
        Rule("rtn", (Bound("ΔL of RTN / your limit", _rise, 1.0, "your limit"),), surely=True),
        Rule("grid", (Bound("ΔL of RTN on another grid / your limit", _other_rise, 1.0, "your limit"),), surely=True),
        Rule(
            "grid",
            (
                Bound("ΔL of RTN on another grid / ΔL here", _over_here, worth, _CHOICE),
                Bound("ΔL of RTN on another grid / your limit", _other_rise, rescue, _RESCUE),
            ),
        ),
        Rule(
            "gptq",
            (
                Bound("ΔL of RTN / your limit", _rise, rescue, _RESCUE),
                Bound("ρ_prof", lambda evidence, limit: evidence.rho_prof, rim, _RIM),
            ),
        ),
        Rule("qaft", ()),
    )


def _rise(evidence: Evidence, limit: Limit) -> Estimate:
    return _over_limit(evidence.rise, limit)


def _other_rise(evidence: Evidence, limit: Limit) -> Estimate:
    return _over_limit(evidence.others[evidence.best_other], limit)


def _over_here(evidence: Evidence, limit: Limit) -> Estimate | None:
    return evidence.over_here


def _over_limit(estimate: Estimate, limit: Limit) -> Estimate:
    return Estimate(estimate.value / limit.nats, estimate.low / limit.nats, estimate.high / limit.nats)


RULES = rules()


@dataclass(frozen=True)
class Finding:
    """One bound, and the number that was held against it."""

    verdict: Recommendation
    """Verdict of the rule."""
    name: str
    """Name of the number, for readers."""
    estimate: Estimate | None
    """The number; None where it is not known."""
    surely: bool
    """True if all of the interval must be within the threshold; else the value alone."""
    most: float
    """The threshold."""
    source: str
    """Where the threshold comes from."""

    @property
    def judged(self) -> float:
        """The number held against the threshold: the value, or the interval's upper end; NaN where it is not known."""
        if self.estimate is None:
            return math.nan
        return self.estimate.high if self.surely else self.estimate.value

    @property
    def judged_name(self) -> str:
        """Name of the number held against the threshold, for readers."""
        return f"the upper end of {self.name}" if self.surely else self.name

    @property
    def holds(self) -> bool:
        """Whether the bound counts as met."""
        return self.judged <= self.most

    @property
    def open(self) -> bool:
        """Whether the interval reaches across the threshold, or the number is not known."""
        return self.estimate is None or self.estimate.low <= self.most < self.estimate.high


@dataclass(frozen=True)
class Margin:
    """The distance of the advice from another one."""

    verdict: Recommendation
    """The nearest other verdict."""
    name: str
    """The number that would have to change."""
    factor: float
    """The factor of that change: the number would have to grow if above 1, and to shrink if below."""


@dataclass(frozen=True)
class Advice:
    """The verdict for one grid, and its reasons."""

    evidence: Evidence
    limit: Limit
    verdict: Recommendation
    findings: tuple[Finding, ...]
    """Every bound of the rule that fired and of those tried before it, in order."""
    possible: tuple[Recommendation, ...]
    """Other verdicts that the intervals allow, in the order of their cost."""
    margin: Margin | None
    """The nearest other verdict; None if no change of a single number leads to one."""
    keeps: bool | None
    """True if the advised method keeps the limit, False if not; None where that is not known. RTN, here and on another
    grid, was measured: the answer is known if its whole interval is on one side. GPTQ surely does not keep it where
    even the least share of RTN's ΔL that GPTQ left elsewhere is beyond the limit; in all other cases GPTQ and QAFT are
    open."""


def decide(evidence: Evidence, limit: Limit, tried: Sequence[Rule] = RULES) -> Advice:
    """Apply the first rule whose bounds all hold.

    Args:
        evidence: The measurements on one grid.
        limit: The ΔL that the user accepts.
        tried: The rules, in this order; the last one has no bounds.
    """
    judged = [(rule, [_finding(rule, bound, evidence, limit) for bound in rule.bounds]) for rule in tried]
    fired = _first(judged)
    before, after = judged[: fired + 1], judged[fired + 1 :]
    return Advice(
        evidence=evidence,
        limit=limit,
        verdict=tried[fired].verdict,
        findings=tuple(finding for _, findings in before for finding in findings),
        possible=_possible(before, after),
        margin=_margin(before, after),
        keeps=_keeps(tried[fired].verdict, evidence, limit),
    )


def _keeps(verdict: Recommendation, evidence: Evidence, limit: Limit) -> bool | None:
    if verdict in ("rtn", "grid"):
        rise = evidence.rise if verdict == "rtn" else evidence.others[evidence.best_other]
        return True if rise.high <= limit.nats else False if rise.low > limit.nats else None
    return False if verdict == "gptq" and GPTQ_LEAVES * evidence.rise.low > limit.nats else None


_Judged = Sequence[tuple[Rule, list[Finding]]]


def _finding(rule: Rule, bound: Bound, evidence: Evidence, limit: Limit) -> Finding:
    return Finding(rule.verdict, bound.name, bound.measure(evidence, limit), rule.surely, bound.most, bound.source)


def _first(judged: _Judged) -> int:
    """Find the first rule whose bounds all hold."""
    return next(i for i, (_, findings) in enumerate(judged) if all(finding.holds for finding in findings))


def _possible(before: _Judged, after: _Judged) -> tuple[Recommendation, ...]:
    """List the verdicts if numbers whose interval reaches across a bound lay on its other side."""
    *tried, (fired, findings) = before
    found = [rule.verdict for rule, of_rule in tried if all(finding.holds or finding.open for finding in of_rule)]
    if any(finding.open for finding in findings):
        found.append(after[_first(after)][0].verdict)
    return tuple(verdict for verdict in dict.fromkeys(found) if verdict != fired.verdict)


def _margin(before: _Judged, after: _Judged) -> Margin | None:
    """Find the single number whose change, by the least factor, changes the advice."""
    *tried, (fired, findings) = before
    candidates = [(after[_first(after)][0].verdict, finding) for finding in findings]
    for rule, of_rule in tried:
        failing = [finding for finding in of_rule if not finding.holds]
        candidates += [(rule.verdict, failing[0])] if len(failing) == 1 else []
    margins = [
        Margin(verdict, finding.judged_name, finding.most / finding.judged)
        for verdict, finding in candidates
        if 0 < finding.judged < math.inf and verdict != fired.verdict
    ]
    return min(margins, key=lambda margin: abs(math.log(margin.factor)), default=None)
