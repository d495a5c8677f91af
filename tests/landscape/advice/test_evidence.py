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

from landscape.advice.advise import AdviceResult, _asked, _forecast, advise
from landscape.advice.adviser import Adviser
from landscape.advice.choice import Choice
from landscape.advice.evidence import MeasuredEvidence
from landscape.advice.explain import DIRECTIONS
from landscape.advice.grids import SHIPPED
from landscape.advice.request import AdviceRequest
from landscape.advice.trials import DAMPING, TRIAL_TOKENS
from landscape.anatomy.waterfall import families
from landscape.cli import main
from landscape.estimators.loss_limit import Limit
from landscape.health.self_checks import SLOPE_DIRECTIONS, slope_plan
from landscape.positions.atlas import Ray
from landscape.positions.perturbation import Perturbation
from landscape.records.record import load_record, save_record
from landscape.report.advice.wording import choice_name, verdict_line
from landscape.session.forecast import Forecast
from landscape.session.presets import Preset
from landscape.session.progress import Silent
from landscape.session.session import Session
from quant import Center, GPTQOptions, QuantScheme, WeightSpace, gptq, load_checkpoint, load_corpus, rtn
from quant.checkpoints.checkpoint import Checkpoint
from quant.errors import UsageError
from quant.point import WeightPoint

TINY = Preset("tiny", 1, 4, 1, 32, 4, 3, 4, 4, 1, dict.fromkeys(range(2, 9), (0.001,)))
WINDOWS = 4


def request(store: Path, **changes: object) -> AdviceRequest:
    grids = ("tensor", "channel")
    asked = AdviceRequest(bits=(8, 2), granularities=grids, preset=TINY, windows=WINDOWS, explain=True, store=store)
    return replace(asked, **changes)  # type: ignore[arg-type]


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
    return advise(request(store))


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    return load_checkpoint("opt-nano")


@pytest.fixture(scope="module")
def windows(nano: Checkpoint) -> torch.Tensor:
    sizes = {"train": 32, "validation": WINDOWS, "test": 1}
    return load_corpus("tales", nano, 32, sizes=sizes).windows("validation", WINDOWS, 0)


def loss(nano: Checkpoint, windows: torch.Tensor, point: WeightPoint | Ray | Center) -> float:
    """Compute the mean loss with transformers' own function, and put the weights back."""
    center = Center.of(nano.model, nano.space)
    nano.space.write(nano.model, point)
    with torch.no_grad():
        found = [nano.model(input_ids=row[None], labels=row[None]).loss.item() for row in windows]
    nano.space.write(nano.model, center)
    return float(np.mean(found))


def of(advised: AdviceResult, bits: int, way: str) -> list[Choice]:
    (found,) = (each for each in advised.advice if each.bits == bits)
    return [choice for choice in found.choices if choice.way == way]


def test_the_losses_of_rtn_are_those_of_transformers(
    advised: AdviceResult, nano: Checkpoint, windows: torch.Tensor
) -> None:
    center = Center.of(nano.model, nano.space)
    at_w = loss(nano, windows, center)
    assert advised.center_nll == pytest.approx(at_w, abs=1e-5)
    for choice in of(advised, 2, "rtn"):
        at_rtn = loss(nano, windows, rtn(nano.space, center, choice.scheme))
        assert choice.rise.value == pytest.approx(at_rtn - at_w, abs=1e-5)
        assert (choice.source, choice.windows) == ("measured", WINDOWS)


def test_of_two_scales_the_one_that_loses_less_is_taken(
    advised: AdviceResult, nano: Checkpoint, windows: torch.Tensor
) -> None:
    center = Center.of(nano.model, nano.space)
    for found in advised.advice[1].grids:
        losses = {
            scheme: loss(nano, windows, rtn(nano.space, center, scheme)) - advised.center_nll
            for scheme in (found.scheme, *found.left)
        }
        assert len(losses) == 2
        assert min(losses, key=lambda scheme: losses[scheme]) == found.scheme
        for scheme, rise in found.left.items():
            assert rise == pytest.approx(losses[scheme], abs=1e-5)


