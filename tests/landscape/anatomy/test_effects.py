import math

import pytest
import torch

from landscape.anatomy.effects import (
    additivity,
    anatomy,
    anatomy_plan,
    clipping,
    clipping_plan,
    groups,
    restoration_positions,
    restorations,
)
from landscape.positions.atlas import Atlas
from landscape.positions.parts import PARTS
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER, At, OnParts, common_blocks, with_parts, without_parts
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.losses import Probes
from landscape.probing.plan import Probe, ProbePlan, ProbeResult, identified
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from quant.center import Center
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.errors import PointError
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace, distance, norm
from tests import tiny
from tests.landscape.additive import Additive
from tests.landscape.part_vector import PartVector


@pytest.fixture(scope="module")
def landscape():
    return Additive({"p": lambda space, center: rtn(space, center, QuantScheme(3))}, "gpt2")


@pytest.fixture(scope="module")
def found(landscape):
    landscape.run(anatomy_plan(landscape.space, "p", landscape.windows))
    return anatomy(landscape.probes, "v", perturbation(landscape))


def perturbation(landscape):
    return Perturbation(landscape.space, landscape.center, landscape.points["p"], "p")


def test_a_position_of_all_or_nothing_is_the_point_or_w_itself():
    assert with_parts("p") == without_parts("p", []) == At("p")
    assert without_parts("p") == with_parts("p", []) == At(CENTER)
    assert str(with_parts("p", ["clip"], "block=1")) == "parts/p/clip/slots=block=1/rest=w"
    assert str(without_parts("p", ["clip"], "block=1")) == "parts/p/shrink+round/slots=block=1/rest=p"
    assert str(with_parts("p", [], "block=1")) == "parts/p/none/slots=block=1/rest=w"
    assert with_parts("p", ["clip", "round"]) == with_parts("p", ["round", "clip"])


def test_a_position_changes_the_selected_tensors_by_the_parts_alone(landscape):
    atlas = Atlas(landscape.center, landscape.points, {})
    point = landscape.points["p"]
    for slot in landscape.space:
        w, q = landscape.center.tensor(slot), point.tensor(slot)
        clip = PartVector(landscape.center, point, "clip").tensor(slot)
        inside = slot.block == 1
        alone = atlas.vector(with_parts("p", ["clip"], "block=1")).tensor(slot)
        undone = atlas.vector(without_parts("p", ["clip"], "block=1")).tensor(slot)
        assert torch.allclose(alone, w + clip if inside else w, rtol=0, atol=1e-7)
        assert torch.allclose(undone, q - clip if inside else q, rtol=0, atol=1e-7)
        assert torch.equal(atlas.vector(with_parts("p", slots="block=1")).tensor(slot), q if inside else w)
        assert torch.equal(atlas.vector(without_parts("p", slots="block=1")).tensor(slot), w if inside else q)


def test_tensors_of_a_point_on_no_grid_can_be_taken_but_not_its_parts():
    model = tiny.llama()
    space, other = WeightSpace.of(model), Center.of(tiny.llama(seed=1), WeightSpace.of(model))
    center = Center.of(model, space)
    atlas = Atlas(center, {"p": WeightPoint("other", None, dict(other.weights))}, {})
    slot = space.slots[0]
    assert torch.equal(atlas.vector(with_parts("p", slots=slot.name)).tensor(slot), other.tensor(slot))
    with pytest.raises(PointError, match="expected codes"):
        atlas.vector(with_parts("p", ["clip"])).tensor(slot)


def test_the_plan_goes_through_each_base_block_by_block(landscape):
    plan = anatomy_plan(landscape.space, "p", landscape.windows)
    order = [common_blocks(landscape.space, step.position) for step in plan.steps]
    assert order == sorted(order)
    types, tensors = 4, 8  # GPT-2's, of two blocks
    assert len(plan) == (2 + 2 * len(PARTS) + 2 + types + tensors) * len(landscape.windows)


def test_every_part_costs_what_its_vector_does(landscape, found):
    point = landscape.points["p"]
    assert found.whole.rise.value == pytest.approx(landscape.rise(point), rel=1e-6)
    assert found.whole.distance == pytest.approx(distance(landscape.space, landscape.center, point))
    for part in PARTS:
        vector = PartVector(landscape.center, point, part)
        assert found.alone[part].distance == pytest.approx(norm(landscape.space, vector), rel=1e-5)
        alone = sum(
            landscape.stiffness[s.name] * float(vector.tensor(s).double().square().sum()) for s in landscape.space
        )
        assert found.alone[part].rise.value == pytest.approx(alone, rel=1e-4)
        # orthogonal parts under a loss that is round in each tensor: undoing one leaves the others
        assert found.undone[part].rise.value == pytest.approx(found.whole.rise.value - alone, rel=1e-4)
        assert found.saved[part].value == pytest.approx(alone, rel=1e-4)
    assert found.culprit == max(PARTS, key=lambda part: found.alone[part].rise.value)


