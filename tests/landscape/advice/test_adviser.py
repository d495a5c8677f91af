"""The adviser over random evidence: what it asks for, and that its verdicts do not contradict each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.advice.adviser import Adviser, Control, Question, WidthAdvice
from landscape.advice.foretell import FORMULAS, Formulas, PowerLaw
from landscape.advice.grids import Candidates
from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.loss_limit import Limit
from quant.scheme import QuantScheme

WINDOWS = 16
GRIDS = {
    "tensor": Candidates(4, "tensor", (QuantScheme(4), QuantScheme(4, "absmax"))),
    "channel": Candidates(4, "channel", (QuantScheme(4, "absmax", "channel"), QuantScheme(4, "mse", "channel"))),
    "group:128": Candidates(4, "group:128", (QuantScheme(4, "mse", "group:128"),)),
}
BITS = {"tensor": 4.0, "channel": 4.05, "group:128": 4.125}
LAWS = Formulas(gptq=PowerLaw(0.73, 1.0, error=0.29, least=0.48), qaft=PowerLaw(0.5, 0.64, error=0.34, least=0.5))
"""Laws of the tests, which the fit of those of the package does not change."""


@dataclass
class Table:
    """Evidence from a table of rises by window, which notes what it is asked for."""

    rounded: dict[QuantScheme, np.ndarray]
    layered: dict[QuantScheme, np.ndarray]
    tuned: np.ndarray | None
    asked: list[tuple[str, str]] = field(default_factory=list)
    windows: int = WINDOWS
    gptq_tokens: int = 2048

    def rtn(self, scheme: QuantScheme, windows: int, level: float) -> Estimate:
        self.asked.append(("rtn", str(scheme)))
        return rise(self.rounded[scheme][:windows], level)

    def gptq(self, scheme: QuantScheme, windows: int, level: float) -> Estimate:
        self.asked.append(("gptq", str(scheme)))
        return rise(self.layered[scheme][:windows], level)

    def untrainable(self) -> str | None:
        return "no room" if self.tuned is None else None

    def control(self, windows: int, level: float) -> Estimate:
        self.asked.append(("w_ft", ""))
        assert self.tuned is not None
        return rise(self.tuned[:windows], level)

    def distance(self, scheme: QuantScheme) -> float:
        return 2.0

    def bits_per_weight(self, scheme: QuantScheme) -> float:
        return BITS[scheme.granularity]


def rise(values: np.ndarray, level: float) -> Estimate:
    tokens = np.full(len(values), 100)
    return paired_difference(100 * values, np.zeros(len(values)), tokens, level)


def around(seed: int, log_mean: float, log_spread: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return math.exp(log_mean) * (1 + math.exp(log_spread) * rng.standard_normal(WINDOWS))


rows = st.builds(around, st.integers(0, 2**16), st.floats(-6, 1.5), st.floats(-4, 0.5))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    schemes = [scheme for each in GRIDS.values() for scheme in each.schemes]
    tuned = draw(st.none() | rows.map(lambda values: -values))
    return Table({s: draw(rows) for s in schemes}, {s: draw(rows) for s in schemes}, tuned)


limits = st.floats(-5, 1).map(lambda log: Limit("some", math.exp(log)))


def advice(table: Table, question: Question, grids: Sequence[Candidates] = tuple(GRIDS.values())) -> WidthAdvice:
    return Adviser(question, replace(table, asked=table.asked), LAWS).advise(grids)


@settings(max_examples=60)
@given(tables(), limits, st.sampled_from([0.8, 0.9, 0.95]), st.booleans())
def test_a_recommended_grid_asked_about_alone_gets_the_same_verdict(
    table: Table, limit: Limit, confidence: float, net: bool
) -> None:
    question = Question(limit, confidence, net)
    verdict = advice(table, question).verdict
    scheme = verdict.choice.scheme
    assert advice(table, question, [GRIDS[scheme.granularity]]).verdict == verdict
    assert advice(table, question, [Candidates(4, scheme.granularity, (scheme,))]).verdict == verdict


@settings(max_examples=60)
@given(tables(), limits, st.booleans())
def test_trials_are_made_only_where_they_can_decide(table: Table, limit: Limit, net: bool) -> None:
    found = advice(table, Question(limit, 0.9, net))
    kinds = {kind for kind, _ in table.asked}
    if found.verdict.choice.way == "rtn" and found.verdict.keeps:
        assert kinds == {"rtn"}
    if found.verdict.choice.way == "gptq" and found.verdict.keeps:
        assert "w_ft" not in kinds
    ruined = {str(grid.scheme) for grid in found.grids if grid.rtn.rise.low > LAWS.gptq.hopeless(limit.nats)}
    assert not ruined & {name for kind, name in table.asked if kind == "gptq"}


def exactly(value: float) -> np.ndarray:
    return value + np.linspace(-1e-6, 1e-6, WINDOWS)


def one_grid(rtn: float, gptq: float, tuned: float | None) -> tuple[Table, list[Candidates]]:
    scheme = QuantScheme(4, "absmax", "channel")
    table = Table({scheme: exactly(rtn)}, {scheme: exactly(gptq)}, None if tuned is None else exactly(tuned))
    return table, [Candidates(4, "channel", (scheme,))]


def test_the_ways_are_tried_in_the_order_of_their_price() -> None:
    question = Question(Limit("nll+0.1", 0.1), 0.9)
    for rtn, gptq, way, keeps in ((0.05, 9.0, "rtn", True), (0.15, 0.08, "gptq", True), (0.15, 0.12, "gptq", False)):
        table, grids = one_grid(rtn, gptq, tuned=0.0)
        found = advice(table, question, grids)
        assert (found.verdict.choice.way, found.verdict.keeps) == (way, keeps)
        assert found.verdict.choice.source == "measured"


def test_what_fine_tuning_gains_counts_for_qaft_unless_its_net_loss_is_asked_for() -> None:
    table, grids = one_grid(0.9, 0.7, tuned=-0.7)
    limit = Limit("nll+0.1", 0.1)
    raw, net = (advice(table, Question(limit, 0.9, net), grids).verdict for net in (False, True))
    assert (raw.choice.way, raw.keeps) == ("qaft", True)
    assert not net.keeps


def test_where_training_does_not_fit_what_it_changes_is_unknown_and_not_zero() -> None:
    table, grids = one_grid(0.9, 0.7, tuned=None)
    found = advice(table, Question(Limit("nll+0.1", 0.1), 0.9), grids)
    assert found.control == Control(None, "no room")
    (trained,) = (choice for choice in found.choices if choice.way == "qaft")
    assert trained.net is not None
    assert (trained.rise.value, trained.rise.low) == (trained.net.value, -math.inf)


def test_what_fine_tuning_gains_counts_at_every_width_once_the_verdict_of_one_needed_it() -> None:
    """Else training looked better at 2 bits, where its gain was known, than at 8, where no verdict needed it."""
    fine, coarse = QuantScheme(8, "absmax", "channel"), QuantScheme(2, "absmax", "channel")
    losses = {fine: exactly(0.002), coarse: exactly(0.8)}
    table = Table(losses, losses, exactly(-0.3))
    widths = [[Candidates(scheme.bits, "channel", (scheme,))] for scheme in (fine, coarse)]
    adviser = Adviser(Question(Limit("nll+0.05", 0.05), 0.9), table, LAWS)
    alone, (kept, trained) = adviser.advise(widths[0]), adviser.advise_all(widths)
    assert alone.control is None
    assert kept.control == trained.control is not None
    assert kept.verdict == alone.verdict
    high, low = (next(c.rise.value for c in found.choices if c.way == "qaft") for found in (kept, trained))
    assert high < -0.25 < low < 0.3


def test_net_of_fine_tuning_training_is_named_where_rounding_is_ruined_beyond_what_the_laws_were_fitted_to() -> None:
    """There they bound nothing from above, so that RTN came nearest."""
    table, grids = one_grid(5.07, 5.0, tuned=-0.1)
    for net in (False, True):
        verdict = Adviser(Question(Limit("ppl+5%", 0.0488), 0.9, net), table, FORMULAS).advise(grids).verdict
        assert (verdict.choice.way, verdict.keeps) == ("qaft", False)


def test_the_better_scale_is_chosen_on_the_first_windows_alone() -> None:
    first, second = GRIDS["channel"].schemes
    table = Table({first: exactly(0.3), second: np.r_[exactly(0.2)[:4], exactly(0.9)[4:]]}, {}, exactly(0.0))
    table.layered = dict.fromkeys(table.rounded, exactly(0.5))
    found = advice(table, Question(Limit("nll+0.01", 0.01), 0.9), [GRIDS["channel"]])
    assert found.grids[0].scheme == second
    assert list(found.grids[0].left) == [first]


def test_where_no_way_keeps_the_limit_gptq_comes_nearer_than_the_rounding_that_it_improves() -> None:
    """Although the upper end of what is foretold may lie above what RTN was measured to lose."""
    table, grids = one_grid(0.04, 0.03, tuned=0.0)
    verdict = advice(table, Question(Limit("ppl+1%", 0.00995), 0.9), grids).verdict
    assert (verdict.choice.way, verdict.keeps) == ("gptq", False)


def test_gptq_is_not_tried_where_rounding_is_beyond_what_it_ever_won_back() -> None:
    question = Question(Limit("nll+0.1", 0.1), 0.9)
    for factor, tried in ((0.99, True), (1.01, False)):
        table, grids = one_grid(factor * LAWS.gptq.hopeless(0.1), 0.05, tuned=0.0)
        advice(table, question, grids)
        assert ("gptq" in {kind for kind, _ in table.asked}) == tried


def test_trials_stop_at_the_first_grid_on_which_gptq_keeps_the_limit() -> None:
    """The one of fewest bits per weight; nothing is fine-tuned then."""
    schemes = [QuantScheme(4, "absmax", "channel"), QuantScheme(4, "absmax", "group:128")]
    table = Table(dict.fromkeys(schemes, exactly(0.15)), dict.fromkeys(schemes, exactly(0.08)), exactly(0.0))
    grids = [Candidates(4, scheme.granularity, (scheme,)) for scheme in reversed(schemes)]
    found = advice(table, Question(Limit("nll+0.1", 0.1), 0.9), grids)
    assert (found.verdict.choice.way, found.verdict.choice.scheme) == ("gptq", schemes[0])
    assert {asked for asked in table.asked if asked[0] != "rtn"} == {("gptq", str(schemes[0]))}