def test_the_small_gptq_is_gptq_on_little_data(store: Path, nano: Checkpoint, windows: torch.Tensor) -> None:
    """With a limit that leaves it open, against the method called by hand on the same tokens."""
    advised = advise(request(store, bits=(3,), granularities=("channel",), limit=Limit.parse("nll+0.12"), radius=False))
    (tried,) = of(advised, 3, "gptq")
    assert (tried.source, tried.tokens) == ("measured", 16 * 32)
    assert TRIAL_TOKENS > 32
    corpus = load_corpus("tales", nano, 32, sizes={"train": 32, "validation": WINDOWS, "test": 1})
    center = Center.of(nano.model, nano.space)
    start = rtn(nano.space, center, tried.scheme)
    options = GPTQOptions(dampings=(DAMPING,), act_order=True)
    point = gptq(nano.model, nano.space, start, corpus.windows("train", 16, 0), options, center=center)
    rise = loss(nano, windows, point) - loss(nano, windows, center)
    assert tried.rise.value == pytest.approx(rise, abs=1e-4)


def test_gptq_is_tried_only_where_it_can_decide(advised: AdviceResult) -> None:
    """Not where RTN keeps the limit, and not where RTN is far beyond it."""
    assert advised.advice[0].verdict.choice.way == "rtn"
    for bits in (8, 2):
        assert {choice.source for choice in of(advised, bits, "gptq")} == {"foretold"}


def test_fine_tuning_is_tried_where_neither_rtn_nor_gptq_keeps_the_limit(advised: AdviceResult, store: Path) -> None:
    assert advised.control is not None
    gain = advised.control.rise
    assert gain is not None
    net, raw = zip(*((choice.net, choice.rise) for choice in of(advised, 2, "qaft")), strict=True)
    for less, whole in zip(net, raw, strict=True):
        assert less is not None
        assert whole.value == pytest.approx(less.value + gain.value)
    assert advise(request(store, bits=(8,), radius=False)).control is None


def test_a_recommended_grid_asked_about_alone_gets_the_same_verdict(advised: AdviceResult, store: Path) -> None:
    for found in advised.advice:
        scheme = found.verdict.choice.scheme
        alone = advise(
            request(
                store, bits=(found.bits,), scales=(scheme.scale,), granularities=(scheme.granularity,), radius=False,
                explain=False,
            )
        )  # fmt: skip
        assert alone.advice[0].verdict == found.verdict


def test_each_grid_is_placed_by_r(advised: AdviceResult) -> None:
    assert advised.search is not None
    radius = advised.search.radius.value
    assert radius is not None
    for found in advised.advice:
        for grid in found.grids:
            rho = advised.rho(grid)
            assert rho is not None
            assert rho.value == pytest.approx(grid.distance / radius)


def test_without_r_the_verdicts_are_the_same(advised: AdviceResult, store: Path) -> None:
    without = advise(request(store, radius=False, explain=False))
    assert without.search is None
    assert without.advice == advised.advice
    assert without.rho(without.advice[0].grids[0]) is None
    assert [check.passed for check in without.run.health].count(False) == 0


