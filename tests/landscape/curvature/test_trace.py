from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.curvature.hessian import FlatVector, lent_hessian
from landscape.curvature.trace import hutchinson_trace, top_eigenvalue, trace_from_pairs
from landscape.estimators.radial_losses import RadialProbes
from landscape.positions.atlas import Ray
from landscape.positions.directions import Sphere
from quant.center import Center
from quant.errors import UsageError
from quant.nll import window_nll
from quant.space import WeightSpace
from tests import tiny
from tests.landscape.hessians import CONFIGS, Case, Line, case


@pytest.fixture(params=list(CONFIGS))
def small(request) -> Case:
    return case(request.param)


# --- Tr H by products -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axes:
    """Every coordinate axis once."""

    dimension: int
    name = "axes"

    def draw(self, index: int, beside: object) -> FlatVector:
        values = torch.zeros(self.dimension)
        values[index] = 1
        return FlatVector(values)


def test_the_trace_over_all_axes_is_exact(small):
    with lent_hessian(small.model, small.space, small.windows) as hessian:
        found = hutchinson_trace(hessian, Axes(small.space.dimension), small.space.dimension)
    assert found.estimate.value == pytest.approx(float(small.matrix.trace()), rel=small.precision)
    assert (found.directions, found.windows) == (small.space.dimension, 3)


def test_the_trace_by_hutchinson(small):
    """Random directions find the trace to what they can: Var(D·êᵀHê) = 2D/(D + 2)·(‖H‖² − Tr²/D) for the sphere."""
    D, count, truth = small.space.dimension, 40, float(small.matrix.trace())
    with lent_hessian(small.model, small.space, small.windows) as hessian:
        found = hutchinson_trace(hessian, Sphere(small.space, 3), count)
    spread = math.sqrt(2 * D / (D + 2) * (float(small.matrix.square().sum()) - truth**2 / D) / count)
    assert abs(found.estimate.value - truth) < 3 * spread
    assert found.estimate.low < truth < found.estimate.high
    assert found.error.value > 0.7 * spread  # which does not yet have the windows in it


def test_one_direction_or_one_window_has_no_interval():
    small = case("opt")
    with lent_hessian(small.model, small.space, small.windows[:1]) as hessian:
        assert hutchinson_trace(hessian, Sphere(small.space), 2).estimate.high == math.inf
    with lent_hessian(small.model, small.space, small.windows) as hessian:
        assert hutchinson_trace(hessian, Sphere(small.space), 1).estimate.low == -math.inf
        with pytest.raises(UsageError, match="direction"):
            hutchinson_trace(hessian, Sphere(small.space), 0)


class Population:
    """Windows of random text: ``H_w = A + B_w``, B of mean 0, and random lengths. Each is a new text."""

    def __init__(self, rng: np.random.Generator, directions: int, windows: int) -> None:
        self.A = np.diag(np.linspace(0, 2, 20))
        noise = rng.normal(size=(windows, 20, 20)) * 0.3 + rng.normal(size=(windows, 1, 1)) * np.eye(20) * 0.3
        self.matrices = self.A + noise
        self.tokens = rng.integers(20, 60, size=windows)
        g = rng.normal(size=(directions, 20))
        self.directions = g / np.linalg.norm(g, axis=1, keepdims=True)
        self.blocks = None
        self.space, self.weights = SimpleNamespace(dimension=20), None

    def draw(self, index: int, beside: object) -> np.ndarray:
        return self.directions[index]

    def forms(self, e: np.ndarray) -> np.ndarray:
        return np.einsum("i,wij,j->w", e, self.matrices, e) * self.tokens


@pytest.mark.parametrize("design", [(4, 16), (12, 6)])
def test_the_interval_of_hutchinson_covers(design):
    """600 texts and sets of directions; 570 ± 5.3 of right 95 % intervals cover."""
    rng, covered = np.random.default_rng(5), 0
    for _ in range(600):
        population = Population(rng, *design)
        found = hutchinson_trace(population, population, design[0]).estimate
        covered += found.low < 20 < found.high
    assert 552 <= covered <= 592


# --- Tr H from pairs --------------------------------------------------------------------------------------------------


