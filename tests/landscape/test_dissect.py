"""The anatomy from end to end, on the built-in model with the trap of real models planted in it.

Two blocks get three huge weights each, which the bias takes back: the model is as good as before, but a scale of least
squared error clips them, as it does in SmolLM2-135M.
"""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from landscape import stages
from landscape.cli import main
from landscape.directions import Layers, Sphere
from landscape.dissect import dissect
from landscape.dissection import Dissected, Dissection, groupings_of
from landscape.estimate import Estimate
from landscape.forecast import Forecast
from landscape.health import Check
from landscape.limits import Limit
from landscape.parts import PARTS
from landscape.presets import PRESETS
from landscape.progress import Silent
from landscape.report.anatomy_figures import (
    matched_figure,
    parts_figure,
    plan_figure,
    ranking_figures,
    restoration_figure,
    waterfall_figure,
)
from landscape.report.anatomy_page import anatomy_page
from landscape.report.anatomy_schema import anatomy_json
from landscape.report.anatomy_wording import finding, group_name, spent_text, subject_sentences, title
from landscape.run import Runner
from landscape.store import Store
from landscape.subject import prepare
from landscape.wanted import wanted_point
from quant.center import Center
from quant.checkpoint import load_checkpoint
from quant.corpus import load_corpus
from quant.errors import UsageError
from quant.grid import QuantScheme
from quant.rtn import rtn
from quant.space import Difference, norm
from tests.landscape.reading import Page, floats

