"""The four radii of a Δw on a landscape that is written down: each property that spends basin is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from landscape.anatomy.waterfall import KINDS, Matched, families, waterfall
from landscape.estimators.intervals import Estimate
from landscape.positions.directions import Family
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER
from quant.center import Center
from quant.errors import UsageError
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import Difference, Vector, WeightSpace, norm
from tests import tiny

CHANCE, BASE, TOKENS = 10.0, 3.0, 100
STEEP, SHRUNK, SPIKES = 6.0, 40.0, 30.0  # how much more the first tensors, shrinkage and single weights cost
Array = np.ndarray


@pytest.fixture(scope="module")
def scene():
    model = tiny.opt()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    return space, center, rtn(space, center, QuantScheme(2))


def parts(space: WeightSpace, vector: Vector) -> list[Array]:
    return [vector.tensor(slot).double().numpy().ravel() for slot in space]


@dataclass
class Written:
    """``L = C − (C − L_w)·2^(−q)`` with ``q`` quadratic in the step: what a tensor, its shrinkage and weights cost."""

    space: WeightSpace
    w: list[Array]
    delta: list[Array]
    family: Family

    def cost(self, step: list[Array]) -> float:
        """q of one step."""
        total = 0.0
        for index, (s, w, d) in enumerate(zip(step, self.w, self.delta, strict=True)):
            spikes = np.argsort(np.abs(d))[-3:]  # the weights that Δw moves most
            total += (STEEP if index < 3 else 1.0) * float(s @ s)
            total += SHRUNK * float(s @ w) ** 2 / float(w @ w) + SPIKES * float(s[spikes] @ s[spikes])
        return total / 50

    def center(self, windows: int) -> tuple[Array, Array]:
        return np.array([BASE + 0.1 * w for w in range(windows)]) * TOKENS, np.full(windows, TOKENS)

    def blocks(self, windows: int) -> None:
        return None

    def totals(self, directions: int, lambdas: Sequence[float], windows: int) -> Array:
        base = self.center(windows)[0] / TOKENS
        costs = [self.cost(parts(self.space, self.family.draw(index))) for index in range(directions)]
        rise = 1 - np.exp2(-np.outer(costs, np.square(lambdas)))
        return np.asarray((base + rise[..., None] * (CHANCE - base)) * TOKENS)


def measure(scene, directions=6, windows=4):
    space, center, point = scene
    w, delta = parts(space, center), parts(space, Difference(center, point))
    delta_w = Perturbation(space, center, point, "p")
    found = families(delta_w, seed=3)
    written = {kind: Written(space, w, delta, family) for kind, family in found.items()}
    return waterfall(lambda kind: written[kind], delta_w, CHANCE, directions, windows), written


def test_each_step_costs_what_it_shares_with_the_perturbation(scene):
    """R = 1/√q(ê) for a direction of length 1; its mean over random directions is a sum over tensors."""
    space, center, _ = scene
    found, written = measure(scene)
    w, delta = written["along"].w, written["along"].delta
    away = math.sqrt(sum(float(d @ d) for d in delta))
    weight = [STEEP if index < 3 else 1.0 for index in range(len(delta))]
    n = [len(d) for d in delta]
    share = [float(d @ d) / away**2 for d in delta]
    cosines = [float(d @ v) ** 2 / float(d @ d) / float(v @ v) for d, v in zip(delta, w, strict=True)]
    # a random direction has 1/n of a tensor's square along w, and 3/n of it in three given weights
    random = [a + SHRUNK / k + 3 * SPIKES / k for a, k in zip(weight, n, strict=True)]
    shrunk = [
        a + SHRUNK * c + 3 * SPIKES / k * (1 - c) for a, c, k in zip(weight, cosines, n, strict=True)
    ]  # but for what w itself has in the three
    expected = {
        "sphere": sum(k / sum(n) * q for k, q in zip(n, random, strict=True)) / 50,
        "profile": sum(p * q for p, q in zip(share, random, strict=True)) / 50,
        "shrink": sum(p * q for p, q in zip(share, shrunk, strict=True)) / 50,
        "along": written["along"].cost([d / away for d in delta]),
    }
    steps = {step.kind: step for step in found.steps}
    assert tuple(steps) == KINDS
    assert found.distance == pytest.approx(away, rel=1e-6)
    for kind, q in expected.items():
        rel = 0.005 if kind == "along" else 0.06
        assert steps[kind].radius.value == pytest.approx(1 / math.sqrt(q), rel=rel), kind
        assert steps[kind].rho.value == pytest.approx(away / steps[kind].radius.value)
    assert steps["along"].rho.value > steps["shrink"].rho.value > 1.05 * steps["profile"].rho.value
    assert norm(space, Difference(center, scene[2])) == pytest.approx(found.distance)


def test_the_point_against_random_steps_of_its_length(scene):
    found, written = measure(scene)
    away = found.distance
    assert found.rise == pytest.approx(float(np.mean(  # the windows' own losses, 3.0 to 3.3
        written["along"].totals(1, [away], 4)[0, 0] / TOKENS - written["along"].center(4)[0] / TOKENS
    )))  # fmt: skip
    for step in found.steps[:3]:
        rises = (written[step.kind].totals(6, [away], 4)[:, 0].sum(1) - written[step.kind].center(4)[0].sum()) / 400
        assert (step.matched.mean, step.matched.spread) == pytest.approx((rises.mean(), rises.std(ddof=1)))
        assert step.matched.rises == pytest.approx(rises)
        assert step.matched.directions == 6
        cells = (written[step.kind].totals(6, [away], 4)[:, 0] - written[step.kind].center(4)[0]) / TOKENS
        assert step.matched.interval.value == pytest.approx(rises.mean())
        assert step.matched.interval.high - rises.mean() == pytest.approx(crossed_half_width(cells))
    assert found.steps[3].matched is None
    assert found.steps[0].matched.multiple(found.rise) > 3


def crossed_half_width(cells):
    """Half the 95 % interval of the mean of a two-way table, by the textbook's mean squares and Satterthwaite's df."""
    n_d, n_w = cells.shape
    rows, columns = cells.mean(1), cells.mean(0)
    ms = np.array([n_w * rows.var(ddof=1), n_d * columns.var(ddof=1), 0.0])
    ms[2] = ((cells - rows[:, None] - columns + cells.mean()) ** 2).sum() / ((n_d - 1) * (n_w - 1))
    signs, df = np.array([1, 1, -1]), np.array([n_d - 1, n_w - 1, (n_d - 1) * (n_w - 1)])
    assert ms[2] < ms[:2].min()
    total = float(signs @ ms)
    return stats.t.ppf(0.975, total**2 / float((ms**2 / df).sum())) * math.sqrt(total / (n_d * n_w))


def test_along_the_perturbation_windows_alone_are_uncertain(scene):
    few, _ = measure(scene, windows=3)
    assert math.isfinite(few.steps[3].radius.high)
    assert few.steps[3].radius.high > few.steps[3].radius.value


def test_multiples_without_a_spread():
    def matched(spread):
        return Matched(1.0, spread, (1.0 - spread, 1.0 + spread), Estimate(1.0, 1.0 - spread, 1.0 + spread))

    assert matched(0.5).multiple(2.0) == 2.0
    assert matched(0.0).multiple(1.0) == 0.0
    assert matched(0.0).multiple(0.5) == -math.inf


def test_w_itself_has_no_waterfall(scene):
    space, center, point = scene
    with pytest.raises(UsageError, match="expected a point away from w"):
        waterfall(lambda kind: None, Perturbation(space, center, center, CENTER), CHANCE, 4, 4)
    with pytest.raises(UsageError, match=r"at least 2 directions, got a distance of .* and 1"):
        waterfall(lambda kind: None, Perturbation(space, center, point, "p"), CHANCE, 1, 4)