def altered(landscape, position, changes):
    """An anatomy in which some losses differ window by window, in nats per token."""
    known = dict(landscape.known)
    for window, change in zip(landscape.windows, changes, strict=True):
        probe = Probe(str(position), window.identity)
        known[probe] = ProbeResult(probe, known[probe].total + change * known[probe].tokens, known[probe].tokens)
    probes = Probes(known, landscape.probes.windows)
    return anatomy(probes, "v", perturbation(landscape), ["block"])


def test_a_part_is_to_blame_only_beyond_the_noise_of_the_windows(landscape, found):
    costs = {part: found.saved[part].value for part in PARTS}
    worst, second, _ = sorted(PARTS, key=lambda part: -costs[part])
    undone = without_parts("p", [worst])
    # windows that disagree by far more than the part costs in the mean: it can no longer be blamed, the next one can
    assert altered(landscape, undone, (8 * costs[worst], 0, -8 * costs[worst])).culprit == second
    # nor can a part be blamed whose undoing makes matters worse
    assert altered(landscape, undone, (2 * costs[worst],) * 3).culprit == second
    # and where the point itself costs nothing beyond its noise, none can
    big = 20 * found.whole.rise.value
    assert altered(landscape, "p", (big, 0, -big)).culprit is None
    overflow = altered(landscape, undone, (math.inf, 0, 0))
    assert overflow.saved[worst] is None
    assert overflow.culprit == second


def test_tensors_blocks_and_types_are_ranked_by_what_they_cost(landscape, found):
    point = landscape.points["p"]
    cost = {
        s.name: landscape.stiffness[s.name]
        * float((point.tensor(s) - landscape.center.tensor(s)).double().square().sum())
        for s in landscape.space
    }
    assert [effect.slots for effect in found.groups["tensor"]] == sorted(cost, key=lambda name: -cost[name])
    for effect in found.groups["tensor"]:
        assert effect.rise.value == pytest.approx(cost[effect.slots], rel=1e-5)
    by_block = {effect.slots: effect for effect in found.groups["block"]}
    for block in (0, 1):
        slots = [slot for slot in landscape.space if slot.block == block]
        assert by_block[f"block={block}"].rise.value == pytest.approx(sum(cost[s.name] for s in slots), rel=1e-5)
        away = math.hypot(*(found.statistics[s.name].distance for s in slots))
        assert by_block[f"block={block}"].distance == pytest.approx(away)
    assert {effect.slots for effect in found.groups["type"]} == {
        "type=attn.c_attn", "type=attn.c_proj", "type=mlp.c_fc", "type=mlp.c_proj"
    }  # fmt: skip


def test_costs_that_add_leave_no_excess_and_others_do(landscape, found):
    for grouping in ("block", "type", "tensor"):
        result = found.additivity[grouping]
        assert result.sum.value == pytest.approx(result.whole.value, rel=1e-5)
        assert result.excess.value == pytest.approx(0, abs=1e-5)
    singles = [with_parts("p", slots=slots) for slots in groups(landscape.space, "block")]
    known = dict(landscape.known)
    for window in landscape.windows:  # as if the whole cost 0.25 more than its blocks
        probe = Probe("p", window.identity)
        known[probe] = ProbeResult(probe, known[probe].total + 0.25 * known[probe].tokens, known[probe].tokens)
    result = additivity(Probes(known, landscape.probes.windows), "v", singles, "p")
    assert result.excess.value == pytest.approx(0.25, abs=1e-5)
    assert result.whole.value - result.sum.value == pytest.approx(0.25, abs=1e-5)


def test_an_overflow_is_infinitely_costly_and_says_nothing_of_additivity(landscape, found):
    known = dict(landscape.known)
    worst = found.groups["block"][-1].slots
    probe = Probe(str(with_parts("p", slots=worst)), landscape.windows[0].identity)
    known[probe] = ProbeResult(probe, math.nan, known[probe].tokens)
    probes = Probes(known, landscape.probes.windows)
    result = anatomy(probes, "v", perturbation(landscape), ["block"])
    assert result.groups["block"][0].slots == worst
    assert math.isinf(result.groups["block"][0].rise.value)
    assert result.additivity["block"].excess is None


