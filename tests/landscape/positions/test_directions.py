import math
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from landscape.positions import directions
from landscape.positions.directions import (
    Along,
    Filter,
    Layers,
    Profile,
    RandomFamily,
    Shrink,
    Sphere,
    family_of,
    moved_tensors,
    noise,
)
from quant.center import Center
from quant.errors import UsageError
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import Difference, WeightSpace
from tests import tiny


@pytest.fixture(scope="module", params=tiny.ARCHITECTURES)
def space_and_center(request):
    model = tiny.ARCHITECTURES[request.param]()
    space = WeightSpace.of(model)
    return space, Center.of(model, space)


def flat(space, vector):
    return np.concatenate([vector.tensor(slot).numpy().astype(np.float64).ravel() for slot in space])


def test_a_direction_has_one_global_norm_and_each_tensor_its_share(space_and_center):
    space, _ = space_and_center
    shares = np.zeros(len(space.slots))
    for index in range(40):
        direction = Sphere(space).draw(index)
        squares = np.array([float(direction.tensor(s).double().square().sum()) for s in space])
        assert squares.sum() == pytest.approx(1, abs=1e-6)
        shares += squares / 40
    expected = np.array([slot.size / space.dimension for slot in space])
    # the share of n coordinates is Beta(n/2, (D-n)/2): five standard deviations of its mean over 40 draws
    tolerance = 5 * np.sqrt(2 * expected * (1 - expected) / space.dimension / 40)
    assert (np.abs(shares - expected) < tolerance).all()


def test_tensors_directions_and_seeds_are_uncorrelated(space_and_center):
    space, _ = space_and_center
    same_shape = [s for s in space if s.shape == space.slots[0].shape]
    draws = [noise(s, 0, 0).ravel() for s in same_shape]
    draws += [noise(same_shape[0], 0, 1).ravel(), noise(same_shape[0], 1, 0).ravel()]
    correlations = np.corrcoef(np.array(draws))
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 5 / math.sqrt(same_shape[0].size)


def test_the_sphere_is_isotropic_and_gaussian():
    slot = WeightSpace.of(tiny.opt()).slots[0]
    draws = np.array([noise(slot, 3, i).numpy().ravel() for i in range(400)])
    assert abs(draws.mean()) < 5 / math.sqrt(draws.size)
    assert abs(draws.var() - 1) < 5 * math.sqrt(2 / draws.size)
    assert abs((draws**4).mean() - 3) < 5 * math.sqrt(96 / draws.size)  # kurtosis: U[0, 1] or ±1 would show here


def test_a_direction_depends_on_seed_index_and_name_alone(space_and_center):
    space, _ = space_and_center
    torch.manual_seed(0)
    first = flat(space, Sphere(space, 5).draw(2))
    torch.manual_seed(99)
    np.random.seed(99)
    assert np.array_equal(first, flat(space, Sphere(space, 5).draw(2)))
    assert abs(first @ flat(space, Sphere(space, 5).draw(3))) < 5 / math.sqrt(space.dimension)


def test_known_values_are_the_same_on_every_machine():
    # Box and Muller in float64 on Philox's words, keyed by ("direction", 7, 3, name): see tests/quant/test_normals.py
    slot = WeightSpace.of(tiny.opt()).slots[0]
    assert slot.name == "model.decoder.layers.0.self_attn.k_proj.weight"
    assert noise(slot, 7, 3)[0, :3].tolist() == pytest.approx(KNOWN, abs=1e-6)


KNOWN = [-0.30222952, -0.10511022, -0.7122832]


def test_profile_copies_the_norm_of_a_perturbation_in_every_tensor(space_and_center):
    space, center = space_and_center
    delta = Difference(center, rtn(space, center, QuantScheme(2)))
    total = math.sqrt(sum(float(delta.tensor(s).double().square().sum()) for s in space))
    direction = Profile(space, delta, "x").draw(0)
    for slot in space:
        expected = float(delta.tensor(slot).double().norm()) / total
        assert float(direction.tensor(slot).double().norm()) == pytest.approx(expected, rel=1e-5)


