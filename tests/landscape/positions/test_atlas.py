import math

import numpy as np
import pytest
import torch

from landscape.positions.atlas import Atlas, Ray, Segment
from landscape.positions.directions import Sphere
from landscape.positions.position import CENTER, At, OnRay, OnSegment, on_segment
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, identified
from quant.center import Center
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import Difference, WeightSpace, distance, norm
from tests import tiny


@pytest.fixture(scope="module")
def setting():
    model = tiny.llama()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    return model, space, center, rtn(space, center, QuantScheme(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ratio", [1e-2, 0.2, 3.0])
def test_the_weights_written_lie_at_the_distance_asked_for(dtype, ratio):
    model = tiny.opt().to(dtype)
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    lam = ratio * norm(space, center)
    space.write(model, Ray(center, Sphere(space).draw(0), lam))
    moved = math.sqrt(
        sum(float((p.detach().double() - center.tensor(s).double()).square().sum()) for s, p in space.weights(model))
    )
    # bfloat16 rounds w + λe by up to 2^-9 of the weights: in quadrature where it is independent of e, and its chance
    # correlation with e is 1/√D
    relative = 0 if dtype == torch.float32 else 2**-9 * math.hypot(1, 1 / ratio)
    rounding = relative**2 + 3 * relative / math.sqrt(space.dimension)
    assert moved / lam == pytest.approx(1, abs=1e-4 + rounding)


def test_the_ends_of_a_segment_are_its_points_to_the_bit(setting):
    model, space, center, point = setting
    windows = identified(tiny.windows(2))
    atlas = Atlas(center, {"p": point}, {})
    engine = InlineEngine(model, space, atlas)
    for alpha, end in ((0.0, CENTER), (1.0, "p")):
        assert on_segment(CENTER, "p", alpha) == At(end)
        segment = Segment(center, point, alpha)
        assert all(torch.equal(segment.tensor(s), atlas.vector(At(end)).tensor(s)) for s in space)
        inside = [r.total for r in engine.evaluate(ProbePlan.of([OnSegment(CENTER, "p", alpha)], windows))]
        itself = [r.total for r in engine.evaluate(ProbePlan.of([At(end)], windows))]
        assert inside == itself


def test_a_segment_from_w_is_the_ray_along_its_perturbation(setting):
    _, space, center, point = setting
    away = distance(space, center, point)

    class Unit:
        def tensor(self, slot):
            return Difference(center, point).tensor(slot) / away

    for alpha in (-0.1, 0.3, 0.9, 1.1):
        segment, ray = Segment(center, point, alpha), Ray(center, Unit(), alpha * away)
        assert all(torch.allclose(segment.tensor(s), ray.tensor(s), atol=1e-7) for s in space)


def test_a_segment_matches_numpy_in_float64(setting):
    _, space, center, point = setting
    for slot in space:
        a, b = (v.tensor(slot).double().numpy() for v in (center, point))
        found = Segment(center, point, 0.35).tensor(slot).double().numpy()
        assert np.allclose(found, 0.65 * a + 0.35 * b, atol=1e-7)


def test_an_atlas_draws_a_direction_once_for_all_its_distances(setting):
    _, space, center, _ = setting
    drawn = []

    class Counting(Sphere):
        def draw(self, index, *rest):
            drawn.append(index)
            return super().draw(index, *rest)

    family = Counting(space)
    atlas = Atlas(center, {}, {family.name: family})
    for index in (0, 1):
        for lam in (0.1, 0.2, 0.3):
            atlas.vector(OnRay(family.name, index, lam))
    assert drawn == [0, 1]


def test_recipes_of_positions_differ_to_the_last_bit():
    lam = 0.1
    assert str(OnRay("sphere/seed=0", 0, lam)) != str(OnRay("sphere/seed=0", 0, math.nextafter(lam, 1)))
    assert str(OnSegment("w", "p", 0.5)) == "segment/w/p/alpha=0x1.0000000000000p-1"