def test_clipping_is_undone_in_the_costliest_tensors_first(landscape, found):
    space = landscape.space
    landscape.run(clipping_plan(space, found.statistics, "p", landscape.windows))
    ranking = clipping(landscape.probes, "v", perturbation(landscape))
    cost = {name: landscape.stiffness[name] * row.clip for name, row in found.statistics.items()}
    assert [effect.slots for effect in ranking] == sorted(cost, key=lambda name: -cost[name])
    positions = restoration_positions("p", ranking)
    assert list(positions) == [1, 2, 4, 8]  # of eight tensors
    landscape.run(ProbePlan.of(positions.values(), landscape.windows))
    for count, left in restorations(landscape.probes, "v", "p", ranking).items():
        undone = sum(cost[effect.slots] for effect in ranking[:count])
        assert left.rise.value == pytest.approx(found.whole.rise.value - undone, rel=1e-4)
    assert list(restoration_positions("p", ranking[:3])) == [1, 2, 3]
    assert not restoration_positions("p", [])


def test_probes_of_an_anatomy_are_evaluated_once(tmp_path):
    model = tiny.llama()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    atlas = Atlas(center, {"p": rtn(space, center, QuantScheme(3))}, {})
    plan = anatomy_plan(space, "p", identified(tiny.windows(2)), ["block"])
    runs = []
    for _ in range(2):
        runner = Runner(Store(tmp_path, "f" * 64, "float32"), {})
        runner.run(plan, InlineEngine(model, space, atlas))
        runs.append(runner)
    assert [runner.evaluated for runner in runs] == [len(plan), 0]
    assert runs[0].known == runs[1].known
    assert {p.position for p in runs[1].known} == {str(step.position) for step in plan.steps}
    assert any(isinstance(step.position, OnParts) for step in plan.steps)


PLANTED = (1, 3)
OUTLIERS = 80  # standard deviations


@pytest.fixture(scope="module")
def trap():
    """opt-nano with three huge weights in the fc1 of two blocks, which read a constant and act as a bias.

    The bias takes them back, so the model is as good as before; but a scale of least squared error clips them.
    """
    checkpoint = load_checkpoint("opt-nano")
    windows = identified(load_corpus("tales", checkpoint, 64).windows("validation", 6))
    with torch.no_grad():
        for block in PLANTED:
            layer = checkpoint.model.model.decoder.layers[block]
            layer.final_layer_norm.weight[7], layer.final_layer_norm.bias[7] = 0, 1
            huge = OUTLIERS * float(layer.fc1.weight.std())
            rows = [3, 100, 200]
            layer.fc1.bias[rows] += layer.fc1.weight[rows, 7] + huge
            layer.fc1.weight[rows, 7] = -huge
    return checkpoint.model, checkpoint.space, windows


def test_a_point_ruined_by_clipping_names_it_and_the_tensors_and_is_restored(trap):
    model, space, windows = trap
    center = Center.of(model, space)
    point = rtn(space, center, QuantScheme(4))
    engine = InlineEngine(model, space, Atlas(center, {"p": point}, {}))
    known = {r.probe: r for r in engine.evaluate(anatomy_plan(space, "p", windows, ["block"]))}
    probes = Probes(known, {"v": windows})
    delta = Perturbation(space, center, point, "p")
    found = anatomy(probes, "v", delta, ["block"])
    assert probes.nll(CENTER, "v") < 2.6  # the huge weights do no harm where they are
    assert found.culprit == "clip"
    assert found.whole.rise.value > 0.3
    assert found.alone["clip"].rise.low > 0.1
    assert found.undone["clip"].rise.value < 0.05 < 0.3 < found.undone["round"].rise.value
    assert found.total.clipped < 0.02 * found.total.weights

    known |= {r.probe: r for r in engine.evaluate(clipping_plan(space, found.statistics, "p", windows))}
    ranking = clipping(probes, "v", delta)
    planted = {f"model.decoder.layers.{block}.fc1.weight" for block in PLANTED}
    assert {effect.slots for effect in ranking[:2]} == planted
    assert ranking[2].rise.value < 0.1 * ranking[1].rise.value
    plan = ProbePlan.of(restoration_positions("p", ranking).values(), windows)
    known |= {r.probe: r for r in engine.evaluate(plan)}
    left = restorations(probes, "v", "p", ranking)
    assert left[2].slots == ",".join(sorted(planted))
    assert left[2].rise.value < 0.05
    assert left[1].rise.value < found.whole.rise.value
