import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from landscape.positions.parts import PARTS, combined, decompose, part_statistics
from quant.center import Center
from quant.errors import PointError
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace, distance, dot, norm
from quant.statistics import grid_statistics
from tests import tiny
from tests.landscape.part_vector import PartVector, part_of

SCHEMES = [
    QuantScheme(2),
    QuantScheme(4),
    QuantScheme(3, granularity="channel"),
    QuantScheme(3, granularity="group:8"),
    QuantScheme(4, "absmax", "channel", symmetric=False),
    QuantScheme(8, "absmax"),
    QuantScheme.of_format("fp8"),
]


def setting(architecture, scheme):
    model = tiny.ARCHITECTURES[architecture]()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    return space, center, rtn(space, center, scheme)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_the_parts_are_orthogonal_and_sum_to_the_perturbation(architecture, scheme):
    space, center, point = setting(architecture, scheme)
    for slot in space:
        w, q = (v.tensor(slot).double().numpy() for v in (center, point))
        parts = {part: PartVector(center, point, part).tensor(slot).double().numpy() for part in PARTS}
        eps = np.abs(q - w).max() * 1e-5
        assert np.allclose(sum(parts.values()), q - w, atol=eps)
        lengths = {part: np.linalg.norm(values) for part, values in parts.items()}
        for a, b in (("shrink", "round"), ("shrink", "clip"), ("round", "clip")):
            assert abs((parts[a] * parts[b]).sum()) <= 1e-5 * lengths[a] * np.linalg.norm(q - w) + 1e-12
        assert not (parts["clip"] * parts["round"]).any()


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_parts_of_a_tensor_match_float64_by_hand(architecture):
    scheme = QuantScheme(3)
    space, center, point = setting(architecture, scheme)
    found = part_statistics(space, center, point)
    for slot in space:
        w, q = (v.tensor(slot).double().numpy() for v in (center, point))
        end = 3.5 * float(point.parts[slot.name].scale)
        clipped = np.abs(w) > end
        delta, inside = q - w, np.where(clipped, 0, w)
        beta = -(delta * inside).sum() / (inside**2).sum()
        row = found[slot.name]
        assert (row.weights, row.clipped) == (w.size, clipped.sum())
        assert clipped.any()
        assert row.shrinkage == pytest.approx(beta, abs=1e-6)
        assert row.norm("clip") == pytest.approx(np.linalg.norm(delta[clipped]), rel=1e-5)
        assert row.norm("shrink") == pytest.approx(abs(beta) * np.linalg.norm(inside), rel=1e-4)
        rest = np.where(clipped, 0, delta + beta * w)
        assert row.norm("round") == pytest.approx(np.linalg.norm(rest), rel=1e-5)
        assert sum(row.share(part) for part in PARTS) == pytest.approx(1)
        assert row.distance == pytest.approx(np.linalg.norm(delta), rel=1e-6)


def test_weights_of_a_float_format_are_clipped_half_of_the_last_step_beyond_its_last_level():
    _, center, point = setting("gpt2", QuantScheme.of_format("nvfp4"))
    slot = next(iter(WeightSpace.of(tiny.gpt2())))
    part = point.grid_tensor(slot)
    low = replace(part.grid, scale=0.5 * part.grid.scale)  # where E2M1's 6 stands for half as much
    halved = replace(point, parts={**point.parts, slot.name: low.quantize(center.tensor(slot))})
    found = decompose(slot, center, halved)
    w, scale = center.tensor(slot).numpy(), low.scale.numpy().repeat(16, axis=slot.input_dim)
    assert (found.clipped.numpy() == (np.abs(w) > 7.0001 * scale)).all()
    assert found.clipped.any()


def test_optimal_rounding_shrinks_by_the_square_of_the_perturbation():
    # ⟨Q(w), Δw⟩ = 0 at the scale of least error, so −⟨w, Δw⟩ = ‖Δw‖²: what clipping does not take of it is shrinkage
    space, center, point = setting("llama", QuantScheme(2))
    found = part_statistics(space, center, point)
    for slot in space:
        w, q = (v.tensor(slot).double().numpy() for v in (center, point))
        clipped = decompose(slot, center, point).clipped.numpy()
        by_clipping = -((q - w)[clipped] * w[clipped]).sum()
        assert found[slot.name].inward + by_clipping == pytest.approx(((q - w) ** 2).sum(), rel=1e-4)


def test_the_statistics_of_all_tensors_are_those_of_the_whole_vector():
    space, center, point = setting("gpt2", QuantScheme(3))
    total = combined(part_statistics(space, center, point).values())
    assert total.distance == pytest.approx(distance(space, center, point))
    for part in PARTS:
        assert total.norm(part) == pytest.approx(norm(space, PartVector(center, point, part)), rel=1e-5)
    shrink = PartVector(center, point, "shrink")
    assert dot(space, center, shrink) < 0
    assert total.clipped == sum(row.clipped for row in grid_statistics(space, center, point).values())


def test_moving_a_matrix_by_no_part_leaves_it_and_by_all_is_the_point_to_the_bit():
    space, center, point = setting("gpt2", QuantScheme(3))
    for slot in space:
        found, w, q = decompose(slot, center, point), center.tensor(slot), point.tensor(slot)
        assert torch.equal(found.with_parts([]), w)
        assert torch.equal(found.with_parts(PARTS), q)
        for kept in ([part] for part in PARTS):
            moved = w.double() + sum(part_of(found, part).double() for part in kept)
            assert torch.allclose(found.with_parts(kept).double(), moved, rtol=0, atol=1e-7)
            undone = q.double() - sum(part_of(found, part).double() for part in kept)
            others = [part for part in PARTS if part not in kept]
            assert torch.allclose(found.with_parts(others).double(), undone, rtol=0, atol=1e-7)


def test_nothing_is_clipped_where_the_grid_reaches_the_greatest_weight():
    space, center, point = setting("llama", QuantScheme(4, "absmax"))
    total = combined(part_statistics(space, center, point).values())
    assert (total.clipped, total.clip) == (0, 0.0)


def test_a_zero_matrix_has_no_parts():
    space, center, _ = setting("llama", QuantScheme(4))
    zero = Center({name: torch.zeros_like(w) for name, w in center.weights.items()})
    found = part_statistics(space, zero, rtn(space, zero, QuantScheme(4)))
    assert all(row.distance == 0 and math.isnan(row.share("clip")) for row in found.values())


def test_a_point_on_no_grid_has_no_parts():
    space, center, _ = setting("llama", QuantScheme(4))
    with pytest.raises(PointError, match="expected codes"):
        part_statistics(space, center, WeightPoint("other", None, dict(center.weights)))
