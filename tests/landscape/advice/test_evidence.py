"""``landscape advise`` on the built-in model: its evidence against numbers that were got another way."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.advice.advise import AdviceResult, advise
from landscape.advice.evidence import DIRECTIONS, EvidenceCollector, other_grids
from landscape.advice.request import AdviceRequest
from landscape.anatomy.waterfall import Kind, families
from landscape.cli import main
from landscape.cli.console import print_advice
from landscape.estimators.radius_search import Round
from landscape.formatting import nats, number
from landscape.health.self_checks import SLOPE_DIRECTIONS, slope_plan
from landscape.positions.atlas import Ray
from landscape.positions.directions import Sphere
from landscape.positions.perturbation import Perturbation
from landscape.report.advice import advice_json, reason_lines, subject_lines
from landscape.session.forecast import Forecast
from landscape.session.presets import Preset
from landscape.session.progress import Silent
from landscape.session.session import Session
from quant import Center, QuantScheme, load_checkpoint, load_corpus, rtn
from quant.errors import UsageError

TINY = Preset("tiny", 1, 4, 1, 32, 4, 3, 4, 4, 1, dict.fromkeys(range(2, 9), (0.001,)))


class Heard(Silent):
    """Keeps the forecasts."""

    def __init__(self) -> None:
        super().__init__()
        self.forecasts: list[Forecast] = []

    def forecast(self, forecast: Forecast) -> None:
        self.forecasts.append(forecast)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def advised(store: Path) -> AdviceResult:
    return advise(AdviceRequest(bits=(8, 2), preset=TINY, store=store))


def test_the_losses_are_those_of_transformers(advised: AdviceResult) -> None:
    checkpoint = load_checkpoint("opt-nano")
    model, space = checkpoint.model, checkpoint.space
    center, scheme = Center.of(model, space), QuantScheme(2)
    corpus = load_corpus("tales", checkpoint, 32, sizes={"train": 1, "validation": 4, "test": 1})
    windows = corpus.windows("validation", 4, 0)

    def loss() -> float:
        with torch.no_grad():
            return float(np.mean([model(input_ids=t[None], labels=t[None]).loss.item() for t in windows]))

    at_w = loss()
    space.write(model, rtn(space, center, scheme))
    at_rtn = loss()
    point = rtn(space, center, scheme)
    with torch.no_grad():  # more than half a step beyond the codes ±1, with what quant.statistics allows for rounding
        for slot, parameter in space.weights(model):
            w, step = center.tensor(slot), float(point.grid_tensor(slot).grid.scale)
            parameter.copy_(torch.where(w.abs() > 1.5001 * step, w, parameter))
    without_clipping = loss()
    evidence = advised.advice[1].evidence
    articles = corpus.window_articles("validation", 4, 0)
    assert articles is not None
    assert advised.articles == len(set(articles.tolist()))
    assert advised.center_nll == pytest.approx(at_w, abs=1e-5)
    assert evidence.rise.value == pytest.approx(at_rtn - at_w, abs=1e-5)
    assert evidence.unclipped.value == pytest.approx(without_clipping - at_w, abs=1e-5)
    assert evidence.remaining is not None
    assert evidence.remaining.value == pytest.approx((without_clipping - at_w) / (at_rtn - at_w), rel=1e-4)


def test_what_is_measured_decides(advised: AdviceResult) -> None:
    fine, coarse = advised.advice
    assert fine.verdict == "rtn"
    assert fine.evidence.rise.high <= advised.limit.nats
    assert coarse.verdict != "rtn"
    assert coarse.evidence.rise.value > advised.limit.nats


def test_the_ratios_are_of_one_distance(advised: AdviceResult) -> None:
    """ρ and ρ_prof share ‖Δw‖; the paper's has R of the whole space."""
    evidence = advised.advice[1].evidence
    assert evidence.rho is not None
    assert advised.search.radius.value is not None
    assert evidence.rho.value == pytest.approx(evidence.distance / advised.search.radius.value)
    assert evidence.rho_prof is not None
    assert evidence.rho_along is not None
    assert 0.3 < evidence.rho_prof.value / evidence.rho.value < 3


