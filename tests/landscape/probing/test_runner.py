import random
import signal

import numpy as np
import pytest
import torch

from landscape.positions.atlas import Atlas
from landscape.positions.directions import Sphere
from landscape.positions.position import CENTER
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import NotEvaluated, ProbePlan, ProbeResult, identified, point_plan, ray_plan
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from landscape.survey.plans import segment_plan
from quant import interruption
from quant.center import Center
from quant.hashing import tensor_bytes
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny
from tests.interrupted import forgotten


class Setting:
    def __init__(self, tmp_path, architecture="llama", dtype=torch.float32):
        self.model = tiny.ARCHITECTURES[architecture]().to(dtype)
        self.space = WeightSpace.of(self.model)
        self.center = Center.of(self.model, self.space)
        self.family = Sphere(self.space)
        self.point = rtn(self.space, self.center, QuantScheme(2))
        self.windows = identified(tiny.windows(2))
        self.tmp_path = tmp_path

    def engine(self):
        return InlineEngine(
            self.model, self.space, Atlas(self.center, {"p": self.point}, {self.family.name: self.family})
        )

    def runner(self):
        return Runner(Store(self.tmp_path, "f" * 64, "float32"), {})

    def plan(self):
        rays = ray_plan(self.family, 2, [0.5, 2.0], self.windows)
        return point_plan([CENTER, "p"], self.windows) + rays + segment_plan({(CENTER, "p"): [0, 0.5, 1]}, self.windows)


def state_hash(model):
    """Everything that a run may not change: parameters, buffers, modes, flags, random state."""
    tensors = [bytes(tensor_bytes(t)) for t in (*model.parameters(), *model.buffers())]
    flags = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    generators = torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), random.getstate()
    return hash((tuple(tensors), repr(flags), repr(generators)))


def count_forwards(model):
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_a_plan_counts_each_probe_once(tmp_path):
    setting = Setting(tmp_path)
    plan = setting.plan()
    assert len(plan) == (2 + 2 * 2 + 1) * 2  # w, p, four on rays, one inside the segment; two windows each
    assert len(list(plan.missing({}).probes())) == len(plan)


def test_pairs_are_both_ways_from_w_on_one_draw(tmp_path):
    setting = Setting(tmp_path)
    positions = [step.position for step in ray_plan(setting.family, 2, [0.5, 2.0], setting.windows, pairs=True).steps]
    assert [(p.index, p.lam) for p in positions] == [
        (0, 0.5), (0, 2.0), (0, -0.5), (0, -2.0), (1, 0.5), (1, 2.0), (1, -0.5), (1, -2.0)
    ]  # fmt: skip
    atlas = Atlas(setting.center, {}, {setting.family.name: setting.family})
    there, back = (atlas.vector(positions[i]) for i in (1, 3))
    for slot in setting.space:
        middle = (there.tensor(slot) + back.tensor(slot)) / 2
        assert torch.allclose(middle, setting.center.tensor(slot), atol=1e-6)
    assert len({str(p) for p in positions}) == 8


def test_the_second_run_calls_the_model_never(tmp_path):
    setting = Setting(tmp_path)
    calls = count_forwards(setting.model)
    first = setting.runner()
    first.run(setting.plan(), setting.engine())
    assert len(calls) == first.evaluated == len(setting.plan())
    calls.clear()
    second = setting.runner()
    second.run(setting.plan(), setting.engine())
    assert len(calls) == second.evaluated == 0
    assert second.known == first.known


def test_more_directions_evaluate_only_what_is_new(tmp_path):
    setting = Setting(tmp_path)
    setting.runner().run(ray_plan(setting.family, 2, [0.5, 2.0], setting.windows), setting.engine())
    calls = count_forwards(setting.model)
    setting.runner().run(ray_plan(setting.family, 3, [0.5, 1.0, 2.0], setting.windows), setting.engine())
    assert len(calls) == (3 * 3 - 2 * 2) * 2


def test_an_interrupted_run_goes_on_to_the_identical_result(tmp_path):
    whole = Setting(tmp_path / "whole")
    runner = whole.runner()
    runner.run(whole.plan(), whole.engine())

    cut = Setting(tmp_path / "cut")
    calls = []

    def interrupt(*_):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    handle = cut.model.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        cut.runner().run(cut.plan(), cut.engine())
    handle.remove()
    resumed = cut.runner()
    assert len(resumed.known) == 4  # what was evaluated before Ctrl-C was committed
    resumed.run(cut.plan(), cut.engine())
    assert resumed.known == runner.known


def test_an_interruption_that_a_library_swallowed_ends_the_run_after_the_probe(tmp_path):
    cut = Setting(tmp_path)
    calls = []

    def swallow(*_):
        calls.append(1)
        if len(calls) == 3:
            interruption.note(signal.SIGTERM)

    cut.model.register_forward_hook(swallow)
    with forgotten(), pytest.raises(interruption.Interrupted):
        cut.runner().run(cut.plan(), cut.engine())
    assert len(calls) == len(cut.runner().known) == 3


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt])
def test_the_model_is_as_it_was_however_a_run_ends(tmp_path, architecture, dtype, ending):
    setting = Setting(tmp_path, architecture, dtype)
    setting.model.train()
    before = state_hash(setting.model)
    handle = None
    if ending is not None:

        def fail(module, inputs, output, seen=[]):  # noqa: B006
            seen.append(1)
            if len(seen) == 7:
                raise ending

        handle = setting.model.register_forward_hook(fail)
        with pytest.raises(ending):
            setting.runner().run(setting.plan(), setting.engine())
        handle.remove()
    else:
        setting.runner().run(setting.plan(), setting.engine())
    assert state_hash(setting.model) == before


def test_an_engine_evaluates_the_weights_of_the_position(tmp_path):
    setting = Setting(tmp_path, "gpt2")
    found = {r.probe.position: r for r in setting.engine().evaluate(point_plan([CENTER, "p"], setting.windows[:1]))}
    ids = setting.windows[0].tokens[None]
    with torch.no_grad():
        assert found[CENTER].total / found[CENTER].tokens == pytest.approx(
            float(setting.model(input_ids=ids, labels=ids).loss), abs=1e-5
        )
        for slot, parameter in setting.space.weights(setting.model):
            parameter.copy_(setting.point.tensor(slot))
        assert found["p"].total / found["p"].tokens == pytest.approx(
            float(setting.model(input_ids=ids, labels=ids).loss), abs=1e-5
        )


def test_results_of_a_plan_may_be_not_a_number(tmp_path):
    setting = Setting(tmp_path)

    class Broken:
        def evaluate(self, plan):
            for probe in plan.probes():
                yield ProbeResult(probe, float("nan"), 11)

    runner = setting.runner()
    plan = ProbePlan.of([], ()) + point_plan(["w"], setting.windows)
    runner.run(plan, Broken())
    again = setting.runner()
    assert np.isnan(again.nll("w", setting.windows))
    with pytest.raises(NotEvaluated):
        again.nll("unknown", setting.windows)
