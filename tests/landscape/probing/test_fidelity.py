"""Comparing with w changes no loss, and is asked for, kept and found probe by probe."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.anatomy.effects import groups, in_block_order
from landscape.positions.position import CENTER, At, on_segment, with_parts
from landscape.probing import references
from landscape.probing.engines.shipping import PackedPlan
from landscape.probing.plan import Fidelity, PlanStep, Probe, ProbePlan, ProbeResult, identified, point_plan
from landscape.probing.references import References
from landscape.probing.runner import Runner
from quant.fidelity import batch_fidelity, batch_states
from tests import tiny
from tests.landscape.probing.test_runner import Setting
from tests.landscape.stores import result, shard_files, store

LENGTHS = [12, 48]
"""Of six windows that go through the model together, which then keeps all logits or hidden states."""


def compared(plan: ProbePlan) -> ProbePlan:
    return ProbePlan(tuple(replace(step, fidelity=True) for step in plan.steps))


# ---------------------------------------------------------------- engine


@pytest.mark.parametrize("batch", [1, 3, 6])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("architecture", ["gpt2", "opt", "llama"])
def test_losses_are_the_same_to_the_bit(tmp_path: Path, architecture: str, length: int, batch: int) -> None:
    setting = Setting(tmp_path, architecture)
    setting.windows = identified(tiny.windows(7, length))
    engine = replace(setting.engine(), batch=batch)
    plain = list(engine.evaluate(setting.plan()))
    found = list(engine.evaluate(compared(setting.plan())))
    assert [replace(each, fidelity=None) for each in found] == plain
    for each in found:
        assert each.fidelity is not None
        if each.probe.position == CENTER:
            assert (each.fidelity.kl, each.fidelity.agreeing) == (0.0, length - 1)
        else:
            assert each.fidelity.kl > 0


def test_predictions_at_w_are_computed_once_for_plans_that_share_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tasks share a process of a Ray cluster; only the last plan's are kept, and those of a batch size apart."""
    setting, computed = Setting(tmp_path), []
    setting.windows = identified(tiny.windows(4))

    def counted(model: nn.Module, windows: Tensor) -> Tensor:
        computed.append(len(windows))
        return batch_states(model, windows)

    monkeypatch.setattr(references, "batch_states", counted)
    engine, plan = setting.engine(), compared(setting.plan())
    fresh = list(engine.evaluate(plan))
    assert list(engine.evaluate(plan)) == fresh
    assert computed == [1] * 4
    (first, *_) = plan.steps
    list(engine.evaluate(ProbePlan((replace(first, windows=first.windows[:1]),))))
    assert computed == [1] * 4
    assert list(engine.evaluate(plan)) == fresh
    assert computed == [1] * 7
    in_pairs = list(replace(engine, batch=2).evaluate(plan))
    assert computed == [1] * 7 + [2] * 2
    assert list(replace(engine, batch=2, references=References()).evaluate(plan)) == in_pairs


@pytest.mark.parametrize("batch", [1, 3])
def test_a_position_is_compared_with_w(tmp_path: Path, batch: int) -> None:
    setting = Setting(tmp_path)
    setting.windows = identified(tiny.windows(4))
    rows = torch.stack([window.tokens for window in setting.windows])
    reference = batch_states(setting.model, rows)
    engine = replace(setting.engine(), batch=batch)
    found = list(engine.evaluate(point_plan(["p"], setting.windows, fidelity=True)))
    setting.space.write(setting.model, setting.point)
    for each, (_, by_hand) in zip(found, batch_fidelity(setting.model, rows, reference), strict=True):
        assert each.fidelity is not None
        assert each.fidelity.kl == pytest.approx(by_hand.kl, abs=1e-5)
        assert each.fidelity.entropy == pytest.approx(by_hand.entropy, abs=1e-4)
        assert each.fidelity.agreeing == by_hand.agreeing


def test_first_blocks_that_are_replayed_change_nothing(tmp_path: Path) -> None:
    setting = Setting(tmp_path, "opt")
    setting.windows = identified(tiny.windows(3, 48))
    positions = [with_parts("p", slots=slots) for slots in groups(setting.space, "tensor")]
    plan = compared(in_block_order(setting.space, positions, setting.windows))
    together = list(setting.engine().evaluate(plan))
    alone = [each for step in plan.steps for each in setting.engine().evaluate(ProbePlan((step,)))]
    assert together == alone
    assert len({each.fidelity for each in together}) > len(plan.steps)