def test_filter_norms_run_over_the_inputs_of_each_output_channel(space_and_center):
    space, center = space_and_center
    direction = Filter(space, center).draw(0)
    for slot in space:
        w, e = (v.tensor(slot).double().numpy() for v in (center, direction))
        if slot.transposed:  # Conv1D stores (in, out)
            w, e = w.T, e.T
        ratio = np.linalg.norm(e, axis=1) / np.linalg.norm(w, axis=1)
        assert ratio == pytest.approx(np.full_like(ratio, ratio[0]), rel=1e-4)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_shrink_copies_norm_and_angle_with_w_in_every_tensor_and_nothing_else(space_and_center):
    space, center = space_and_center
    point = rtn(space, center, QuantScheme(2))
    delta = Difference(center, point)
    total = float(np.linalg.norm(flat(space, delta)))
    first, second = (Shrink(space, center, delta, "x").draw(index) for index in range(2))
    for slot in space:
        w, d, e, other = (v.tensor(slot).double().numpy().ravel() for v in (center, delta, first, second))
        assert cosine(d, w) < -0.1  # rounding at the exact scale shrinks
        assert cosine(e, w) == pytest.approx(cosine(d, w), abs=1e-6)
        assert np.linalg.norm(e) == pytest.approx(np.linalg.norm(d) / total, rel=1e-5)
        along = cosine(d, w) ** 2  # what two draws share
        assert abs(cosine(e, other) - along) < 5 / math.sqrt(slot.size)
        assert abs(cosine(e, d) - along) < 5 / math.sqrt(slot.size)


def test_layers_is_the_sphere_inside_and_zero_outside(space_and_center):
    space, _ = space_and_center
    slot = space.slots[3]
    inside = [s for s in space if s.name == slot.name]
    direction, whole = Layers(space, f"*{slot.name[4:]}", 5).draw(1), Sphere(space, 5).draw(1)
    assert all(bool(direction.tensor(s).any()) == (s in inside) for s in space)
    assert np.linalg.norm(flat(space, direction)) == pytest.approx(1, abs=1e-6)
    pair = [v.tensor(slot).double().numpy().ravel() for v in (direction, whole)]
    assert cosine(*pair) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(flat(space, Layers(space, "*", 5).draw(1)), flat(space, whole))


def test_along_is_the_vector_itself(space_and_center):
    space, center = space_and_center
    delta = Difference(center, rtn(space, center, QuantScheme(2)))
    family = Along(space, delta, "x")
    expected = flat(space, delta) / np.linalg.norm(flat(space, delta))
    assert flat(space, family.draw(0)) == pytest.approx(expected, abs=1e-7)
    with pytest.raises(UsageError, match="expected direction 0 along x"):
        family.draw(1)
    with pytest.raises(UsageError, match="expected a vector that is not zero"):
        Along(space, Difference(center, center), "w").draw(0)


def test_families_by_name(space_and_center):
    space, center = space_and_center
    found = [family_of(text, space, center, 3) for text in ("sphere", "filter", "layer:block=0")]
    assert [type(family) for family in found] == [Sphere, Filter, Layers]
    drawn = "seed=3/draw=2"  # positions along the first draw, without its version, are never taken for these
    assert [family.name for family in found] == [f"sphere/{drawn}", f"filter/{drawn}", f"layer:block=0/{drawn}"]
    assert [moved_tensors(family.name) for family in found] == [None, None, "block=0"]
    names = {Profile(space, center, "a").name, Shrink(space, center, center, "a").name, Along(space, center, "a").name}
    assert len(names) == 3
    for wrong in ("spheres", "layer", "layer:"):
        with pytest.raises(UsageError, match="expected sphere, filter or layer:TENSORS"):
            family_of(wrong, space, center, 0)
    with pytest.raises(UsageError, match="which selects none"):
        family_of("layer:nothing", space, center, 0)


