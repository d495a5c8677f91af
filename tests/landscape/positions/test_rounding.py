"""Check that a position of a bfloat16 model is computed in float32 and rounded to bfloat16 once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.positions.atlas import Patchwork, Plane, Ray, Segment
from landscape.positions.directions import Sphere
from quant.center import Center
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import Vector, WeightSpace
from tests import tiny

LAM = 0.3
Doubles = NDArray[np.float64]


def bfloat16_by_hand(values: Doubles) -> Doubles:
    """Round float64 to the nearest number of 8 significant bits, ties to even."""
    fraction, exponent = np.frexp(values)  # |fraction| in [1/2, 1)
    return np.ldexp(np.rint(fraction * 256), exponent - 8)


def near_a_tie(values: Doubles) -> NDArray[np.bool_]:
    """Return which values lie so near to a tie that float32's own rounding, of a few units, may decide it."""
    fraction, _ = np.frexp(values)
    off = fraction * 256 - np.floor(fraction * 256)
    return np.abs(off - 0.5) < 256 * 4 * 2.0**-24


def doubles(tensor: Tensor) -> Doubles:
    return tensor.double().numpy()


@pytest.fixture
def place() -> tuple[torch.nn.Module, WeightSpace, Center, Vector, Vector]:
    model = tiny.llama().to(torch.bfloat16)
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    return model, space, center, Sphere(space).draw(0), rtn(space, center, QuantScheme(3))


def written(model: torch.nn.Module, space: WeightSpace, vector: Vector) -> list[Doubles]:
    space.write(model, vector)
    return [doubles(weight) for _, weight in space.weights(model)]


VECTORS: dict[str, tuple[Callable[..., Vector], Callable[[Doubles, Doubles, Doubles], Doubles]]] = {
    "ray": (lambda w, e, q: Ray(w, e, LAM), lambda w, e, q: w + LAM * e),
    "segment": (lambda w, e, q: Segment(w, q, LAM), lambda w, e, q: (1 - LAM) * w + LAM * q),
    "plane": (lambda w, e, q: Plane(w, q, e, LAM, 0.4), lambda w, e, q: (0.6 - LAM) * w + LAM * q + 0.4 * e),
    "all parts": (lambda w, e, q: Patchwork(w, q, ("shrink", "round", "clip"), "*", w), lambda w, e, q: q),
}


@pytest.mark.parametrize("kind", VECTORS)
def test_a_weight_is_the_float64_sum_rounded_once(kind: str, place: tuple) -> None:
    model, space, center, direction, point = place
    make, by_hand = VECTORS[kind]
    parts = [[doubles(vector.tensor(slot)) for slot in space] for vector in (center, direction, point)]
    exact = np.concatenate([by_hand(*row).ravel() for row in zip(*parts, strict=True)])
    found = np.concatenate([w.ravel() for w in written(model, space, make(center, direction, point))])
    clear = ~near_a_tie(exact)
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found[clear], bfloat16_by_hand(exact)[clear])


def test_rounding_the_step_first_would_give_other_weights(place: tuple) -> None:
    """The test above can fail: w + bfloat16(λê) differs from it in many weights."""
    model, space, center, direction, _ = place
    once = np.concatenate([w.ravel() for w in written(model, space, Ray(center, direction, LAM))])
    steps = [center.tensor(slot) + (LAM * direction.tensor(slot)).bfloat16() for slot in space]
    twice = np.concatenate([doubles(step).ravel() for step in steps])
    assert (once != twice).mean() > 0.01


def test_the_step_survives_where_the_model_is_restored_between(place: tuple) -> None:
    """λ after λ starts from w, not from what was rounded before."""
    model, space, center, direction, _ = place
    for lam in (0.1, 0.2, LAM):
        last = written(model, space, Ray(center, direction, lam))
    fresh = tiny.llama().to(torch.bfloat16)
    for a, b in zip(last, written(fresh, space, Ray(center, direction, LAM)), strict=True):
        np.testing.assert_array_equal(a, b)
