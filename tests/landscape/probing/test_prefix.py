"""Running the first blocks once changes no bit of any result."""

import random
from dataclasses import replace

import pytest
import torch

from landscape.anatomy.effects import anatomy_plan, groups, in_block_order
from landscape.positions.atlas import Atlas
from landscape.positions.directions import Layers
from landscape.positions.position import CENTER, At, OnRay, common_blocks, on_segment, with_parts, without_parts
from landscape.probing import prefix
from landscape.probing.batches import batches
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import PlanStep, ProbePlan, identified
from landscape.probing.prefix import Prefixes
from quant.architecture import decoder_blocks
from quant.center import Center, preserved
from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import UsageError
from quant.methods.rtn import rtn
from quant.nll import batch_nll, window_nll
from quant.replay import replays_exactly
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny


class Setting:
    def __init__(self, model, bits=3):
        self.model = model
        self.space = WeightSpace.of(model)
        self.center = Center.of(model, self.space)
        points = {f"p{b}": rtn(self.space, self.center, QuantScheme(b)) for b in (2, 3)}
        self.layers = Layers(self.space, "block=1")
        self.atlas = Atlas(self.center, points, {self.layers.name: self.layers})
        self.windows = identified(tiny.windows(2))
        self.engine = InlineEngine(model, self.space, self.atlas)

    def plainly(self, plan):
        """Every weight written, every block run."""
        found = []
        with preserved(self.model, self.space, self.center):
            for step in plan.steps:
                self.space.write(self.model, self.atlas.vector(step.position))
                found += [window_nll(self.model, window.tokens).total for window in step.windows]
        return found

    def positions(self):
        yield from (At(CENTER), At("p2"), on_segment(CENTER, "p3", 0.5))
        yield from (with_parts("p2", slots=slots) for slots in groups(self.space, "type"))
        for label in ("p2", "p3"):
            for slots in (self.space.slots[0].name, self.space.slots[-1].name, "block=1"):
                yield with_parts(label, slots=slots)
                yield without_parts(label, ["clip"], slots)
                yield with_parts(label, ["round"], slots)
        yield from (OnRay(self.layers.name, index, lam) for index in (0, 1) for lam in (0.5, -2.0))


def block_runs(model):
    """How often a matrix of each block was multiplied with, which it is not where the block only hands on."""
    blocks, runs = decoder_blocks(model)[1], []
    for index, block in enumerate(blocks):
        first = next(m for m in block.modules() if isinstance(m, torch.nn.Linear))
        first.register_forward_hook(lambda *_, index=index: runs.append(index))
    return runs


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize(
    ("dtype", "order"), [(torch.float32, "by block"), (torch.float32, "shuffled"), (torch.bfloat16, "by block")]
)
def test_every_result_is_that_of_a_whole_forward_pass_to_the_bit(architecture, dtype, order):
    setting = Setting(tiny.ARCHITECTURES[architecture]().to(dtype))
    plan = in_block_order(setting.space, setting.positions(), setting.windows)
    if order == "shuffled":
        plan = ProbePlan(tuple(random.Random(0).sample(plan.steps, len(plan.steps))))
    found = [result.total for result in setting.engine.evaluate(plan)]
    assert found == setting.plainly(plan)
    assert len(set(found)) > len(plan.steps)  # the positions do differ


@pytest.mark.parametrize("size", [2, 3])
def test_blocks_are_replayed_for_batches_too(size):
    setting = Setting(tiny.opt())
    setting.windows = identified(tiny.windows(5))
    plan = in_block_order(setting.space, setting.positions(), setting.windows)
    engine = replace(setting.engine, batch=size)
    runs = block_runs(setting.model)
    found = [result.total for result in engine.evaluate(plan)]
    replayed_runs = len(runs)
    plainly = []
    with preserved(setting.model, setting.space, setting.center):
        for step in plan.steps:
            setting.space.write(setting.model, setting.atlas.vector(step.position))
            for batch in batches(step.windows, size):
                totals = [nll.total for nll in batch_nll(setting.model, batch.tokens)]
                plainly += totals[: len(batch.windows)]
    assert found == plainly
    assert replayed_runs < len(runs) - replayed_runs


def test_windows_that_are_known_already_may_be_missing_anywhere():
    setting = Setting(tiny.opt())
    draw = random.Random(1)
    steps = in_block_order(setting.space, setting.positions(), setting.windows).steps
    plan = ProbePlan(tuple(PlanStep(s.position, tuple(draw.sample(s.windows, draw.randint(1, 2)))) for s in steps))
    assert [result.total for result in setting.engine.evaluate(plan)] == setting.plainly(plan)


def test_the_first_blocks_run_once_for_all_positions_that_leave_them():
    checkpoint = load_checkpoint("opt-nano")
    setting = Setting(checkpoint.model)
    n = len(decoder_blocks(setting.model)[1])
    tensors = [with_parts("p2", slots=slots) for slots in groups(setting.space, "tensor")]
    runs = block_runs(setting.model)
    list(setting.engine.evaluate(in_block_order(setting.space, tensors, setting.windows)))
    m = len(tensors) // n  # matrices of a block
    # position by position n − b blocks for a matrix of block b, and block b − 1 once more to know what it puts out
    expected = sum(m * (n - b) + (b > 0) for b in range(n))
    # and each cut b is tried once: b blocks for what they return, all of them, and the n − b others on a replay
    assert len(runs) == expected * len(setting.windows) + 2 * n * (n - 1)
    assert expected / (m * n * n) == pytest.approx((n + 1) / (2 * n), abs=1 / (m * n))