def test_a_family_needs_to_say_only_how_it_shapes_the_noise(space_and_center):
    space, _ = space_and_center

    class Cubed(RandomFamily):
        name, seed = "cubed/seed=2", 2

        def shaped(self, slot, normals):
            return normals**3

    cubed, sphere = (flat(space, family.draw(1)) for family in (Cubed(space), Sphere(space, 2)))
    assert np.linalg.norm(cubed) == pytest.approx(1, abs=1e-6)
    assert cosine(cubed, sphere**3) == pytest.approx(1, abs=1e-6)


def test_a_seed_without_a_default_must_be_given(space_and_center):
    @dataclass(frozen=True)
    class Seeded(RandomFamily):
        seed: int

        @property
        def name(self):
            return f"seeded/seed={self.seed}"

        def shaped(self, slot, normals):
            return normals

    space, _ = space_and_center
    with pytest.raises(TypeError, match="seed"):
        Seeded(space)
    np.testing.assert_array_equal(flat(space, Seeded(space, 2).draw(1)), flat(space, Sphere(space, 2).draw(1)))


@pytest.mark.parametrize("kind", ["sphere", "filter", "layer:block=0", "profile", "shrink"])
def test_a_direction_drawn_wherever_it_is_read_is_the_one_held(space_and_center, kind, monkeypatch):
    space, center = space_and_center
    delta = Difference(center, rtn(space, center, QuantScheme(2)))
    by_point = {"profile": Profile(space, delta, "x", 1), "shrink": Shrink(space, center, delta, "x", 1)}
    family = by_point[kind] if kind in by_point else family_of(kind, space, center, 1)
    held = family.draw(2, center)
    assert set(held.parts) == {slot.name for slot in space}
    monkeypatch.setattr(directions, "made_on", lambda device: True)  # as on a CUDA device with Triton
    redrawn = family.draw(2, center)
    assert not redrawn.parts
    assert redrawn.factor == held.factor
    for slot in space:
        assert torch.equal(redrawn.tensor(slot), held.tensor(slot))
        assert torch.equal(redrawn.tensor(slot), family.part(slot, 2) * held.factor)


def test_a_given_vector_is_held_on_any_device(space_and_center, monkeypatch):
    space, center = space_and_center
    monkeypatch.setattr(directions, "made_on", lambda device: True)
    assert set(Along(space, center, "w").draw(0, center).parts) == {slot.name for slot in space}


def test_the_number_of_threads_changes_no_bit(space_and_center):
    space, center = space_and_center
    for family in (Sphere(space), Filter(space, center), Layers(space, "block=0")):
        alone, shared = (family.draw(1, threads=threads) for threads in (1, 3))
        assert alone.factor == shared.factor
        assert all(torch.equal(alone.raw(slot), shared.raw(slot)) for slot in space)
    with pytest.raises(CancelledError):
        Sphere(space).draw(0, stopped=lambda: True)


def test_a_direction_lies_beside_the_weights(space_and_center):
    space, center = space_and_center
    parts = Filter(space, center).parts(0, space.slots, dict.fromkeys([s.name for s in space], META), 1, lambda: False)
    assert {part.device for part in parts.values()} == {META}
    assert Filter(space, center).part(space.slots[0], 0, META).device == META
    assert {v.device for v in Sphere(space).draw(0, center).parts.values()} == {torch.device("cpu")}


META = torch.device("meta")


@pytest.mark.parametrize("kind", ["profile", "shrink"])
def test_a_perturbation_is_read_once_though_its_directions_are_drawn_again(space_and_center, kind):
    space, center = space_and_center
    point, read = rtn(space, center, QuantScheme(3)), []

    class Stored:
        def tensor(self, slot):
            read.append(slot.name)
            return point.tensor(slot)

    delta = Difference(center, Stored())
    family = Profile(space, delta, "p") if kind == "profile" else Shrink(space, center, delta, "p")
    slot = space.slots[0]
    first, again, other = (family.part(slot, index) for index in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    family.draw(2)
    assert sorted(read) == sorted(each.name for each in space)
