import threading
import time
from weakref import finalize

import numpy as np
import pytest
import torch

from landscape.positions import directions, drawing
from landscape.positions.atlas import Atlas
from landscape.positions.directions import Along, Filter, Sphere
from landscape.positions.drawing import HeldDirection, spare_cores
from landscape.positions.position import CENTER, At, OnRay
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, identified, point_plan, ray_plan
from quant.center import Center
from quant.errors import UsageError
from quant.space import Difference, WeightSpace
from tests import tiny


class Setting:
    """A model, two families, and a plan that changes direction and family."""

    def __init__(self):
        self.model = tiny.llama()
        self.space = WeightSpace.of(self.model)
        self.center = Center.of(self.model, self.space)
        self.families = {f.name: f for f in (Sphere(self.space), Filter(self.space, self.center))}
        self.sphere, self.filter = self.families.values()
        self.windows = identified(tiny.windows(2))
        rays = [ray_plan(f, 3, [0.5, 2.0], self.windows, pairs=True) for f in self.families.values()]
        self.plan = point_plan([CENTER], self.windows) + rays[0] + point_plan([CENTER], self.windows) + rays[1]
        self.held = HeldDirection()

    def engine(self, families=None):
        return InlineEngine(self.model, self.space, Atlas(self.center, {}, families or self.families, self.held))

    def losses(self, plan=None):
        return [result.total for result in self.engine().evaluate(plan or self.plan)]


@pytest.fixture
def setting():
    return Setting()


@pytest.fixture(params=[0, 1, 3], ids=["no spare core", "one", "three"])
def spare(request, monkeypatch):
    monkeypatch.setattr(drawing, "spare_cores", lambda: request.param)
    return request.param


@pytest.fixture
def draws(monkeypatch):
    """Every draw: index and thread."""
    found, many = [], directions.many_normals

    def counting(streams, threads, stopped):
        streams = list(streams)
        found.append((streams[0][1][2], threading.current_thread().name))
        return many(streams, threads, stopped)

    monkeypatch.setattr(directions, "many_normals", counting)
    return found


def background():
    return [thread for thread in threading.enumerate() if thread.name.startswith("draw-ahead")]


def test_the_numbers_are_the_same_however_many_cores_are_spare(setting, spare, draws):
    expected = []
    for step in setting.plan.steps:  # one engine per step, which expects nothing
        setting.held = HeldDirection()
        expected += setting.losses(ProbePlan((step,)))
    setting.held = HeldDirection()
    draws.clear()
    assert setting.losses() == expected
    assert [index for index, _ in draws] == [0, 1, 2, 0, 1, 2]
    assert all(name.startswith("draw-ahead") == (spare > 0) for _, name in draws)
    assert not background()


def test_each_direction_is_released_once_its_last_weights_are_written(setting, spare, monkeypatch):
    alive, most = set(), 0

    class Watched(Sphere):
        def draw(self, index, *rest):
            nonlocal most
            drawn = super().draw(index, *rest)
            alive.add(index)
            most = max(most, len(alive))
            part = drawn.parts[self.space.slots[0].name]
            finalize(part, alive.discard, index)
            return drawn

    family = Watched(setting.space)
    engine = setting.engine({family.name: family})
    for result in engine.evaluate(ray_plan(family, 4, [0.5, 1.0], setting.windows)):
        index, lam = result.probe.position.split("/")[-2:]
        if lam == "lam=" + (1.0).hex() and index != "index=3":
            assert int(index.removeprefix("index=")) not in alive
    assert most == 1


def test_the_last_direction_is_kept_for_the_next_plan(setting, spare, draws):
    for lam in (0.1, 0.2, 0.3):
        setting.losses(ray_plan(setting.sphere, 1, [lam], setting.windows))
    assert [index for index, _ in draws] == [0]
    setting.held.release()
    setting.losses(ray_plan(setting.sphere, 1, [0.4], setting.windows))
    assert [index for index, _ in draws] == [0, 0]


def test_an_error_of_the_background_is_raised_where_its_direction_is_needed(setting, spare):
    null = Along(setting.space, Difference(setting.center, setting.center), "nothing")
    families = {**setting.families, null.name: null}
    plan = ray_plan(setting.sphere, 1, [0.5], setting.windows)
    plan += ProbePlan.of([OnRay(null.name, 0, 1.0)], setting.windows)
    found = []
    with pytest.raises(UsageError, match="expected a vector that is not zero"):
        found.extend(setting.engine(families).evaluate(plan))
    assert len(found) == 2  # what came before is not lost
    assert not background()
    assert setting.losses(plan=ray_plan(setting.sphere, 1, [0.5], setting.windows)) == [r.total for r in found]


def test_a_plan_closed_early_stops_the_draw_and_its_thread(setting, monkeypatch):
    monkeypatch.setattr(drawing, "spare_cores", lambda: 1)
    begun, many = threading.Event(), directions.many_normals

    def endless(streams, threads, stopped):
        if threading.current_thread() is threading.main_thread():
            return many(streams, threads, stopped)
        begun.set()
        while not stopped():
            time.sleep(0.001)
        return many(streams, threads, stopped)

    monkeypatch.setattr(directions, "many_normals", endless)
    generator = setting.engine().evaluate(ray_plan(setting.sphere, 2, [0.5], setting.windows))
    next(generator)
    assert begun.wait(10)
    assert background()
    generator.close()
    assert not background()
    assert all(torch.equal(p, setting.center.tensor(s)) for s, p in setting.space.weights(setting.model))
    generator = setting.engine().evaluate(ray_plan(setting.sphere, 2, [0.5], setting.windows))
    next(generator)
    with pytest.raises(KeyboardInterrupt):
        generator.throw(KeyboardInterrupt)
    assert not background()


def test_what_is_drawn_on_the_device_is_not_drawn_ahead(setting, monkeypatch):
    monkeypatch.setattr(drawing, "spare_cores", lambda: 4)
    expected = setting.losses()
    setting.held = HeldDirection()
    monkeypatch.setattr(directions, "made_on", lambda device: True)
    started = []
    monkeypatch.setattr(drawing, "_Draw", lambda *arguments: started.append(arguments))
    assert setting.losses() == expected
    assert not started


def test_a_position_that_was_expected_but_is_not_read_costs_nothing(setting, spare, draws):
    atlas = Atlas(setting.center, {}, setting.families)
    slot = setting.space.slots[0]
    name = setting.sphere.name
    expected = setting.sphere.draw(2).tensor(slot)
    with atlas.drawing_ahead():
        for position in (OnRay(name, 1, 0.5), At(CENTER), None, OnRay("unknown", 0, 1.0)):
            atlas.expect(position)
        found = atlas.vector(OnRay(name, 2, 1.0)).tensor(slot) - setting.center.tensor(slot)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not background()


def test_spare_cores_are_those_that_torch_leaves(monkeypatch):
    monkeypatch.setattr(drawing, "usable_cores", lambda: 3)
    for threads, spare in ((1, 2), (3, 0), (4, 0)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert spare_cores() == spare