def test_clipping_is_explained_by_the_loss_without_it(
    advised: AdviceResult, nano: Checkpoint, windows: torch.Tensor
) -> None:
    scheme = QuantScheme(2)
    explained = advised.explanations[str(scheme)]
    center = Center.of(nano.model, nano.space)
    point = rtn(nano.space, center, scheme)
    at_w, at_rtn = loss(nano, windows, center), loss(nano, windows, point)
    nano.space.write(nano.model, point)
    clipped = 0
    with torch.no_grad():  # more than half a step beyond the codes ±1, with what quant.statistics allows for rounding
        for slot, parameter in nano.space.weights(nano.model):
            w, step = center.tensor(slot), float(point.grid_tensor(slot).grid.scale)
            beyond = w.abs() > 1.5001 * step
            clipped += int(beyond.sum())
            parameter.copy_(torch.where(beyond, w, parameter))
        found = [nano.model(input_ids=row[None], labels=row[None]).loss.item() for row in windows]
    nano.space.write(nano.model, center)
    assert explained.clipped == pytest.approx(clipped / nano.space.dimension, rel=1e-3)
    assert explained.remaining is not None
    assert explained.remaining.value == pytest.approx((np.mean(found) - at_w) / (at_rtn - at_w), rel=1e-4)


def test_at_rho_prof_directions_like_the_rounding_have_lost_half_of_the_way(
    advised: AdviceResult, nano: Checkpoint, windows: torch.Tensor
) -> None:
    scheme = QuantScheme(2)
    rho = advised.explanations[str(scheme)].rho_prof
    assert rho is not None
    center = Center.of(nano.model, nano.space)
    family = families(Perturbation(nano.space, center, rtn(nano.space, center, scheme), ""))["profile"]
    (distance,) = (grid.distance for grid in advised.advice[1].grids if grid.scheme == scheme)
    losses = [loss(nano, windows, Ray(center, family.draw(i), distance / rho.value)) for i in range(DIRECTIONS)]
    u = (np.mean(losses) - advised.center_nll) / (advised.subject.chance - advised.center_nll)
    assert u == pytest.approx(0.5, abs=0.01)  # R is read off between two distances 9 % apart: 0.2 % of it at most


def test_a_second_run_evaluates_nothing_and_says_the_same(advised: AdviceResult, store: Path) -> None:
    heard = Heard()
    again = advise(request(store), heard)
    probes = again.run.probes
    assert (probes.evaluated, probes.cached) == (0, advised.run.probes.total)
    (told,) = heard.forecasts
    assert (told.work, told.points, told.cached) == (0, (), probes.cached)
    assert again.pace > 0
    assert [check.passed for check in again.run.health] == [None, None, None, None, None, True, None, None]
    assert again.advice == advised.advice


def test_the_forecast_is_of_the_size_of_the_run(tmp_path: Path) -> None:
    heard = Heard()
    probes = advise(request(tmp_path, bits=(4,), explain=False), heard).run.probes
    (told,) = heard.forecasts
    assert {"rtn-int4-exact", "rtn-int4-absmax", "rtn-int4-absmax-per-channel"} < set(told.points)
    assert 0.5 < told.probes / probes.evaluated < 2


def test_the_forecast_counts_the_slope_at_w_where_nothing_else_is_missing(advised: AdviceResult, store: Path) -> None:
    asked = request(store, bits=(8,))
    with Session.open(asked) as session:
        subject, evidence = session.subject, MeasuredEvidence(asked, session)
        adviser = Adviser(asked.question, evidence)
        near = slope_plan(evidence.sphere, SLOPE_DIRECTIONS, subject.norm, subject.windows["validation"])
        for probe in near.probes():
            del session.runner.known[probe]
        assert _forecast(asked, evidence, adviser, _asked(asked, session)).probes == len(near) > 0


def test_the_run_is_checked(advised: AdviceResult) -> None:
    health = advised.run.health
    assert [check.passed for check in health] == [True, True, None, True, True, True, True, True]
    assert health[2].words.startswith("The slope of the loss at w is ")
    assert f"at λ = {advised.subject.norm / 64:.3g}" in health[4].words


def test_groups_that_leave_a_rest_are_said_before_the_work(store: Path) -> None:
    heard = Heard()
    advise(request(store, bits=(8,), granularities=("group:48",), radius=False, explain=False), heard)
    assert any("groups of 48 do not divide the 128 inputs" in line for line in heard.warnings)