def pair_probes(lambdas, curvatures, quartic=0.0, tokens=(50, 80), nll=3.0) -> RadialProbes:
    """L = 3 + ½κλ² + qλ⁴/24 for curvatures κ of shape (n_d, n_w), the mean of a pair in every row."""
    lambdas, kappa, tokens = np.asarray(lambdas, float), np.asarray(curvatures, float)[:, None], np.asarray(tokens)
    lam = lambdas[:, None]
    rise = kappa * lam**2 / 2 + np.asarray(quartic, float) * lam**4 / 24
    return RadialProbes(lambdas, (nll + rise) * tokens, tokens, nll * tokens.astype(float), chance=9.0)


def test_pairs_on_a_pure_quadratic_are_exact():
    kappa = np.array([[0.4, 0.1], [0.2, 0.5], [0.3, 0.3]])
    found = trace_from_pairs(pair_probes([0.5, 1.5], kappa), dimension=1000)
    assert found.estimate.value == pytest.approx(1000 * (kappa * [50, 80]).sum() / (3 * 130), rel=1e-12)
    assert (found.directions, found.windows) == (3, 2)


def test_the_quartic_term_has_no_part_in_the_trace():
    """The second difference over λ² is κ + qλ²/12, 0.375 at λ = 1 with κ = 0.3 and q = 0.9: a quarter too much."""
    found = trace_from_pairs(pair_probes([1, 1.5], np.full((3, 2), 0.3), quartic=0.9), dimension=100)
    assert found.estimate.value == pytest.approx(30)


def test_distances_where_rounding_would_show_are_passed_over():
    """Four losses of 3 nats, each off by 4 units of 2⁻²³, are off by 5.7e-6 nats: a hundredth of κλ² at λ = 0.0437."""
    kappa = np.full((2, 2), 0.3)
    probes = pair_probes([0.01, 0.043, 0.044, 1.0], kappa)
    probes.totals[:, 0] = 3.0002 * np.array([50, 80])  # would be seen
    assert trace_from_pairs(probes, 10).estimate.value == pytest.approx(3)
    quiet = pair_probes([0.01, 0.043, 0.0437], kappa)
    assert trace_from_pairs(quiet, 10, precision=2**-52).estimate.value == pytest.approx(3)
    with pytest.raises(UsageError, match="clear of rounding"):
        trace_from_pairs(quiet, 10)


def test_pairs_that_cannot_tell():
    kappa = np.full((2, 2), 0.3)
    for lambdas in ([1.0], [1.0, 4.0]):  # u = 0.2 at λ = 2.8
        with pytest.raises(UsageError, match="two distances"):
            trace_from_pairs(pair_probes(lambdas, kappa), 10)
    for where in (0, 1):
        probes = pair_probes([0.5, 1.0, 2.0], np.full((40, 2), 0.3))
        probes.totals[1, where, 0] = math.inf
        with pytest.raises(UsageError, match="finite"):
            trace_from_pairs(probes, 10)


@pytest.mark.parametrize("name", ["gpt2", "opt"])  # Llama's float32 inside leaves no λ that is small enough
def test_pairs_and_products_agree(name):
    """Losses at ±λ through the ordinary forward, in float64."""
    small = case(name)
    model, space, family = small.model, small.space, Sphere(small.space, 7)
    start, lambdas = Center.of(model, space), np.array([0.002, 0.004])

    def totals(direction, lam: float) -> list[float]:
        space.write(model, Line(start, direction, lam))
        return [window_nll(model, window.tokens).total for window in small.windows]

    with lent_hessian(model, space, small.windows) as hessian:
        expected = hutchinson_trace(hessian, family, 4)
        rows = [[(np.add(totals(e, lam), totals(e, -lam))) / 2 for lam in lambdas] for e in map(family.draw, range(4))]
        center = np.array(totals(family.draw(0), 0.0))
    probes = RadialProbes(lambdas, np.array(rows), np.array([11, 6, 3]), center, chance=100.0)
    found = trace_from_pairs(probes, space.dimension, precision=2**-52)
    assert found.estimate.value == pytest.approx(expected.estimate.value, rel=1e-3)
    assert found.error.value == pytest.approx(expected.error.value, rel=1e-2)