def test_a_step_that_does_not_ask_is_not_compared(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    plan = point_plan([CENTER], setting.windows, fidelity=True) + point_plan(["p"], setting.windows)
    found = list(setting.engine().evaluate(plan))
    assert [each.fidelity is None for each in found] == [False, False, True, True]


# ---------------------------------------------------------------- plan and runner


def known(plan: ProbePlan, fidelity: Fidelity | None) -> dict[Probe, ProbeResult]:
    return {probe: ProbeResult(probe, 1.0, 11, fidelity) for probe in plan.probes()}


def test_what_is_known_without_its_fidelity_is_missing_where_that_is_asked_for() -> None:
    windows = identified(tiny.windows(3))
    plain, asking = point_plan([CENTER, "p"], windows), point_plan(["p"], windows[:2], fidelity=True)
    found = Fidelity(0.5, 10, 3.0)
    assert plain.missing(known(plain, None)).steps == ()
    assert asking.missing(known(asking, found)).steps == ()
    assert plain.missing(known(plain, found)).steps == ()
    (step,) = (plain + asking).missing(known(plain, None)).steps
    assert (step.position, step.windows, step.fidelity) == (At("p"), windows[:2], True)


def test_a_probe_of_two_steps_is_evaluated_once_with_its_fidelity() -> None:
    windows = identified(tiny.windows(4))
    plan = point_plan([CENTER], windows) + point_plan([CENTER], windows[2:], fidelity=True)
    assert len(plan) == 4
    steps = plan.missing({}).steps
    assert [(step.windows, step.fidelity) for step in steps] == [(windows[:2], False), (windows[2:], True)]
    assert plan.compared == windows[2:]


def test_a_runner_adds_the_fidelity_once_and_keeps_it(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    first = setting.runner()
    first.run(setting.plan(), setting.engine())
    count = len(setting.plan())
    assert (first.evaluated, len(first.asked)) == (count, count)
    second = setting.runner()
    second.run(compared(setting.plan()), setting.engine())
    assert (second.evaluated, len(second.asked)) == (count, count)
    assert {p: r.total for p, r in second.known.items()} == {p: r.total for p, r in first.known.items()}
    for runner in (setting.runner(), second):  # from the store, and from memory
        before = runner.evaluated
        runner.run(setting.plan() + compared(setting.plan()), setting.engine())
        assert runner.evaluated == before
        assert all(each.fidelity for each in runner.known.values())


def test_room_is_asked_for_before_predictions_are_kept(tmp_path: Path) -> None:
    setting, asked = Setting(tmp_path), []
    runner = Runner(setting.runner().store, {}, check=lambda plan: asked.append(len(plan.compared)))
    for plan in (
        point_plan([CENTER], setting.windows), point_plan(["p"], setting.windows),
        point_plan(["p"], setting.windows, fidelity=True), point_plan(["p"], setting.windows, fidelity=True),
    ):  # fmt: skip
        runner.run(plan, setting.engine())
    assert asked == [0, 2]


def test_a_loss_that_is_known_stays_when_its_fidelity_is_added(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    plan = point_plan(["p"], setting.windows, fidelity=True)
    first = next(iter(plan.probes()))
    setting.runner().store.commit([ProbeResult(first, 40.0, 11)], {})  # as another machine may have measured it
    runner = setting.runner()
    runner.run(plan, setting.engine())
    assert (runner.known[first].total, runner.known[first].fidelity is None) == (40.0, False)
    assert (runner.evaluated, len(runner.fresh)) == (2, 1)
    assert setting.runner().known == runner.known


# ---------------------------------------------------------------- store

FOUND = Fidelity(0.25, 6, 12.5)


def test_the_columns_of_a_shard(tmp_path: Path) -> None:
    rows = [
        replace(result("w"), fidelity=Fidelity(0.0, 7, 1.0)),
        result("ray"),
        replace(result("far"), fidelity=Fidelity(math.nan, 0, -math.inf)),
    ]
    store(tmp_path).commit(rows, {})
    (path,) = shard_files(tmp_path)
    with h5py.File(path) as file:
        assert file["fidelity_index"][:].tolist() == [0, 2]  # far, ray, w
        np.testing.assert_array_equal(file["kl"][:], [math.nan, 0.0])
        assert file["agreeing"][:].tolist() == [0, 7]
        assert file["entropy"][:].tolist() == [-math.inf, 1.0]
        kinds = [file[key].dtype for key in ("fidelity_index", "kl", "agreeing", "entropy")]
        assert kinds == ["<i4", "<f8", "<i8", "<f8"]
    read = store(tmp_path).probes()
    assert read[Probe("ray", "w0")].fidelity is None
    assert read[Probe("w", "w0")] == rows[0]
    assert math.isnan(read[Probe("far", "w0")].fidelity.kl)  # type: ignore[union-attr]


def test_a_shard_without_comparisons_is_that_of_before(tmp_path: Path) -> None:
    store(tmp_path).commit([result("w")], {})
    (path,) = shard_files(tmp_path)
    with h5py.File(path) as file:
        assert set(file) == {"positions", "windows", "position_index", "window_index", "total", "tokens"}


def test_a_result_with_its_fidelity_is_kept_in_any_order(tmp_path: Path) -> None:
    rows = [
        result("w", -1.0),  # first by its digits, but not compared
        replace(result("w", 2.0), fidelity=FOUND),
        replace(result("w", 2.0), fidelity=Fidelity(math.nan, 6, 12.5)),
        result("w", math.nan),
    ]
    kept = set()
    for number, order in enumerate(permutations(rows)):
        root = tmp_path / str(number)
        for row in order:
            store(root).commit([row], {})
        kept.add(repr(store(root).probes()))
        store(root).compact()
        assert len(shard_files(root)) == 1
        kept.add(repr(store(root).probes()))
    (only,) = kept
    assert repr(FOUND) in only


def test_steps_keep_their_question_through_a_cut_and_a_copy() -> None:
    windows = identified(tiny.windows(2))
    plan = ProbePlan((PlanStep(At("p"), windows, True), PlanStep(on_segment(CENTER, "p", 0.5), windows)))
    assert [step.fidelity for step in PackedPlan.of(plan).restored().steps] == [True, False]