def run(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    monkeypatch.setattr(sys, "argv", ["landscape", "advise", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    return str(capsys.readouterr().out)


def test_the_command_prints_a_table_verdicts_and_json_and_writes_a_page(
    store: Path, advised: AdviceResult, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--bits", "2", "--granularity", "tensor,channel", "--windows", "4", "--seq-len", "32"]
    words += ["--store", str(store), "--output", str(tmp_path)]
    out = run(words, monkeypatch, capsys)
    assert verdict_line(advised.advice[1], advised) in out
    assert "limit ppl+5%: perplexity at most " in out
    assert "next   landscape quantize --model opt-nano" in out
    page = (tmp_path / "opt-nano-advice.html").read_text(encoding="utf-8")
    assert f"nearest: {choice_name(advised.advice[1].verdict.choice)}" in page
    found = json.loads(run([*words, "--json", "--limit", "nll+9"], monkeypatch, capsys))
    assert found["limit"] == {"text": "nll+9", "nats": 9.0}
    assert [(one["bits"], one["verdict"]) for one in found["advice"]] == [
        (2, {"way": "rtn", "grid": "exact", "keeps": True, "open": False})
    ]
    assert found["advice"][0]["choices"][0]["rise"]["value"] == of(advised, 2, "rtn")[0].rise.value
    assert math.isfinite(found["advice"][0]["cost"]["qaft"])
    assert [check["passed"] for check in found["health"]].count(False) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bits": (1,)}, "bits"),
        ({"windows": 1}, "at least 2 --windows"),
        ({"confidence": 0.5}, "--confidence above 0.5"),
        ({"granularities": ("row",)}, "granularity tensor, channel or group:N"),
        ({"granularities": ()}, "at least one --granularity"),
        ({"bits": ("nvfp4",), "granularities": SHIPPED, "scales": ("exact",)}, "an integer width among --bits"),
        ({"bits": ("nvfp4",), "granularities": ("channel",)}, "an integer width among --bits"),
    ],
)
def test_what_cannot_be_answered_is_refused(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        request(tmp_path, **changes)


def test_float_formats_stand_in_the_table_of_their_width(store: Path, nano: Checkpoint, windows: torch.Tensor) -> None:
    advised = advise(request(store, bits=("nvfp4", "fp8"), granularities=SHIPPED, radius=False, explain=False))
    assert [(found.bits, [str(grid.scheme) for grid in found.grids]) for found in advised.advice] == [
        (8, ["fp8"]), (4, ["nvfp4"]),
    ]  # fmt: skip
    center = Center.of(nano.model, nano.space)
    (rounded,) = of(advised, 4, "rtn")
    point = rtn(nano.space, center, QuantScheme.of_format("nvfp4"))
    assert rounded.rise.value == pytest.approx(loss(nano, windows, point) - loss(nano, windows, center), abs=1e-5)
    assert rounded.bits_per_weight == pytest.approx(4.5, abs=0.01)
    assert choice_name(rounded) == "RTN to nvfp4"


def test_a_kept_result_is_read_back(advised: AdviceResult, tmp_path: Path) -> None:
    save_record(advised, tmp_path / "advice.json", "landscape advise")
    found = load_record(tmp_path / "advice.json").result
    assert (found.advice, found.explanations, found.limit) == (advised.advice, advised.explanations, advised.limit)
    assert found.smallest == advised.smallest


def test_a_request_of_which_nothing_fits_is_refused_with_the_reason(store: Path) -> None:
    asked = request(store, bits=("mxfp4",), granularities=SHIPPED)
    with Session.open(asked) as session:
        narrow = WeightSpace(tuple(replace(slot, shape=(slot.shape[0], 24)) for slot in session.subject.space))
        session.subject = replace(session.subject, checkpoint=replace(session.subject.checkpoint, space=narrow))
        with pytest.raises(UsageError, match=r"none: mxfp4 is left out: .* got 24 inputs"):
            _asked(asked, session)