@pytest.mark.parametrize(("kind", "directions"), [("profile", DIRECTIONS), ("along", 1)])
def test_at_the_radius_of_a_kind_its_directions_have_lost_half_of_the_way(
    advised: AdviceResult, kind: Kind, directions: int
) -> None:
    evidence = advised.advice[1].evidence
    rho = {"profile": evidence.rho_prof, "along": evidence.rho_along}[kind]
    assert rho is not None
    checkpoint = load_checkpoint("opt-nano")
    model, space = checkpoint.model, checkpoint.space
    center = Center.of(model, space)
    sizes = {"train": 1, "validation": 4, "test": 1}
    windows = load_corpus("tales", checkpoint, 32, sizes=sizes).windows("validation", 4, 0)
    family = families(Perturbation(space, center, rtn(space, center, QuantScheme(2)), ""))[kind]
    losses = []
    for index in range(directions):
        space.write(model, Ray(center, family.draw(index), evidence.distance / rho.value))
        with torch.no_grad():
            losses += [model(input_ids=t[None], labels=t[None]).loss.item() for t in windows]
    u = (np.mean(losses) - advised.center_nll) / (advised.subject.chance - advised.center_nll)
    assert u == pytest.approx(0.5, abs=0.01)  # R is read off between two distances 9 % apart: 0.2 % of it at most


def test_words_on_r_are_of_the_design_that_it_was_read_from(advised: AdviceResult) -> None:
    found = advised.search
    assert "R = " in subject_lines(advised)[0]
    assert "not bounded" not in subject_lines(advised)[0]
    unbounded = replace(found.radius, low=0.0, high=math.inf)
    for directions, windows, why in ((1, 4, "one direction"), (4, 1, "one window"), (4, 4, "the data")):
        last = replace(found, rounds=(*found.rounds, Round(directions, windows, unbounded)))
        assert f"not bounded by {why}" in subject_lines(replace(advised, search=last))[0]


def test_a_second_run_evaluates_nothing_and_says_the_same(advised: AdviceResult, store: Path) -> None:
    heard = Heard()
    again = advise(AdviceRequest(bits=(8, 2), preset=TINY, store=store), heard)
    probes = again.run.probes
    assert (probes.evaluated, probes.cached) == (0, advised.run.probes.total)
    (told,) = heard.forecasts
    assert (told.work, told.points, told.cached) == (0, (), probes.cached)
    assert again.pace > 0
    assert [check.passed for check in again.run.health] == [None, None, None, None, None, True, None, None]
    assert again.advice == advised.advice


def test_the_forecast_counts_what_this_run_needs(advised: AdviceResult, store: Path) -> None:
    """The store holds more: the probes of int2. Of int3 no point is made, and of int8 nothing is missing."""
    heard = Heard()
    eight = advise(AdviceRequest(bits=(8,), preset=TINY, store=store), heard).run.probes
    assert eight.cached < advised.run.probes.evaluated
    more = advise(AdviceRequest(bits=(8, 3), preset=TINY, store=store), heard).run.probes
    known, new = heard.forecasts
    assert (known.work, known.cached) == (0, eight.cached)
    assert new.cached == eight.cached == more.cached
    assert new.points == ("rtn-int3-exact", "rtn-int3-absmax", "rtn-int3-absmax-per-channel")
    assert new.probes == pytest.approx(more.evaluated, rel=0.2)


def test_the_forecast_counts_the_slope_at_w(advised: AdviceResult, store: Path) -> None:
    """Where nothing else is missing."""
    request = AdviceRequest(bits=(8,), preset=TINY, store=store)
    with Session.open(request) as session:
        subject, collector = session.subject, EvidenceCollector(request, session)
        directions = Sphere(subject.space, request.seed)
        near = slope_plan(directions, SLOPE_DIRECTIONS, subject.norm, subject.windows["validation"])
        for probe in near.probes():
            del session.runner.known[probe]
        assert collector.forecast(request.specs).probes == len(near) > 0


