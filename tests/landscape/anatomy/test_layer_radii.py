"""R_l on a landscape whose loss is known: a Gaussian well in each tensor, so R_l has a closed form."""

import math

import numpy as np
import pytest

from landscape.anatomy.layer_radii import LayerRadius, layer_radius, most_spent_first
from landscape.estimators.intervals import Estimate
from landscape.positions.directions import Layers
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER, OnRay, common_blocks
from landscape.positions.selection import selected
from quant.center import Center
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny

CHANCE, BASE, TOKENS = 9.0, 3.0, 50


class Well:
    """``L = C − (C − L_w)·exp(−Σ k_b λ_b² / 2)``, with a stiffness k of each block: R = √(2 ln 2 / k) in one block."""

    def __init__(self, space, family, stiffness, ceiling=1.0):
        self.space, self.family, self.stiffness, self.ceiling = space, family, stiffness, ceiling

    def center(self, windows):
        return np.full(windows, BASE * TOKENS), np.full(windows, TOKENS)

    def blocks(self, windows):
        return None

    def totals(self, directions, lambdas, windows):
        rows = []
        for index in range(directions):
            direction = self.family.draw(index)
            q = sum(
                self.stiffness[slot.block] * float(direction.tensor(slot).double().square().sum())
                for slot in self.space
            )
            rise = self.ceiling * (CHANCE - BASE) * (1 - np.exp(-q * np.square(lambdas) / 2))
            rows.append(np.repeat(TOKENS * (BASE + rise)[:, None], windows, axis=1))
        return np.array(rows)


@pytest.fixture(scope="module")
def scene():
    model = tiny.llama()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    return space, center, Perturbation(space, center, rtn(space, center, QuantScheme(3)), "p")


@pytest.mark.parametrize(("block", "stiffness"), [(0, 0.5), (1, 8.0)])
def test_the_radius_is_that_of_the_tensors_that_move(scene, block, stiffness):
    space, center, perturbation = scene
    wells = {0: 0.5, 1: 8.0}
    family = Layers(space, f"block={block}")
    found = layer_radius(lambda f: Well(space, f, wells), family, perturbation, CHANCE, 3, 2)
    assert found.radius.value == pytest.approx(math.sqrt(2 * math.log(2) / stiffness), rel=0.003)
    inside = [slot for slot in space if slot.block == block]
    away = math.sqrt(sum(float(perturbation.delta.tensor(slot).double().square().sum()) for slot in inside))
    assert found.distance == pytest.approx(away)
    assert found.norm == pytest.approx(math.sqrt(sum(float(center.tensor(s).double().square().sum()) for s in inside)))
    assert found.rho.value == pytest.approx(away / found.radius.value)
    assert found.slots == f"block={block}"


def test_tensors_that_cannot_bring_the_loss_halfway_have_a_lower_bound(scene):
    space, _, perturbation = scene
    family = Layers(space, "block=0")
    found = layer_radius(lambda f: Well(space, f, {0: 5.0, 1: 5.0}, 0.4), family, perturbation, CHANCE, 2, 2)
    assert found.radius.value is None
    assert found.rho is None
    assert 0 < found.rho_bound == pytest.approx(found.distance / found.radius.low)


def test_the_most_spent_comes_first_and_bounds_last(scene):
    space, _, perturbation = scene

    def measured(block, stiffness, ceiling=1.0):
        family = Layers(space, f"block={block}")
        return layer_radius(
            lambda f: Well(space, f, {0: stiffness, 1: stiffness}, ceiling), family, perturbation, CHANCE, 2, 2
        )

    soft, hard, bounded = measured(0, 0.1), measured(1, 10.0), measured(1, 1e3, 0.4)
    assert most_spent_first([bounded, soft, hard]) == (hard, soft, bounded)
    assert isinstance(hard.rho, Estimate)
    assert isinstance(hard, LayerRadius)


def test_directions_of_later_blocks_leave_the_first_ones_as_they_are(scene):
    space, *_ = scene
    family = Layers(space, "block=1", seed=3)
    position = OnRay(family.name, 0, 1.5)
    assert common_blocks(space, position) == (CENTER, 1)
    assert common_blocks(space, OnRay(Layers(space, "block=0").name, 0, 1.5)) == (CENTER, 0)
    assert common_blocks(space, OnRay("sphere/seed=0", 0, 1.5)) == (CENTER, 0)
    (first, *_) = selected("block=0", space)
    assert float(family.draw(0).tensor(first).abs().max()) == 0
