"""The actors of Ray give the inline engine's losses to the bit, for every kind of position and family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from landscape.positions.atlas import Atlas
from landscape.positions.direction import Direction
from landscape.positions.directions import Along, Family, Filter, Layers, Profile, Shrink, Sphere
from landscape.positions.position import CENTER, At, OnPlane, OnSegment, with_parts, without_parts
from landscape.probing.engines import ray_worker
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.engines.ray import RayActors, RayEngine, RayOptions
from landscape.probing.engines.shipping import PackedModel, PackedTensor
from landscape.probing.plan import Fidelity, ProbePlan, ProbeResult, Window, identified, ray_plan
from landscape.session.request import ProbingRequest
from landscape.session.session import find_engine
from quant.center import Center
from quant.errors import ToolkitError, UsageError
from quant.hashing import tensor_bytes
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import Difference, WeightSpace
from tests import tiny

RAY = pytest.importorskip("ray")
Maker = Callable[..., RayEngine]


@dataclass(frozen=True)
class Broken(Sphere):
    """Directions that cannot be drawn."""

    @property
    def name(self) -> str:
        return "broken"

    def draw(self, index: int, *_: object, **__: object) -> Direction:
        raise ValueError(f"no direction {index}\nand a second line")


class Setting:
    """A tiny model with points on and off grids, and families that hold vectors."""

    def __init__(self) -> None:
        self.model = tiny.llama()
        self.space = WeightSpace.of(self.model)
        self.center = center = Center.of(self.model, self.space)
        on_grid = rtn(self.space, center, QuantScheme(3, "absmax", "group:8", False))
        floats = rtn(self.space, center, QuantScheme(2))
        self.points = {"grid": on_grid, "floats": Difference(Difference(center, floats), center)}
        delta = Difference(center, on_grid)
        families: list[Family] = [
            Sphere(self.space), Filter(self.space, center), Layers(self.space, "block=1"),
            Profile(self.space, delta, "grid"), Shrink(self.space, center, delta, "grid"),
            Along(self.space, delta, "grid"), Broken(self.space),
        ]  # fmt: skip
        self.families = {family.name: family for family in families}
        self.windows = identified(tiny.windows(5))

    @property
    def atlas(self) -> Atlas:
        return Atlas(self.center, self.points, self.families)

    def plan(self) -> ProbePlan:
        positions = [
            At(CENTER), At("grid"), At("floats"), OnSegment(CENTER, "grid", 0.3), OnSegment("floats", "grid", 1.1),
            OnPlane("grid", "floats", 0.25, -0.5), with_parts("grid", ("clip",), "block=1"),
            without_parts("grid", ("clip",)),
        ]  # fmt: skip
        rays = [
            ray_plan(family, 1 if isinstance(family, Along) else 3, [0.5, 2.0], self.windows, pairs=True)
            for family in self.families.values()
            if not isinstance(family, Broken)
        ]
        return sum(rays, ProbePlan.of(positions, self.windows, fidelity=True))


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting()


@pytest.fixture(scope="module")
def warnings() -> list[str]:
    return []


@pytest.fixture(scope="module")
def make(warnings: list[str]) -> Iterator[Maker]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with RayActors(RayOptions(workers=2), warnings.append) as make:
        yield make
    torch.set_num_threads(before)
    assert not RAY.is_initialized()


def as_set(results: Iterator[ProbeResult]) -> dict[str, tuple[str, int, Fidelity | None]]:
    found = {f"{r.probe.position} {r.probe.window}": (r.total.hex(), r.tokens, r.fidelity) for r in results}
    assert found
    return found


def test_losses_are_the_inline_engines_to_the_bit_and_the_model_stays(make: Maker, setting: Setting) -> None:
    before = [bytes(tensor_bytes(p)) for p in setting.model.parameters()]
    plan, engine = setting.plan(), make(setting.model, setting.space, setting.atlas)
    inline = as_set(InlineEngine(setting.model, setting.space, setting.atlas).evaluate(plan))
    assert len(inline) == len(plan)
    assert as_set(engine.evaluate(plan)) == inline
    in_batches = as_set(InlineEngine(setting.model, setting.space, setting.atlas, 2).evaluate(plan))
    again = make(setting.model, setting.space, setting.atlas, 2)  # the second plan of a session, on the same actors
    assert as_set(again.evaluate(plan)) == in_batches
    assert [bytes(tensor_bytes(p)) for p in setting.model.parameters()] == before


def test_an_error_of_ours_comes_back_as_it_is(make: Maker, setting: Setting) -> None:
    along = next(family for family in setting.families.values() if isinstance(family, Along))
    plan = ProbePlan.of(
        [step.position for step in ray_plan(along, 2, [0.5], setting.windows).steps][1:], setting.windows
    )
    with pytest.raises(UsageError, match="expected direction 0 along grid, which is the only one, got 1"):
        list(make(setting.model, setting.space, setting.atlas).evaluate(plan))


def test_an_error_of_another_kind_is_one_line_with_its_cause(make: Maker, setting: Setting) -> None:
    plan = ray_plan(setting.families["broken"], 1, [0.5], setting.windows)
    with pytest.raises(ToolkitError) as failed:
        list(make(setting.model, setting.space, setting.atlas).evaluate(plan))
    assert "one failed with ValueError: no direction 0; evaluated probes are kept" in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_plan_without_probes_asks_nobody(setting: Setting) -> None:
    with RayActors(RayOptions(workers=99), print) as make:
        engine = make(setting.model, setting.space, setting.atlas)
        assert not list(engine.evaluate(ProbePlan(())))
        assert engine.actors.count == 0


def test_actors_that_die_hand_their_work_on_and_the_last_is_an_error(
    make: Maker, setting: Setting, warnings: list[str]
) -> None:
    """Last in this file: it leaves no actor alive."""
    engine, plan = make(setting.model, setting.space, setting.atlas), setting.plan()
    inline = as_set(InlineEngine(setting.model, setting.space, setting.atlas).evaluate(plan))
    RAY.kill(engine.actors.idle[0])
    assert as_set(engine.evaluate(plan)) == inline
    assert len(warnings) == 1
    assert "an actor of Ray died, and its work goes to the 1 left" in warnings[0]
    RAY.kill(engine.actors.idle[0])
    with pytest.raises(ToolkitError, match="expected an actor of Ray that lives, all have died, the last of"):
        list(engine.evaluate(plan))


# ---- without a cluster -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_model_is_the_same_model(architecture: str, dtype: torch.dtype) -> None:
    model = tiny.ARCHITECTURES[architecture]().to(dtype).requires_grad_(False)
    packed = PackedModel.of(model)
    assert all(tensor.is_meta for tensor in packed.skeleton.parameters())
    restored = packed.restored("cpu")
    theirs = dict(restored.named_parameters(remove_duplicate=False)) | dict(restored.named_buffers())
    mine = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    assert theirs.keys() == mine.keys()
    for name, tensor in mine.items():
        assert bytes(tensor_bytes(theirs[name])) == bytes(tensor_bytes(tensor))
        assert (theirs[name].dtype, theirs[name].stride()) == (tensor.dtype, tensor.stride())
        assert theirs[name].data_ptr() != tensor.data_ptr() or not tensor.numel()
    assert len({id(p) for p in theirs.values()}) == len({id(p) for p in mine.values()})  # tied stays tied
    tokens = tiny.windows(1)
    assert torch.equal(model(tokens).logits, restored(tokens).logits)


@pytest.mark.parametrize(
    "tensor",
    [torch.linspace(-1, 1, 12).view(3, 4).T, torch.tensor(2.5), torch.zeros(0, 3), torch.arange(6)],
    ids=["transposed", "scalar", "empty", "integers"],
)
def test_a_packed_tensor_keeps_bits_and_layout(tensor: Tensor) -> None:
    restored = PackedTensor.of(tensor).restored("cpu")
    assert torch.equal(restored, tensor)
    assert (restored.stride(), restored.dtype) == (tensor.stride(), tensor.dtype)


def test_ray_that_is_not_installed_is_refused_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError) as refused:
        find_engine(ProbingRequest(engine="ray"), print)
    assert str(refused.value) == (
        "expected Ray with --engine ray, it is not installed; pip install 'quant-landscape[ray]'"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (RayOptions(address="ray://head:10001"), "expected host:port of the head node, or auto, in --ray-address"),
        (RayOptions(gpus=1.0), "got --device cpu and --ray-gpus 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(setting: Setting, options: RayOptions, words: str) -> None:
    with pytest.raises(UsageError) as refused, RayActors(options, print) as make:
        list(make(setting.model, setting.space, setting.atlas).evaluate(setting.plan()))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"torch": "0.1", "threads": 64}, r"one has torch 0\.1 in place of .*, threads 64 in place of"),
        ({"loss of a trial": "0x1.8p+6"}, r"one has loss of a trial 0x1\.8p\+6 in place of 0x1\."),
    ],
    ids=["versions", "kernels"],
)
def test_an_actor_that_computes_otherwise_is_refused(setting: Setting, theirs: dict[str, object], words: str) -> None:
    actors = RayActors(RayOptions(), print)
    here = ray_worker.circumstances(setting.model)
    actors._circumstances, actors._starting = here, {"reference": "actor"}

    class Cluster:
        exceptions = RAY.exceptions

        @staticmethod
        def get(reference: str) -> dict[str, object]:
            return {**here, **theirs}

    actors._ray = Cluster
    with pytest.raises(UsageError, match=words):
        actors.greet("reference", 0)


def test_a_plan_is_shipped_with_the_tokens_of_its_own_windows_alone() -> None:
    from landscape.probing.engines.shipping import PackedPlan

    rows = torch.arange(10_000).reshape(1000, 10)
    windows = tuple(Window(f"w{i}", row) for i, row in enumerate(rows))
    plan = ProbePlan.of([At(CENTER), At("p")], windows[3:5])
    packed = PackedPlan.of(plan)
    assert {key: tokens.base is None for key, tokens in packed.tokens.items()} == {"w3": True, "w4": True}
    restored = packed.restored()
    assert list(restored.probes()) == list(plan.probes())
    assert torch.equal(restored.steps[1].windows[1].tokens, rows[4])