def test_what_decided_is_told_with_its_interval(advised: AdviceResult) -> None:
    evidence = advised.advice[1].evidence
    (written,) = [one for one in advice_json(advised)["advice"] if one["bits"] == 2]
    said = "\n".join(reason_lines(advised.advice[1]))
    for name, words in (("rho", "ρ"), ("rho_prof", "ρ_prof"), ("rho_along", "ρ_Δ")):
        estimate = getattr(evidence, name)
        assert written[f"{name}_interval"] == {"low": estimate.low, "high": estimate.high}
        assert f"{words} = {number(estimate.value, 3)} [{number(estimate.low, 3)}, {number(estimate.high, 3)}]" in said
    for scheme, rise in evidence.others.items():
        assert written["others_interval"][scheme.grid] == {"low": rise.low, "high": rise.high}
        assert f"{scheme.grid} {nats(rise.value, True)} [{nats(rise.low, True)}, {nats(rise.high, True)}]" in said


def test_costs_are_told_in_time_also_where_every_loss_is_cached(
    advised: AdviceResult, store: Path, capsys: pytest.CaptureFixture
) -> None:
    again = advise(AdviceRequest(bits=(8, 2), preset=TINY, store=store))
    print_advice(AdviceRequest(), replace(again, pace=3600.0), as_json=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if "would cost" in line]
    hours = (f"{again.work[0][way]:.1f} h" for way in ("gptq", "qaft"))
    assert lines[0].strip() == "would cost: GPTQ about {}, QAFT about {}".format(*hours)


def test_the_run_is_checked(advised: AdviceResult) -> None:
    health = advised.run.health
    assert [check.passed for check in health] == [True, True, None, True, True, True, True, True]
    assert health[2].words.startswith("The slope of the loss at w is ")
    assert f"at λ = {advised.subject.norm / 64:.3g}" in health[4].words


def test_on_its_own_text_the_slope_at_w_is_judged(tmp_path: Path) -> None:
    advised = advise(AdviceRequest(data="self", bits=(8,), preset=TINY, store=tmp_path))
    assert [check.passed for check in advised.run.health] == [True] * 8


def test_other_grids_do_not_repeat_the_one_at_hand() -> None:
    assert other_grids(QuantScheme(4)) == (QuantScheme(4, "absmax"), QuantScheme(4, "absmax", "channel"))
    assert other_grids(QuantScheme(4, "absmax")) == (QuantScheme(4), QuantScheme(4, "absmax", "channel"))
    assert other_grids(QuantScheme(4, "exact", "channel")) == (
        QuantScheme(4, "absmax", "channel"), QuantScheme(4, "absmax", "group:32"),
    )  # fmt: skip
    assert QuantScheme(4, "mse", "channel") in other_grids(QuantScheme(4, "absmax", "channel"))  # as good as exact


def test_the_command_prints_verdicts_and_json(
    store: Path, advised: AdviceResult, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["landscape", "advise", "--bits", "2", "--windows", "4", "--seq-len", "32", "--store", str(store)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr().out
    assert not end.value.code
    assert "int2 exact: " in out
    assert "limit ppl+5%" in out
    monkeypatch.setattr(sys, "argv", [*words, "--json", "--limit", "nll+9"])
    with pytest.raises(SystemExit) as end:
        main()
    found = json.loads(capsys.readouterr().out)
    assert not end.value.code
    assert found["limit"] == {"text": "nll+9", "nats": 9.0}
    assert [(one["bits"], one["verdict"]) for one in found["advice"]] == [(2, "rtn")]
    assert found["advice"][0]["rise"] == pytest.approx(advised.advice[1].evidence.rise.value, rel=0.5)
    assert math.isfinite(found["advice"][0]["cost"]["qaft"])
    assert [check["passed"] for check in found["health"]].count(False) == 0


def test_a_model_without_a_bit_width_is_refused() -> None:
    with pytest.raises(UsageError, match="bits"):
        advise(AdviceRequest(bits=(1,), preset=TINY))
