import math

import numpy as np
import pytest
import torch

from quant.center import Center
from quant.errors import PointError
from quant.grid import GridTensor, make_grid
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace
from quant.statistics import GridStatistics, grid_statistics, reference_scale, total
from tests import tiny

SLOT = Slot("w", (1, 5), False, 0, 0)


def test_by_hand() -> None:
    """Scale 1 at int3: 3.4 is within half a step of 3, −9 is not; 0.4 becomes 0."""
    center = Center({"w": torch.tensor([[3.4, -9.0, 0.4, 1.0, -2.25]])})
    scheme = QuantScheme(3, "absmax")
    part = GridTensor(torch.tensor([[3, -3, 0, 1, -2]], dtype=torch.int8), make_grid(SLOT, scheme, torch.ones(1, 1)))
    found = grid_statistics(WeightSpace((SLOT,)), center, WeightPoint("rtn", scheme, {"w": part}))["w"]
    assert (found.weights, found.zeros, found.clipped) == (5, 1, 1)
    assert found.squared_error == pytest.approx(0.4**2 + 6**2 + 0.4**2 + 0 + 0.25**2)
    scales = np.linspace(0.5, 4, 100_001)[:, None]
    weight = center.weights["w"].numpy()
    scan = np.square(np.clip(np.round(weight / scales), -3, 3) * scales - weight).sum(1).min()
    assert found.least_squared_error == pytest.approx(scan, rel=1e-6)
    assert found.over_optimum == pytest.approx(found.squared_error / scan, rel=1e-6)
    assert (found.zero_fraction, found.clipped_fraction) == (0.2, 0.2)


@pytest.mark.parametrize("make", tiny.ARCHITECTURES.values(), ids=tiny.ARCHITECTURES.keys())
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group:7"])
def test_the_exact_scale_is_the_optimum_and_absmax_clips_nothing(make, granularity: str) -> None:
    model = make()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    exact, full, asymmetric = (
        grid_statistics(space, center, rtn(space, center, QuantScheme(3, scale, granularity, symmetric)))
        for scale, symmetric in (("exact", True), ("absmax", True), ("absmax", False))
    )
    assert all(row.over_optimum == pytest.approx(1) for row in exact.values())
    assert all(row.over_optimum > 0.999 for row in full.values())  # of channels and groups the optimum is scanned for
    assert sum(row.clipped for row in exact.values()) > 0
    assert sum(row.clipped for row in full.values()) == 0
    assert sum(row.clipped for row in asymmetric.values()) <= 0.01 * space.dimension  # the rounding of the zero
    whole = total(full.values())
    assert whole.weights == space.dimension
    assert whole.zeros == sum(row.zeros for row in full.values())


@pytest.mark.parametrize(
    ("scheme", "scale"),
    [
        (QuantScheme(4, "absmax"), "exact"), (QuantScheme(4, "exact", "channel"), "exact"),
        (QuantScheme(4, "absmax", "group:7"), "mse"), (QuantScheme(8, "mse", "channel"), "mse"),
    ],
)  # fmt: skip
def test_a_point_is_compared_with_the_scale_that_is_named(scheme: QuantScheme, scale: str) -> None:
    model = tiny.llama()
    space, bits = WeightSpace.of(model), scheme.bits
    center = Center.of(model, space)
    found = grid_statistics(space, center, rtn(space, center, scheme))
    best = grid_statistics(space, center, rtn(space, center, QuantScheme(bits, scale, scheme.granularity)))
    assert reference_scale(scheme) == scale
    assert all(row.least_squared_error == pytest.approx(best[name].squared_error) for name, row in found.items())


def test_a_float_format_is_compared_with_no_other_scale_and_clips_beyond_half_its_last_step() -> None:
    """E2M1 at scale 1: 6.9 is within half a step, of 2, of the last level 6, and 7.1 is not; 0.2 becomes 0."""
    center = Center({"w": torch.tensor([[6.9, -7.1, 0.2, 5.1, *[0.0] * 28]])})
    scheme, slot = QuantScheme.of_format("mxfp4"), Slot("w", (1, 32), False, 0, 0)
    codes = torch.tensor([[7, -7, 0, 7, *[0] * 28]], dtype=torch.int8)
    part = GridTensor(codes, make_grid(slot, scheme, torch.ones(1, 1)))
    found = grid_statistics(WeightSpace((slot,)), center, WeightPoint("rtn", scheme, {"w": part}))["w"]
    assert (found.zeros, found.clipped) == (29, 1)
    assert found.squared_error == pytest.approx(0.9**2 + 1.1**2 + 0.2**2 + 0.9**2)
    assert reference_scale(scheme) is None
    assert math.isnan(found.over_optimum)
    assert math.isnan(total([found]).over_optimum)


def test_weights_on_the_grid_have_no_optimum_to_miss() -> None:
    assert math.isnan(GridStatistics(4, 0.0, 0.0, 4, 0).over_optimum)


def test_a_point_on_no_grid_is_refused() -> None:
    center = Center({"w": torch.ones(1, 5)})
    for scheme, message in (
        (None, "expected a point on a grid, got awq"),
        (QuantScheme(4), "expected codes of shape .* for w in awq"),
    ):
        with pytest.raises(PointError, match=message):
            grid_statistics(WeightSpace((SLOT,)), center, WeightPoint("awq", scheme, {"w": torch.ones(1, 5)}))
