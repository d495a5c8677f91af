"""The anatomy from end to end, on the built-in model with the trap of real models planted in it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from landscape.anatomy import stages
from landscape.anatomy.dissect import dissect
from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from landscape.anatomy.size_limit import SizeLimit
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from landscape.formatting import nats
from landscape.positions.directions import Layers, Sphere
from landscape.report.anatomy.figures import plan_figure
from landscape.report.anatomy.hand_over import hand_over
from landscape.report.anatomy.json import anatomy_json
from landscape.report.anatomy.page import anatomy_page
from landscape.report.anatomy.plan_wording import WHY_FUSED
from landscape.report.anatomy.wording import finding, spent_text
from landscape.session.forecast import Forecast
from landscape.session.run_record import Check
from landscape.session.session import Session
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.errors import UsageError
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import Difference, norm
from tests.landscape.reading import Page, floats
from tests.landscape.trap import PLANTED, SMALL, ByHand


def test_the_trap_is_near_but_steep_and_clipping_and_its_tensors_are_named(dissected: AnatomyResult) -> None:
    assert (dissected.location, dissected.loss, dissected.steep) == ("inside", "degraded", True)
    assert dissected.waterfall.steps[0].rho.high < 0.5
    assert dissected.anatomy.culprit == "clip"
    planted = {f"model.decoder.layers.{block}.fc1.weight" for block in PLANTED}
    assert {effect.slots for effect in dissected.clipping[:2]} == planted
    assert dissected.enough == 2
    assert dissected.restored[2].rise.value < dissected.limit.nats < 0.2 < dissected.rise.value
    assert list(dissected.held_out) == [0, *dissected.restored]
    assert dissected.held_out[2].value < 0.1 < dissected.held_out[0].value  # on windows that ranked nothing, too
    steps = {step.kind: step for step in dissected.waterfall.steps}
    assert steps["along"].rho.value > 1.2 * steps["sphere"].rho.value
    assert steps["sphere"].matched.multiple(dissected.waterfall.rise) > 5


def test_the_run_is_checked_and_the_page_says_so(dissected: AnatomyResult) -> None:
    health = dissected.run.health
    assert [check.passed for check in health] == [True, True, None, True, True, True, True, True]
    assert health[2].words.startswith("The slope of the loss at w is ")
    assert f"at λ = {dissected.subject.norm / 64:.3g}" in health[4].words
    page = anatomy_page(dissected)
    assert "Yes, as far as checked: 7 checks passed, none failed." in page
    wrong = Check("finite losses", False, "One of 9 is not finite.")
    page = anatomy_page(replace(dissected, run=replace(dissected.run, health=(wrong, *health[:5]))))
    assert "One of 9 is not finite." in page[page.index("<h1>") : page.index('id="summary"')]


def test_the_losses_are_those_of_the_model(dissected: AnatomyResult, by_hand: ByHand) -> None:
    point = rtn(by_hand.space, by_hand.center, QuantScheme(4))
    assert dissected.center_nll == pytest.approx(by_hand.nll(), abs=1e-5)
    assert dissected.rise.value == pytest.approx(by_hand.rise(point.tensor), abs=1e-5)
    assert dissected.waterfall.rise == pytest.approx(dissected.rise.value, abs=1e-6)  # on the ray, but for float32
    delta = Difference(by_hand.center, point)
    assert dissected.waterfall.distance == pytest.approx(norm(by_hand.space, delta), rel=1e-6)
    directions = [Sphere(by_hand.space, 0).draw(index) for index in (0, 1)]
    sphere = dissected.waterfall.steps[0]
    assert np.mean([by_hand.u(d, sphere.radius.value) for d in directions]) == pytest.approx(0.5, abs=0.01)
    rises = [by_hand.u(d, dissected.waterfall.distance) * (math.log(1024) - by_hand.nll()) for d in directions]
    assert sphere.matched.rises == pytest.approx(rises, abs=2e-4)
    tests = load_corpus("tales", by_hand.checkpoint, 32).windows("test", 2, 0)
    by_hand.tokens, validation = tests, by_hand.tokens
    assert dissected.held_out[0].value == pytest.approx(by_hand.rise(point.tensor), abs=1e-5)
    by_hand.tokens = validation
    for effect in dissected.anatomy.groups["block"]:
        own = int(effect.slots.removeprefix("block="))

        def alone(slot, own=own):
            return point.tensor(slot) if slot.block == own else by_hand.center.tensor(slot)

        assert effect.rise.value == pytest.approx(by_hand.rise(alone), abs=1e-5)


class Heard:
    """Keeps the forecasts; a warning would be a failure."""

    def __init__(self) -> None:
        self.forecasts: list[Forecast] = []

    def forecast(self, forecast: Forecast) -> None:
        self.forecasts.append(forecast)

    def stage(self, name: str) -> None: ...

    def advance(self, work: float) -> None: ...

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None:
        raise AssertionError(message)


def test_the_second_run_evaluates_nothing_and_says_the_same(
    dissection: AnatomyRequest, dissected: AnatomyResult
) -> None:
    calls, heard = [], Heard()
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: calls.append(1) if isinstance(module, PreTrainedModel) and module.can_generate() else None
    )
    try:
        again = dissect(dissection, heard)
    finally:
        handle.remove()
    assert not calls
    (told,) = heard.forecasts
    assert (told.work, told.seconds, told.points) == (0, 0.0, ())
    assert told.cached == again.run.probes.total
    assert again.run.probes.evaluated == 0 < dissected.run.probes.evaluated == again.run.probes.total
    assert anatomy_json(again)["parts"] == anatomy_json(dissected)["parts"]
    assert anatomy_json(again)["waterfall"] == anatomy_json(dissected)["waterfall"]


def test_a_point_that_takes_long_is_made_after_the_forecast(
    dissection: AnatomyRequest, dissected: AnatomyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landscape.anatomy.dissect._AT_ONCE", 0.0)
    heard = Heard()
    again = dissect(replace(dissection, store=tmp_path), heard)
    (told,) = heard.forecasts
    assert told.points == ("rtn-int4-exact",)
    assert told.probes == pytest.approx(again.run.probes.evaluated, rel=0.5)
    assert anatomy_json(again)["parts"] == anatomy_json(dissected)["parts"]


def test_r_of_a_block_is_where_moving_it_alone_loses_half(
    dissection: AnatomyRequest, dissected: AnatomyResult, by_hand: ByHand
) -> None:
    heard = Heard()
    more = dissect(replace(dissection, layer_radii=True), heard)
    (told,) = heard.forecasts  # all but the blocks' radii is known
    assert told.probes == 5 * (6 + 2 * 2) * 4  # blocks × distances × windows
    assert 0.4 * told.probes < more.run.probes.evaluated < 1.6 * told.probes
    assert told.seconds > 0
    ranked = more.layers["block"]
    assert [r.rho.value for r in ranked if r.rho] == sorted((r.rho.value for r in ranked if r.rho), reverse=True)
    reached = next(radius for radius in ranked if radius.radius.value is not None)
    directions = [Layers(by_hand.space, reached.slots, 0).draw(index) for index in (0, 1)]
    assert np.mean([by_hand.u(d, reached.radius.value) for d in directions]) == pytest.approx(0.5, abs=0.01)


def test_r_of_single_tensors_is_measured_on_small_models_that_ask_for_it(
    dissection: AnatomyRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session.open(replace(dissection, store=tmp_path)) as session:

        def measured(asked: bool | None) -> tuple[str, ...]:
            every = replace(dissection, groups=("block", "type", "tensor"), layer_radii=asked)
            return stages.Stages(every, session).layer_groupings

        assert [measured(asked) for asked in (None, False)] == [("block", "type"), ()]
        assert measured(True) == ("block", "type", "tensor")
        monkeypatch.setattr(stages, "SMALL", session.subject.space.dimension - 1)
        assert [measured(asked) for asked in (None, False, True)] == [(), (), ("block", "type")]


def test_r_of_a_tensor_is_where_moving_it_alone_loses_half(
    dissection: AnatomyRequest, by_hand: ByHand, dissected: AnatomyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [slot.name for slot in by_hand.space][:2]
    monkeypatch.setattr(stages, "groups", lambda space, grouping: tuple(few))
    asked = replace(dissection, groups=("tensor",), layer_radii=True)
    with Session.open(asked) as session:
        tensors = stages.Stages(asked, session).layers()["tensor"]
    assert {radius.slots for radius in tensors} == set(few)
    for radius in tensors:
        directions = [Layers(by_hand.space, radius.slots, 0).draw(index) for index in (0, 1)]
        far = radius.radius.value or radius.radius.bracket[0]
        u = np.mean([by_hand.u(d, far) for d in directions])
        assert u == pytest.approx(0.5, abs=0.01) if radius.radius.value else u < 0.5
    effects = tuple(replace(dissected.anatomy.groups["block"][0], slots=name) for name in few)
    added = {"tensor": dissected.anatomy.additivity["block"]}
    parts = replace(dissected.anatomy, groups={"tensor": effects}, additivity=added)
    told = replace(dissected, anatomy=parts, layers={"tensor": tensors})
    rows, radii = Page(anatomy_page(told)).table("Each tensor"), {r.slots: r for r in tensors}
    assert [row["‖Δw_l‖/R_l"] for row in rows] == [spent_text(radii[name], told) for name in few]
    assert [layer["slots"] for layer in anatomy_json(told)["layers"]["tensor"]] == [r.slots for r in tensors]


def test_a_plan_keeps_the_limit_that_it_was_made_for(trap: Path, dissection: AnatomyRequest) -> None:
    limit = Limit.parse("nll+0.2")
    asked = replace(dissection, plan_bits=(8, 3), limit=limit)
    planned = dissect(asked)
    plan = planned.plan
    assert plan is not None
    assert set(plan.bits.values()) <= {8, 3, 16}
    assert len(set(plan.bits.values())) > 1
    assert plan.predicted <= limit.nats
    assert {u.bits for u in plan.uniform} == {8, 3}
    low, high = (next(u for u in plan.uniform if u.bits == bits) for bits in (3, 8))
    assert low.bytes < plan.bytes < high.bytes
    sizes = {s.name: s.size for s in load_checkpoint(str(trap)).space}
    assert plan.bytes == sum(sizes[n] * b // 8 + (2 if b < 16 else 0) for n, b in plan.bits.items())
    assert set(plan.checks) == {"validation", "test"}
    hand = ByHand(trap)
    by_bits = {bits: rtn(hand.space, hand.center, QuantScheme(bits)) for bits in (8, 3)}

    def mixed(slot):
        bits = plan.bits[slot.name]
        return hand.center.tensor(slot) if bits == 16 else by_bits[bits].tensor(slot)

    assert plan.checks["validation"].whole.value == pytest.approx(hand.rise(mixed), abs=1e-5)
    for split, check in plan.checks.items():
        assert plan.kept(split) == (check.whole.high <= limit.nats)
    said = " ".join(finding(planned))
    assert "Measured on test" in said
    checks = {s: replace(c, whole=Estimate(0.1, -0.1, 0.3)) for s, c in plan.checks.items()}
    wide = replace(plan, checks=checks)
    assert not wide.kept("test")
    told = finding(replace(planned, plan=wide))[-1]
    assert told.endswith("one at a time: inconclusive, its interval reaches across the limit.")
    figure = plan_figure(planned)
    assert figure is not None
    stars = [trace for trace in figure.data if trace.name.startswith("mixed")]
    assert [(trace.x[0], trace.y[0]) for trace in stars] == [
        (plan.mean_bits, check.whole.value) for check in plan.checks.values()
    ]
    table = Page(anatomy_page(planned)).table("Mixed precision under")
    assert [row["point"] for row in table] == ["mixed precision", "rtn-int8-exact", "rtn-int3-exact"]
    assert floats(table[0]["bytes"]) == [plan.bytes]


def test_a_plan_for_a_size_is_shown_with_its_groups_and_recipes(dissection: AnatomyRequest) -> None:
    size = SizeLimit.parse("5bpw")
    planned = dissect(replace(dissection, plan_bits=(8, 3), size=size, limit=Limit.parse("nll+0.2")))
    plan = planned.plan
    assert plan is not None
    assert (plan.size, plan.fused, plan.method) == (size, True, "rtn")
    assert 4.5 < plan.mean_bits <= 5
    assert planned.subject.architecture == "opt"
    said = " ".join(finding(planned))
    assert "Mixed precision in 5bpw: " in said
    assert f"{nats(plan.predicted, True)}. The limit nll+0.2 (0.2000 nats) judges it below" in said
    assert WHY_FUSED in said
    page = Page(anatomy_page(planned))
    rows = page.table("The bits of each tensor")
    assert len(rows) == len(plan.groups) == 4 * 5  # of five blocks: qkv, out_proj, fc1, fc2
    named = {row["tensors"]: row["bits"] for row in rows}
    layer = "model.decoder.layers.3.self_attn"
    assert named["3.self_attn.q_proj, k_proj, v_proj"] == _shown(plan.bits[f"{layer}.q_proj.weight"])
    assert {plan.bits[f"{layer}.{leaf}_proj.weight"] for leaf in "qkv"} == {plan.bits[f"{layer}.q_proj.weight"]}
    assert page.table("Mixed precision in 5bpw, judged by nll+0.2")
    text = page.text
    assert "Hand over" in text
    for recipe in hand_over(planned).recipes:  # type: ignore[union-attr]
        assert recipe.tool in text
    told = anatomy_json(planned)["plan"]
    assert told["size"] == {"text": "5bpw", "bits_per_weight": 5.0}
    assert told["fused"] is True
    assert told["groups"] == [list(group) for group in plan.groups]
    apart = dissect(replace(dissection, plan_bits=(8, 3), size=size, fused=False)).plan
    assert apart is not None
    assert apart.predicted < plan.predicted
    assert len(apart.groups) == len(apart.bits)


def test_a_plan_of_a_run_that_kept_no_grids_has_no_recipes(
    dissection: AnatomyRequest, dissected: AnatomyResult
) -> None:
    assert hand_over(dissected) is None  # no plan was asked for
    planned = dissect(replace(dissection, plan_bits=(8, 3)))
    assert planned.plan is not None
    assert hand_over(planned) is not None
    older = replace(planned, plan=replace(planned.plan, method=""))
    assert hand_over(older) is None
    assert "Hand over" not in Page(anatomy_page(older)).text


def _shown(bits: int) -> str:
    return "16 (left as it is)" if bits == 16 else str(bits)


def test_a_size_that_no_plan_keeps_is_refused_before_anything_is_made(
    dissection: AnatomyRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landscape.anatomy.dissect._AT_ONCE", 0.0)
    heard, size = Heard(), SizeLimit.parse("2.5bpw")
    with pytest.raises(UsageError, match=r"got 2\.5bpw: int3-exact throughout takes 3\.\d+bpw; use --size 3"):
        dissect(replace(dissection, plan_bits=(8, 3), size=size, store=tmp_path), heard)
    assert not heard.forecasts


def test_a_plan_of_bits_from_one_window_is_refused_before_anything_is_measured(
    dissection: AnatomyRequest, tmp_path: Path
) -> None:
    heard, one = Heard(), replace(SMALL, validation_windows=1)
    with pytest.raises(UsageError, match="at least two articles for a plan of bits, got 1 window"):
        dissect(replace(dissection, preset=one, plan_bits=(8, 4), store=tmp_path), heard)
    assert not heard.forecasts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "awq"}, "expected a method that leaves the weights on a grid"),
        ({"directions": 1}, "expected at least 2 directions"),
    ],
)
def test_requests_are_checked(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AnatomyRequest(**options)


def test_groupings_are_measured_in_their_own_order(
    dissection: AnatomyRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session.open(replace(dissection, store=tmp_path)) as session:

        def measured(*groups: str) -> tuple[str, ...]:
            return stages.Stages(replace(dissection, groups=groups), session).groupings

        assert measured("tensor", "block") == ("block", "tensor")
        assert measured() == ("block", "type", "tensor")
        monkeypatch.setattr(stages, "SMALL", session.subject.space.dimension - 1)
        assert measured() == ("block", "type")
        assert measured("tensor") == ("tensor",)
    with pytest.raises(UsageError, match="expected groups from block, type, tensor, got 'layer'"):
        AnatomyRequest(groups=("layer",))


def test_articles_are_counted(dissected: AnatomyResult, by_hand: ByHand) -> None:
    corpus = load_corpus("tales", by_hand.checkpoint, 32)
    counts = {
        split: len(set(corpus.window_articles(split, count, 0).tolist()))
        for split, count in (("validation", 4), ("test", 2))
    }
    assert dissected.articles == anatomy_json(dissected)["articles"] == counts
    rows = {row["setting"]: row["value"] for row in Page(anatomy_page(dissected)).table("How it was measured")}
    assert rows["articles of the windows"] == f"validation {counts['validation']}, test {counts['test']}"
    assert f"validation: 4 windows in {counts['validation']} article" in Page(anatomy_page(dissected)).text
