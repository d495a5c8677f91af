"""The sentences of advice: what was measured is said as such, and what is foretold too."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from landscape.advice.adviser import Control
from landscape.advice.choice import Choice, Origin, Verdict
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from landscape.report.advice.wording import control_line, reason_lines, verdict_line
from quant.scheme import QuantScheme

SCHEME = QuantScheme(4, "absmax", "group:64")
ADVISED: Any = SimpleNamespace(net=False, limit=Limit.parse("ppl+5%"))


def choice(way: Any, source: Origin, low: float, value: float, high: float, **more: Any) -> Choice:
    return Choice(way, SCHEME, 4.25, Estimate(value, low, high), source, **more)


@pytest.mark.parametrize(
    ("source", "keeps", "words"),
    [("measured", True, " keeps the limit: "), ("foretold", True, " should keep the limit: "),
     ("measured", False, " comes nearest: "), ("foretold", False, " comes nearest: ")],
)  # fmt: skip
def test_a_verdict_says_how_sure_it_is(source: Origin, keeps: bool, words: str) -> None:
    made = choice("qaft", source, -0.1, 0.0, 0.04)
    found: Any = SimpleNamespace(bits=4, verdict=Verdict(made, keeps), choices=(made,))
    line = verdict_line(found, ADVISED)
    assert line.startswith("4 bits: QAFT " if keeps else "4 bits: it is open whether any way keeps the limit; QAFT ")
    assert f"QAFT with one scale per group of 64 (absmax){words}perplexity ±0 % (−9.5 … 4.1)" in line
    assert (", foretold" in line) == (source == "foretold")
    assert line.endswith("4.25 bits per weight")


@pytest.mark.parametrize(
    ("low", "words"), [(0.04, "it is open whether any way keeps"), (0.06, "nothing is likely to keep")]
)
def test_it_is_open_whether_a_limit_is_kept_where_any_interval_reaches_it(low: float, words: str) -> None:
    nearest, other = choice("qaft", "foretold", 0.07, 0.08, 0.09), choice("gptq", "foretold", low, 0.1, 0.2)
    found: Any = SimpleNamespace(bits=4, verdict=Verdict(nearest, keeps=False), choices=(nearest, other))
    assert f"4 bits: {words} the limit; QAFT " in verdict_line(found, ADVISED)


def test_cheaper_ways_on_the_same_grid_are_held_against_the_limit() -> None:
    rounded = choice("rtn", "measured", 0.04, 0.06, 0.08, windows=32)
    tried = choice("gptq", "measured", 0.06, 0.07, 0.08, windows=8, tokens=2048)
    trained = choice("qaft", "foretold", 0.0, 0.02, 0.04)
    found: Any = SimpleNamespace(bits=4, verdict=Verdict(trained, True), choices=(rounded, tried, trained))
    assert list(reason_lines(found, ADVISED)) == [
        "RTN: +6.2 % (4.1 … 8.3): inconclusive",
        "GPTQ: +7.3 % (6.2 … 8.3), calibrated with 2,048 tokens: not enough",
    ]


def test_a_trial_on_little_data_should_keep_the_limit() -> None:
    """What one then makes is calibrated on more: it is another point."""
    tried = choice("gptq", "measured", 0.0, 0.02, 0.04, tokens=2048)
    found: Any = SimpleNamespace(bits=4, verdict=Verdict(tried, keeps=True), choices=(tried,))
    assert " should keep the limit: perplexity +2.0 % (0.0 … 4.1), calibrated with 2,048 tokens" in verdict_line(
        found, ADVISED
    )


def test_an_overflow_is_not_enough_and_foretells_nothing() -> None:
    lost = (-math.inf, math.inf, math.inf)
    rounded, trained = choice("rtn", "measured", *lost), choice("qaft", "foretold", *lost)
    found: Any = SimpleNamespace(bits=4, verdict=Verdict(trained, keeps=False), choices=(rounded, trained))
    assert list(reason_lines(found, ADVISED)) == ["RTN: overflowed: not enough"]
    assert " comes nearest: perplexity not known, foretold, " in verdict_line(found, ADVISED)


def test_a_net_loss_is_not_called_a_perplexity_that_one_would_ship() -> None:
    trained = choice("qaft", "foretold", -0.3, -0.27, -0.2, net=Estimate(0.03, 0.02, 0.04))
    found: Any = SimpleNamespace(bits=4, verdict=Verdict(trained, keeps=True), choices=(trained,))
    assert "perplexity −24 % (−26 … −18), foretold" in verdict_line(found, ADVISED)
    net: Any = SimpleNamespace(net=True, limit=ADVISED.limit)
    assert "perplexity +3.0 % (2.0 … 4.1) less plain fine-tuning, foretold" in verdict_line(found, net)


@pytest.mark.parametrize(
    ("control", "net", "words"),
    [
        (None, False, "without what plain fine-tuning on the same text changes: no verdict needed it"),
        (Control(None, "needs 9 GB"), False, "cannot be trained here: needs 9 GB"),
        (Control(Estimate(-0.1, -0.2, 0.0)), False, "perplexity −9.5 % (−18 … 0.0); it is part of QAFT"),
        (Control(Estimate(-0.1, -0.2, 0.0)), True, "perplexity −9.5 % (−18 … 0.0); it is taken off QAFT"),
    ],
)
def test_it_is_said_whether_qaft_counts_what_plain_fine_tuning_changes(
    control: Control | None, net: bool, words: str
) -> None:
    assert words in control_line(control, net)