def test_blocks_with_other_weights_are_not_taken_for_those_of_w():
    setting = Setting(tiny.opt())
    slots = "block=1"
    positions = [with_parts("p2", ["clip"], slots), without_parts("p2", ["clip"], slots)]
    assert [common_blocks(setting.space, position) for position in positions] == [(CENTER, 1), ("p2", 1)]
    plan = ProbePlan.of([*positions, *positions], setting.windows)
    assert [result.total for result in setting.engine.evaluate(plan)] == setting.plainly(plan)


@pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt])
def test_the_blocks_compute_again_however_it_ends(ending):
    setting = Setting(tiny.llama())
    plan = anatomy_plan(setting.space, "p2", setting.windows)
    before = setting.plainly(ProbePlan.of([At(CENTER)], setting.windows))
    calls = []

    def fail(module, inputs, output):
        calls.append(1)
        if ending is not None and len(calls) == len(plan) - 2:
            raise ending

    hooks = [len(m._forward_hooks) for m in setting.model.modules()]
    handle = setting.model.model.norm.register_forward_hook(fail)
    if ending is None:
        list(setting.engine.evaluate(plan))
    else:
        with pytest.raises(ending):
            list(setting.engine.evaluate(plan))
    handle.remove()
    assert not any("forward" in vars(m) for m in setting.model.modules())
    assert [len(m._forward_hooks) for m in setting.model.modules()] == hooks
    runs = block_runs(setting.model)
    assert setting.plainly(ProbePlan.of([At(CENTER)], setting.windows)) == before
    assert runs == [0, 1] * 2


def test_a_block_with_a_forward_of_its_own_keeps_it():
    setting = Setting(tiny.llama())
    block, calls = decoder_blocks(setting.model)[1][0], []
    original = block.forward

    def forward(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    block.forward = forward
    list(setting.engine.evaluate(anatomy_plan(setting.space, "p2", setting.windows)))
    assert calls
    assert block.forward is forward


def test_tensors_that_do_not_exist_are_an_error():
    setting = Setting(tiny.llama())
    plan = ProbePlan.of([with_parts("p2", slots="block=9")], setting.windows)
    with pytest.raises(UsageError, match="block=9"):
        list(setting.engine.evaluate(plan))


def test_weights_that_give_no_numbers_decide_nothing_about_a_replay():
    model, ids, left = tiny.llama(), tiny.windows(1)[0], []
    blocks = list(decoder_blocks(model)[1])

    def leave(module, args, output):  # not called where the block is replayed
        left[:] = [output]

    blocks[0].mlp.register_forward_hook(leave)
    blocks[1].mlp.register_forward_hook(lambda module, args, output: output + (left.pop() if left else 0))
    weight = blocks[0].mlp.down_proj.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
        assert replays_exactly(model, ids, blocks, 1, 1) is None
        weight.copy_(kept)
    assert replays_exactly(model, ids, blocks, 1, 1) is False


def test_a_replay_is_tried_again_until_it_is_decided(monkeypatch):
    setting = Setting(tiny.llama())
    batch, prefixes = next(batches(setting.windows[:1], 1)), Prefixes(setting.model)
    answers = [None, None, True]
    monkeypatch.setattr(prefix, "replays_exactly", lambda *args: answers.pop(0))
    runs = block_runs(setting.model)
    for _ in range(5):
        with prefixes.reused("w", 1, batch):
            batch_nll(setting.model, batch.tokens)
    assert runs.count(0) == 3  # the first, and two without a decision
    assert not answers


@pytest.mark.parametrize(("outputs", "runs"), [(0.9, 10), (1.1, 8), (2.1, 4)])
def test_outputs_are_kept_while_there_is_room_for_them(outputs, runs, monkeypatch):
    setting = Setting(tiny.llama())
    size = 12 * 16 * 4  # a window's hidden state, (1, L, d)
    monkeypatch.setattr(prefix, "available_host_memory", lambda: 4 * outputs * size)
    prefixes, seen = Prefixes(setting.model), block_runs(setting.model)
    expected = [window_nll(setting.model, window.tokens).total for window in setting.windows]
    seen.clear()
    found = []
    for _ in range(5):
        for batch in batches(setting.windows, 1):
            with prefixes.reused("w", 1, batch):
                found += [loss.total for loss in batch_nll(setting.model, batch.tokens)]
    assert found == 5 * expected
    assert seen.count(0) == runs  # two of them to try whether a replay is exact, if there is one


def test_a_card_without_memory_left_keeps_no_outputs(monkeypatch):
    setting = Setting(tiny.llama())
    monkeypatch.setattr(prefix, "available_device_memory", lambda device: 0)
    prefixes, batch = Prefixes(setting.model), next(batches(setting.windows[:1], 1))
    with prefixes.reused("w", 1, batch):
        batch_nll(setting.model, batch.tokens)
    assert not prefixes._kept