PLANTED = (1, 3)
OUTLIERS = 80  # standard deviations
LIMIT = Limit.parse("ppl+15%")  # above the noise of four windows of 32 tokens
SMALL = replace(PRESETS["quick"], train_windows=1, validation_windows=4, test_windows=2, seq_len=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = load_checkpoint("opt-nano")
    with torch.no_grad():
        for block in PLANTED:
            layer = checkpoint.model.model.decoder.layers[block]
            layer.final_layer_norm.weight[7], layer.final_layer_norm.bias[7] = 0, 1  # a constant, which acts as a bias
            huge, rows = OUTLIERS * float(layer.fc1.weight.std()), [3, 100, 200]
            layer.fc1.bias[rows] += layer.fc1.weight[rows, 7] + huge
            layer.fc1.weight[rows, 7] = -huge
    path = tmp_path_factory.mktemp("trap") / "trap"
    checkpoint.model.save_pretrained(path)
    checkpoint.tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def request_(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dissection:
    return Dissection(
        str(folder), "tales", wanted=wanted_point("rtn", QuantScheme(4)), preset=SMALL, directions=2,
        groupings=("block",), layer_radii=False, limit=LIMIT, store=tmp_path_factory.mktemp("store"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(request_: Dissection) -> Dissected:
    return dissect(request_)


class ByHand:
    """Losses with transformers' own loss, and nothing of the house but the weights."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = load_checkpoint(str(folder))
        self.space = self.checkpoint.space
        self.center = Center.of(self.checkpoint.model, self.space)
        self.tokens = load_corpus("tales", self.checkpoint, 32).windows("validation", 4, 0)

    def nll(self, at=None) -> float:
        """Mean over the windows, of weights given as a function of the slot."""
        with torch.no_grad():
            for slot, parameter in self.space.parameters(self.checkpoint.model):
                parameter.copy_(self.center.tensor(slot) if at is None else at(slot))
            model = self.checkpoint.model
            return float(np.mean([model(input_ids=t[None], labels=t[None]).loss.item() for t in self.tokens]))

    def rise(self, at) -> float:
        return self.nll(at) - self.nll()

    def u(self, direction, radius: float) -> float:
        span = math.log(1024) - self.nll()
        return self.rise(lambda slot: self.center.tensor(slot) + radius * direction.tensor(slot)) / span


@pytest.fixture(scope="module")
def by_hand(folder: Path) -> ByHand:
    return ByHand(folder)


# ---- the job --------------------------------------------------------------------------------------------------------


def test_the_trap_is_near_but_steep_and_clipping_and_its_tensors_are_named(found: Dissected) -> None:
    assert (found.location, found.loss, found.steep) == ("inside", "degraded", True)
    assert found.waterfall.steps[0].rho.high < 0.5
    assert found.anatomy.culprit == "clip"
    planted = {f"model.decoder.layers.{block}.fc1.weight" for block in PLANTED}
    assert {effect.slots for effect in found.clipping[:2]} == planted
    assert found.enough == 2
    assert found.restored[2].rise.value < found.limit.nats < 0.2 < found.rise.value
    assert list(found.held_out) == [0, *found.restored]
    assert found.held_out[2].value < 0.1 < found.held_out[0].value  # on windows that ranked nothing, too
    steps = {step.kind: step for step in found.waterfall.steps}
    assert steps["along"].rho.value > 1.2 * steps["sphere"].rho.value
    assert steps["sphere"].matched.multiple(found.waterfall.rise) > 5


def test_the_run_is_checked_and_the_page_says_so(found: Dissected) -> None:
    assert [check.passed for check in found.health] == [True, True, None, True, True, True]
    assert found.health[2].words.startswith("The slope of the loss at w is ")
    assert f"at λ = {found.subject.norm / 64:.3g}" in found.health[4].measured
    page = anatomy_page(found)
    assert "Nothing speaks against it: 5 checks passed, none failed." in page
    wrong = Check("finite losses", False, "1 of 9", "none", "One of 9 is not finite.")
    page = anatomy_page(replace(found, health=(wrong, *found.health[:5])))
    assert "One of 9 is not finite." in page[page.index("<h1>") : page.index('id="summary"')]


def test_the_losses_are_those_of_the_model(found: Dissected, by_hand: ByHand) -> None:
    point = rtn(by_hand.space, by_hand.center, QuantScheme(4))
    assert found.center_nll == pytest.approx(by_hand.nll(), abs=1e-5)
    assert found.rise.value == pytest.approx(by_hand.rise(point.tensor), abs=1e-5)
    assert found.waterfall.rise == pytest.approx(found.rise.value, abs=1e-6)  # on the ray, but for float32
    delta = Difference(by_hand.center, point)
    assert found.waterfall.distance == pytest.approx(norm(by_hand.space, delta), rel=1e-6)
    directions = [Sphere(by_hand.space, 0).draw(index) for index in (0, 1)]
    sphere = found.waterfall.steps[0]
    assert np.mean([by_hand.u(d, sphere.radius.value) for d in directions]) == pytest.approx(0.5, abs=0.01)
    rises = [by_hand.u(d, found.waterfall.distance) * (math.log(1024) - by_hand.nll()) for d in directions]
    assert sphere.matched.rises == pytest.approx(rises, abs=2e-4)
    tests = load_corpus("tales", by_hand.checkpoint, 32).windows("test", 2, 0)
    by_hand.tokens, validation = tests, by_hand.tokens
    assert found.held_out[0].value == pytest.approx(by_hand.rise(point.tensor), abs=1e-5)
    by_hand.tokens = validation
    for effect in found.anatomy.groups["block"]:
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

    def warn(self, message: str) -> None:
        raise AssertionError(message)


def test_the_second_run_evaluates_nothing_and_says_the_same(request_: Dissection, found: Dissected) -> None:
    calls, heard = [], Heard()
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: calls.append(1) if isinstance(module, PreTrainedModel) and module.can_generate() else None
    )
    try:
        again = dissect(request_, heard)
    finally:
        handle.remove()
    assert not calls
    (told,) = heard.forecasts
    assert (told.work, told.seconds, told.points) == (0, 0.0, ())
    assert told.cached == again.probes.total
    assert again.probes.evaluated == 0 < found.probes.evaluated == again.probes.total
    assert anatomy_json(again)["parts"] == anatomy_json(found)["parts"]
    assert anatomy_json(again)["waterfall"] == anatomy_json(found)["waterfall"]


def test_r_of_a_block_is_where_moving_it_alone_loses_half(
    request_: Dissection, found: Dissected, by_hand: ByHand
) -> None:
    heard = Heard()
    more = dissect(replace(request_, layer_radii=True), heard)
    (told,) = heard.forecasts  # all but the blocks' radii is known
    assert told.probes == 5 * (6 + 2 * 2) * 4  # blocks × distances × windows
    assert 0.4 * told.probes < more.probes.evaluated < 1.6 * told.probes
    assert told.seconds > 0
    ranked = more.layers["block"]
    assert [r.rho.value for r in ranked if r.rho] == sorted((r.rho.value for r in ranked if r.rho), reverse=True)
    reached = next(radius for radius in ranked if radius.radius.value is not None)
    directions = [Layers(by_hand.space, reached.slots, 0).draw(index) for index in (0, 1)]
    assert np.mean([by_hand.u(d, reached.radius.value) for d in directions]) == pytest.approx(0.5, abs=0.01)


def test_r_of_single_tensors_is_measured_on_small_models_that_ask_for_it(
    request_: Dissection, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = load_checkpoint(str(folder))
    subject = prepare(checkpoint, "tales", SMALL, ("rtn",), 0, tmp_path)
    runner = Runner(Store(tmp_path, checkpoint.fingerprint, "float32"), {})

    def measured(asked: bool | None) -> tuple[str, ...]:
        every = replace(request_, groupings=("block", "type", "tensor"), layer_radii=asked)
        return stages.Stages(every, subject, runner, Silent()).layer_groupings

    assert [measured(asked) for asked in (None, False)] == [("block", "type"), ()]
    assert measured(True) == ("block", "type", "tensor")
    monkeypatch.setattr(stages, "SMALL", subject.space.dimension - 1)
    assert [measured(asked) for asked in (None, False, True)] == [(), (), ("block", "type")]


def test_r_of_a_tensor_is_where_moving_it_alone_loses_half(
    request_: Dissection, folder: Path, by_hand: ByHand, found: Dissected, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [slot.name for slot in by_hand.space][:2]
    monkeypatch.setattr(stages, "groups", lambda space, grouping: tuple(few))
    checkpoint = load_checkpoint(str(folder))
    subject = prepare(checkpoint, "tales", SMALL, ("rtn",), 0, request_.root)
    runner = Runner(Store(request_.root, checkpoint.fingerprint, "float32"), {})
    asked = replace(request_, groupings=("tensor",), layer_radii=True)
    work = stages.Stages(asked, subject, runner, Silent())
    work.place(request_.wanted, rtn(subject.space, subject.center, request_.wanted.scheme))
    tensors = work.layers()["tensor"]
    assert {radius.slots for radius in tensors} == set(few)
    for radius in tensors:
        directions = [Layers(by_hand.space, radius.slots, 0).draw(index) for index in (0, 1)]
        far = radius.radius.value or radius.radius.bracket[0]
        u = np.mean([by_hand.u(d, far) for d in directions])
        assert u == pytest.approx(0.5, abs=0.01) if radius.radius.value else u < 0.5
    effects = tuple(replace(found.anatomy.groups["block"][0], slots=name) for name in few)
    added = {"tensor": found.anatomy.additivity["block"]}
    parts = replace(found.anatomy, groups={"tensor": effects}, additivity=added)
    told = replace(found, anatomy=parts, layers={"tensor": tensors})
    rows, radii = Page(anatomy_page(told)).table("Each tensor"), {r.slots: r for r in tensors}
    assert [row["‖Δw_l‖/R_l"] for row in rows] == [spent_text(radii[name], told) for name in few]
    assert [layer["slots"] for layer in anatomy_json(told)["layers"]["tensor"]] == [r.slots for r in tensors]


def test_a_plan_keeps_the_limit_that_it_was_made_for(folder: Path, request_: Dissection) -> None:
    limit = Limit.parse("nll+0.2")
    asked = replace(request_, plan_bits=(8, 3), limit=limit)
    planned = dissect(asked)
    plan = planned.plan
    assert plan is not None
    assert set(plan.bits.values()) <= {8, 3, 16}
    assert len(set(plan.bits.values())) > 1
    assert plan.predicted <= limit.nats
    assert {u.bits for u in plan.uniform} == {8, 3}
    low, high = (next(u for u in plan.uniform if u.bits == bits) for bits in (3, 8))
    assert low.bytes < plan.bytes < high.bytes
    sizes = {s.name: s.size for s in load_checkpoint(str(folder)).space}
    assert plan.bytes == sum(sizes[n] * b // 8 + (4 if b < 16 else 0) for n, b in plan.bits.items())
    assert set(plan.checks) == {"validation", "test"}
    hand = ByHand(folder)
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
    assert told.endswith("one at a time: within the limit, but its interval reaches across.")
    figure = plan_figure(planned)
    assert figure is not None
    stars = [trace for trace in figure.data if trace.name.startswith("mixed")]
    assert [(trace.x[0], trace.y[0]) for trace in stars] == [
        (plan.mean_bits, check.whole.value) for check in plan.checks.values()
    ]
    table = Page(anatomy_page(planned)).table("Mixed precision under")
    assert [row["point"] for row in table] == ["mixed precision", "rtn-int8-exact", "rtn-int3-exact"]
    assert floats(table[0]["bytes"]) == [plan.bytes]


def test_a_plan_of_bits_from_one_window_is_refused_before_anything_is_measured(
    request_: Dissection, tmp_path: Path
) -> None:
    heard, one = Heard(), replace(SMALL, validation_windows=1)
    with pytest.raises(UsageError, match="at least two articles for a plan of bits, got 1 window"):
        dissect(replace(request_, preset=one, plan_bits=(8, 4), store=tmp_path), heard)
    assert not heard.forecasts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wanted": wanted_point("awq", QuantScheme(4))}, "expected a method that leaves the weights on a grid"),
        ({"directions": 1}, "expected at least 2 directions"),
    ],
)
def test_requests_are_checked(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Dissection(**options)


def test_groupings_are_named_in_their_own_order() -> None:
    assert groupings_of(["tensor", "block"]) == ("block", "tensor")
    for names in (["layer"], []):
        with pytest.raises(UsageError, match="expected groups from block, type, tensor"):
            groupings_of(names)


# ---- in words -------------------------------------------------------------------------------------------------------


def test_the_finding_comes_first_and_in_plain_words(found: Dissected) -> None:
    where, against, blame, restored, *_ = finding(found)
    assert re.match(
        r"rtn-int4-exact lies at 0\.\d+ \[0\.\d+, 0\.\d+\] R, .*: inside, degraded: near but steep\.", where
    )
    assert "times their spread above them" in against
    assert re.search(r"^Clipping of \d[\d,.]* weights in a million costs \+\d\.\d+ \[.*\] of these \+\d", blame)
    assert re.search(r"Undoing it in 2 of \d+ tensors that clip \(\d\.fc1, \d\.fc1\) restores the loss", restored)
    assert title(found).endswith("rtn-int4-exact: inside, degraded: near but steep")


def blamed(found: Dissected, **saved: Estimate | None) -> str:
    return finding(replace(found, anatomy=replace(found.anatomy, saved={**found.anatomy.saved, **saved})))[2]


def test_nothing_is_blamed_without_evidence(found: Dissected) -> None:
    noise = Estimate(0.1, -0.1, 0.3)
    quiet = {"shrink": noise, "round": noise, "clip": noise}
    assert blamed(found, **quiet).startswith("No part of Δw is to blame")
    assert "overflowed" in blamed(found, **{**quiet, "round": None})
    assert blamed(found, **{**quiet, "round": Estimate(0.3, 0.2, 0.4)}).startswith("Rounding costs +0.3000 [")


def test_windows_of_one_article_blame_nothing_and_are_told_as_such(found: Dissected) -> None:
    noise = dict.fromkeys(PARTS, Estimate(0.1, -math.inf, math.inf))
    unbounded = replace(found.waterfall.steps[0], rho=Estimate(0.3, 0.0, math.inf))
    alone = replace(
        found, articles={"validation": 1, "test": 1},
        waterfall=replace(found.waterfall, steps=(unbounded, *found.waterfall.steps[1:])),
    )  # fmt: skip
    assert blamed(alone, **noise) == (
        "No part of Δw can be blamed: 4 windows of one article give no interval; take more --windows."
    )
    assert "0.300 (not bounded by windows of one article: take more of the text) R" in finding(alone)[0]
    assert "(validation: 4 windows in 1 article; test: 2 windows in 1 article)" in subject_sentences(alone)[1]
    unknown = replace(found, articles={"validation": None, "test": None})
    assert blamed(unknown, **noise).startswith("No part of Δw is to blame")
    assert "validation: 4 windows, each taken for independent;" in subject_sentences(unknown)[1]
    assert anatomy_json(unknown)["articles"] == {"validation": None, "test": None}


def test_articles_are_counted(found: Dissected, by_hand: ByHand) -> None:
    corpus = load_corpus("tales", by_hand.checkpoint, 32)
    counts = {
        split: len(set(corpus.window_articles(split, count, 0).tolist()))
        for split, count in (("validation", 4), ("test", 2))
    }
    assert found.articles == anatomy_json(found)["articles"] == counts
    rows = {row["setting"]: row["value"] for row in Page(anatomy_page(found)).table("How it was measured")}
    assert rows["articles that they are of"] == f"validation {counts['validation']}, test {counts['test']}"
    assert f"validation: 4 windows in {counts['validation']} article" in Page(anatomy_page(found)).text


def test_a_limit_that_is_not_reached_is_said(found: Dissected) -> None:
    strict = replace(found, limit=Limit("nll+0.000001", 1e-6), restored={1: found.restored[1]})
    assert "still beyond the limit nll+0.000001" in finding(strict)[3]
    assert strict.enough is None
    loose = replace(found, limit=Limit("nll+9", 9.0))
    assert loose.enough == 0
    assert "as it is" in finding(loose)[3]


def of_equal_numbers(found: Dissected, rise: Estimate, left: Estimate) -> Dissected:
    """The point with these ΔL: as it is, and with the clipping of two tensors undone."""
    whole, two = replace(found.anatomy.whole, rise=rise), replace(found.restored[2], rise=left)
    held_out = {count: found.held_out[count] for count in (0, 2)}
    return replace(
        found, anatomy=replace(found.anatomy, whole=whole), restored={2: two}, held_out=held_out,
        limit=Limit.parse("ppl+5%"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("left", "enough", "loss", "word", "said"),
    [
        (Estimate(0.03, 0.02, 0.04), 2, "kept", "yes", "restores the loss"),
        (Estimate(0.03, 0.0, 0.06), None, "degraded", "its interval reaches across", "in 2 of 30 tensors that clip ("),
        (Estimate(0.03, -math.inf, math.inf), None, "degraded", "its interval reaches across", "reaches across"),
        (Estimate(0.06, 0.05, 0.07), None, "degraded", "no", "still beyond the limit"),
    ],
)  # fmt: skip
def test_a_loss_is_restored_where_the_same_numbers_would_be_kept(
    found: Dissected, left: Estimate, enough: int | None, loss: str, word: str, said: str
) -> None:
    steep = of_equal_numbers(found, Estimate(0.5, 0.4, 0.6), left)
    assert steep.enough == enough
    assert said in finding(steep)[3]
    assert [row["within ppl+5%"] for row in Page(anatomy_page(steep)).table("The point with the clipping")] == [word]
    itself = of_equal_numbers(found, left, left)
    assert itself.loss == loss
    assert (itself.enough == 0) == (loss == "kept")


def test_groups_are_named_as_people_say_them() -> None:
    assert group_name("block=3") == "block 3"
    assert group_name("type=mlp.down_proj") == "mlp.down_proj"
    assert group_name("model.layers.3.mlp.down_proj.weight") == "3.mlp.down_proj"


# ---- drawn ----------------------------------------------------------------------------------------------------------


def test_the_waterfall_goes_from_ratio_to_ratio_with_the_rim_at_one(found: Dissected) -> None:
    figure = waterfall_figure(found)
    *bars, ends = figure.data
    values = [step.rho.value for step in found.waterfall.steps]
    assert [bar.base[0] + bar.y[0] for bar in bars] == pytest.approx(values)
    assert [bar.base[0] for bar in bars] == pytest.approx([0.0, *values[:-1]])
    assert list(ends.y) == pytest.approx(values)
    highs = [y + e for y, e in zip(ends.y, ends.error_y.array, strict=True)]
    lows = [y - e for y, e in zip(ends.y, ends.error_y.arrayminus, strict=True)]
    assert highs == pytest.approx([step.rho.high for step in found.waterfall.steps])
    assert lows == pytest.approx([step.rho.low for step in found.waterfall.steps])
    assert [shape.y0 for shape in figure.layout.shapes] == [1]
    assert figure.layout.yaxis.range[1] > 1


def test_a_step_that_is_censored_has_no_bar(found: Dissected) -> None:
    first, second, *others = found.waterfall.steps
    gap = replace(second, rho=None, radius=replace(second.radius, value=None, low=50.0, high=math.inf))
    censored = replace(found, waterfall=replace(found.waterfall, steps=(first, gap, *others)))
    *bars, ends = waterfall_figure(censored).data
    assert len(bars) == len(ends.x) == 3
    assert bars[1].base[0] == pytest.approx(first.rho.value)
    page = Page(anatomy_page(censored))
    assert page.table("The waterfall")[1]["‖Δw‖/R"].startswith("less than ")


def test_the_point_is_drawn_against_every_random_step(found: Dissected) -> None:
    figure = matched_figure(found)
    assert [list(trace.y) for trace in figure.data] == [list(s.matched.rises) for s in found.waterfall.steps[:3]]
    assert len({trace.marker.symbol for trace in figure.data}) == 3
    assert found.waterfall.rise in [shape.y0 for shape in figure.layout.shapes]


def test_parts_and_rankings_are_the_measured_values(found: Dissected) -> None:
    alone, undone = parts_figure(found).data
    assert list(alone.y) == [found.anatomy.alone[part].rise.value for part in PARTS]
    assert list(undone.y) == [found.anatomy.undone[part].rise.value for part in PARTS]
    assert alone.marker.pattern.shape != undone.marker.pattern.shape
    ranked = dict(ranking_figures(found))
    assert list(ranked) == ["block", "clipping"]
    (bars,) = ranked["block"].data
    assert list(bars.x) == [effect.rise.value for effect in found.anatomy.groups["block"]]
    assert bars.y[0] == group_name(found.anatomy.groups["block"][0].slots)
    (bars,) = ranked["clipping"].data
    assert list(bars.x) == [effect.rise.value for effect in found.clipping[:15]]
    assert len(found.clipping) == 30
    line, test = restoration_figure(found).data
    assert list(test.y) == [estimate.value for estimate in found.held_out.values()]
    assert list(test.x) == list(line.x)
    assert list(line.x) == ["none", "1", "2", "4", "8", "16", "30"]
    assert list(line.y) == [found.rise.value, *(effect.rise.value for effect in found.restored.values())]


def test_an_overflow_is_left_out_of_a_drawing_and_said_in_the_table(found: Dissected) -> None:
    worst, *others = found.anatomy.groups["block"]
    lost = replace(worst, rise=Estimate(math.inf, -math.inf, math.inf))
    broken = replace(found, anatomy=replace(found.anatomy, groups={"block": (lost, *others)}))
    (bars,) = dict(ranking_figures(broken))["block"].data
    assert bars.x[0] is None
    assert "overflowed" in Page(anatomy_page(broken)).table("Each block")[0]["ΔL alone on w"]
    json.dumps(anatomy_json(broken), allow_nan=False)


# ---- the page and the JSON ------------------------------------------------------------------------------------------


def test_the_page_loads_nothing_and_brings_plotly_once(found: Dissected) -> None:
    text = anatomy_page(found)
    page = Page(text)
    assert page.loads == ["data:,"]
    assert 4e6 < len(text) < 7e6  # plotly.js is of 4.8 MB
    ids = re.findall(r'<div id="(anatomy-[a-z]+)"', text)
    assert ids == [f"anatomy-{n}" for n in ("waterfall", "matched", "parts", "block", "clipping", "restoration")]
    assert page.text.index("near but steep") < page.text.index("The numbers")
    for sentence in finding(found):
        assert sentence in page.text


def test_tables_hold_the_numbers(found: Dissected) -> None:
    page = Page(anatomy_page(found))
    for row, step in zip(page.table("The waterfall"), found.waterfall.steps, strict=True):
        assert floats(row["‖Δw‖/R"])[0] == pytest.approx(step.rho.value, rel=0.01)
        assert floats(row["R"])[0] == pytest.approx(step.radius.value, rel=0.01)
    for row, part in zip(page.table("The parts")[1:], PARTS, strict=True):
        for column, rise in (
            ("ΔL alone on w", found.anatomy.alone[part].rise),
            ("ΔL left when undone", found.anatomy.undone[part].rise),
            ("saved by undoing it", found.anatomy.saved[part]),
        ):
            assert floats(row[column]) == pytest.approx([rise.value, rise.low, rise.high], abs=1e-4)
        assert floats(row["share of ‖Δw‖²"])[0] == pytest.approx(found.anatomy.total.share(part), rel=0.01)
    restored = page.table("The point with the clipping")
    assert [row["tensors undone"] for row in restored] == [str(count) for count in found.restored]
    assert [floats(row["ΔL left, test"])[0] for row in restored] == pytest.approx(
        [found.held_out[count].value for count in found.restored], abs=1e-4
    )
    assert [row["within ppl+15%"] for row in restored][:2] == ["no", "yes"]


def test_the_json_is_strict_and_says_what_the_text_does(found: Dissected) -> None:
    told = json.loads(json.dumps(anatomy_json(found), allow_nan=False))
    assert set(told) == {
        "schema_version", "model", "data", "split", "seq_len", "windows", "articles", "space", "point", "center",
        "chance", "distance", "limit", "location", "loss", "steep", "rise", "culprit", "waterfall", "parts", "clipped",
        "weights", "groups", "additivity", "clipping", "restored", "test_rise", "enough", "layers", "plan", "probes",
        "seconds", "store", "page", "health",
    }  # fmt: skip
    assert told["culprit"] == "clip"
    assert told["enough"] == 2
    assert told["rise"]["value"] == found.rise.value
    assert [step["rho"]["value"] for step in told["waterfall"]] == [s.rho.value for s in found.waterfall.steps]
    assert told["waterfall"][3]["matched"] is None
    assert told["clipping"][0]["clipped"] == found.anatomy.statistics[found.clipping[0].slots].clipped > 0


# ---- the command ----------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["landscape", "anatomy", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    return int(end.value.code or 0), out.out, out.err


def test_the_command_prints_the_finding_first_and_the_json_of_the_job(
    request_: Dissection,
    found: Dissected,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [
        "--model", request_.model, "--data", "tales", "--bits", 4, "--windows", 4, "--test-windows", 2, "--seq-len", 32,
        "--directions", 2, "--groups", "block", "--no-layer-radii", "--limit", LIMIT.text, "--store", request_.store,
        "--output", tmp_path / "report",
    ]  # fmt: skip
    code, text, err = run(capsys, monkeypatch, *words)
    assert code == 0, err
    assert "nothing to evaluate" in err
    assert text.startswith(finding(found)[0])
    for sentence in finding(found):
        assert sentence in text
    assert re.search(r"clipping +\d[\d.]* ", text)
    assert "… and 22 more on the page" in text  # of the clipping tensors
    assert f"next   landscape probe --model {request_.model} --data tales --bits 4 --scale exact,absmax" in text
    (page,) = (tmp_path / "report").iterdir()
    assert page.name == "trap-rtn-int4-exact-anatomy.html"
    assert "near but steep" in page.read_text()
    code, out, err = run(capsys, monkeypatch, *words, "--json")
    told = json.loads(out)
    ours = json.loads(json.dumps(anatomy_json(found)))
    same = set(told) - {"probes", "seconds", "page", "health"}
    assert {key: told[key] for key in same} == {key: ours[key] for key in same}
    assert told["page"] == str(page)
    assert [check["passed"] for check in told["health"]] == [
        None,
        None,
        None,
        None,
        None,
        True,
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "5%"], "expected a limit like ppl+5% (perplexity) or nll+0.05"),
        (["--groups", "layer"], "expected groups from block, type, tensor, got 'layer'"),
        (["--method", "awq"], "expected a method that leaves the weights on a grid"),
        (["--method", "rtm"], "expected methods from rtn"),
        (["--plan-bits", "8,x"], "whole numbers in --plan-bits, got '8,x'"),
        (["--plan-bits", "9"], "expected bits from 2 to 8, got 9"),
    ],
)
def test_bad_requests_are_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, *words)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert message in line