def crossed(rng: np.random.Generator, mean: float, scale: float) -> np.ndarray:
    """Six directions by eight windows, each with an effect of its own, and noise."""
    return mean + scale * (rng.normal(size=(6, 1)) + rng.normal(size=8) + rng.normal(size=(6, 8)))


def test_the_interval_of_pairs_covers():
    """Random directions and windows, ragged, with a quartic term of their own."""
    rng, hits = np.random.default_rng(11), 0
    for _ in range(600):
        tokens = rng.integers(20, 60, size=8)
        kappa, quartic = crossed(rng, 0.3, 0.03), crossed(rng, 0.36, 0.05)
        found = trace_from_pairs(pair_probes([1, 2], kappa, quartic[:, None], tokens), dimension=1000)
        hits += found.estimate.low < 300 < found.estimate.high
    assert 552 <= hits <= 592, hits


# --- the top eigenvalue -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_top_eigenvalue_is_that_of_the_explicit_hessian(small, dtype):
    values, vectors = torch.linalg.eigh(small.matrix)
    model = copy.deepcopy(small.model).to(dtype)
    with lent_hessian(model, small.space, small.windows) as hessian:
        found = top_eigenvalue(hessian)
    assert found.value == pytest.approx(float(values[-1]), rel=1e-4)
    v = found.vector.values.double()
    assert float(v.norm()) == pytest.approx(1, abs=1e-6)
    assert abs(float(v @ vectors[:, -1])) > 0.999
    assert v[v.abs().argmax()] > 0
    residual = float((small.matrix @ v - found.value * v).norm())
    assert found.residual == pytest.approx(residual, rel=1e-3, abs=1e-5 * found.value)
    assert found.residual < 2e-3 * found.value
    assert (found.estimate.low, found.estimate.high) == (found.value - found.residual, found.value + found.residual)


def test_the_eigenvector_is_a_direction():
    """Along it the loss bends as the explicit Hessian's eigenvalue says."""
    small, lam = case("opt"), 1e-3
    expected = float(torch.linalg.eigvalsh(small.matrix)[-1])
    with lent_hessian(small.model, small.space, small.windows) as hessian:
        top = top_eigenvalue(hessian)
    start = Center.of(small.model, small.space)
    losses = []
    for step in (-lam, 0.0, lam):
        line = Ray(start, top.vector, step)
        assert line.tensor(small.space.slots[1]).shape == small.space.slots[1].shape
        small.space.write(small.model, Line(start, top.vector, step))
        losses.append(sum(window_nll(small.model, window.tokens).total for window in small.windows) / 20)
    small.space.write(small.model, start)
    assert (losses[0] - 2 * losses[1] + losses[2]) / lam**2 == pytest.approx(expected, rel=1e-3)


class Diagonal:
    """A Hessian with known eigenvalues, on the space of a tiny model."""

    dtype = torch.float32

    def __init__(self, values: Tensor, space: WeightSpace) -> None:
        self.values, self.space, self.calls = values, space, 0

    def product(self, vector: FlatVector) -> FlatVector:
        self.calls += 1
        return FlatVector(self.values * vector.values)


def diagonal(top: float, bottom: float) -> Diagonal:
    space = WeightSpace.of(tiny.opt())
    return Diagonal(torch.cat([torch.tensor([bottom, top]), torch.linspace(0, 1, space.dimension - 2)]), space)


def test_the_top_is_the_largest_and_not_the_largest_in_magnitude():
    hessian = diagonal(top=3.0, bottom=-50.0)
    found = top_eigenvalue(hessian, tolerance=1e-4)
    assert found.value == pytest.approx(3, rel=1e-5)
    assert found.products == hessian.calls


def test_lanczos_that_does_not_get_there_is_an_error():
    with pytest.raises(UsageError, match="converge"):
        top_eigenvalue(diagonal(top=1.0, bottom=0.0), tolerance=1e-7, basis=3, restarts=2)
    with pytest.raises(UsageError, match="finite"):
        top_eigenvalue(diagonal(top=math.nan, bottom=0.0))
