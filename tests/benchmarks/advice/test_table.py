"""The tables of the advice: what is right, what is a hit, and that the page is made of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.advice import cells, contest, scores, table
from landscape.advice.rules import Evidence, decide
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from quant.grid import QuantScheme

LIMIT = Limit.parse("nll+0.1")


@pytest.mark.parametrize(
    ("rtn", "grid", "gptq", "qaft", "right"),
    [
        (0.05, 0.0, 0.0, 0.0, "rtn"),
        (0.15, 0.05, 0.0, 0.0, "grid"),
        (0.15, 0.12, 0.1, 0.0, "gptq"),
        (0.15, 0.12, 0.11, -0.3, "qaft"),
        (9.0, 5.0, 2.05, 2.0, "gptq"),  # nothing is within the limit; GPTQ comes as near as the best
        (9.0, 5.0, 2.15, 2.0, "qaft"),
        (2.05, 5.0, 2.15, 2.0, "rtn"),
    ],
)
def test_the_cheapest_way_that_does_is_right(rtn: float, grid: float, gptq: float, qaft: float, right: str) -> None:
    assert cells.right({"rtn": rtn, "grid": grid, "gptq": gptq, "qaft": qaft}, LIMIT) == right


def cell(bits: int, rise: float, gptq: float, qaft: float = 0.0) -> object:
    def exactly(value: float) -> Estimate:
        return Estimate(value, value, value)

    evidence = Evidence(
        scheme=QuantScheme(bits), distance=rise, rise=exactly(rise), unclipped=exactly(rise), remaining=exactly(1.0),
        clipped=0.0, others={QuantScheme(bits, "absmax"): exactly(9.0)}, over_here=exactly(9.0 / rise),
        rho=exactly(rise), rho_prof=exactly(0.1), rho_along=exactly(-rise),
    )  # fmt: skip
    options = {"rtn": rise, "grid": 9.0, "gptq": gptq, "qaft": qaft}
    return cells.Cell(bits, "exact", evidence, 0.5, rise**2, options, control=-0.1)


def test_a_fit_finds_the_threshold_that_separates() -> None:
    """GPTQ does up to 20 limits of 5 % and not beyond 40: the threshold nearest to the guess of 5 that says so."""
    limit = cells.LIMITS[1].nats
    found = [cell(4, k * limit, gptq=0.0 if k <= 20 else 9.0) for k in (5, 10, 20, 40, 80)]
    rescue, rim, count = scores.fit(found)
    assert rim == 1.0
    wrong_before = scores.hits(found, 5.0, 1.0)
    assert count == scores.hits(found, rescue, rim) > wrong_before
    assert count == max(scores.hits(found, tried, 1.0) for tried in scores.TRIED)


def test_misses_have_a_side() -> None:
    assert scores.verdict_word("gptq", "gptq") == "hit"
    assert scores.verdict_word("rtn", "qaft") == "**miss, too cheap**"
    assert scores.verdict_word("qaft", "grid") == "**miss, too expensive**"


def test_correlations_are_within_bit_widths() -> None:
    """Inside each bit width more ΔL goes with more M, and over all of them with less."""
    found = [cell(4, rise, 20 + rise, qaft=10.0) for rise in (1.0, 2.0, 3.0)]
    found += [cell(8, rise, rise, qaft=10.0) for rise in (11.0, 12.0, 13.0)]
    number = contest.CONTESTANTS["ΔL of RTN"]
    assert contest.within_bits(found, number) == pytest.approx(1.0)
    assert contest.correlation(found, number) < 0
    assert contest.within_bits(found, contest.CONTESTANTS["ρ_Δ"]) == pytest.approx(-1.0)
    assert np.isnan(contest.within_bits(found, contest.CONTESTANTS["bits (fewer is worse)"]))
    assert contest.in_order(found, number) == "6 of 6"
    found += [cell(2, rise, -rise) for rise in (1.0, 2.0)]  # the other way round
    found += [cell(3, 1.0, 1.0)]  # a single scale has no rank
    assert contest.within_bits(found, number) == pytest.approx((1 + 1 - 1) / 3)
    assert contest.in_order(found, number) == "6 of 7"
    assert contest.in_order(found, contest.CONTESTANTS["ρ_prof"]) == "–"


def test_limits_are_counted_that_the_advised_way_kept_and_that_any_would() -> None:
    """RTN is within 5 %; GPTQ is advised for three points, brings one within it, and training one of the others."""
    limit = cells.LIMITS[1].nats
    found = [cell(4, k * limit, gptq * limit, qaft=9.0) for k, gptq in ((0.5, 0.2), (2.0, 0.9), (3.0, 1.5))]
    found += [cell(4, 4 * limit, 9.0, qaft=0.5 * limit)]
    assert [decide(c.evidence, cells.LIMITS[1]).verdict for c in found] == ["rtn", "gptq", "gptq", "gptq"]
    row = next(line for line in table.counts({"m": found}) if "ppl+5%" in line).split(" | ")
    assert row[2:8] == ["4", "3", "1", "0", "2", "3"]


def test_the_outcomes_stand_beside_each_other() -> None:
    """QAFT as it is, its control, and what is left; M counts what is left."""
    *_, line = table.outcomes([cell(4, 0.5, gptq=0.3, qaft=0.2)])
    assert line == "| int4 exact | 0.5000 | 9.0000 | 0.3000 | 0.1000 | -0.1000 | 0.2000 | 0.1000 |"


def test_the_document_is_made_of_the_rows() -> None:
    tables = table.tables({model: cells.cells(model) for model in cells.MODELS})
    assert table.PAGE.filled(tables) == table.PAGE.text
    assert "| opt-nano | ppl+5% |" in table.PAGE.table("counts")
