"""Intervals hold the radius of wells of any shape on coarse, fine and far-spread grids."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from landscape.estimators.crossing import crossing
from landscape.estimators.intervals import honest_half_width
from landscape.estimators.lambda_grid import sweep_grid
from landscape.estimators.radial_losses import RadialProbes
from tests.landscape.wells import CENTER, CHANCE, gaussian_well, profile

Array = NDArray[np.float64]
REPETITIONS, DIRECTIONS, WINDOWS = 200, 6, 8


def logistic(x: Array, width: float) -> Array:
    return np.asarray(special.expit((x - 1) / width) - special.expit(-1 / width))


WELLS: dict[str, Callable[[Array], Array]] = {
    "quadratic, saturating": lambda x: 1 - np.exp2(-(x**2)),
    "quadratic, cut off": lambda x: np.minimum(0.5 * x**2, 0.8),
    "steep wall": lambda x: 1 - np.exp2(-(0.3 * x**2 + 0.7 * x**4)),
    "past chance": lambda x: 1.8 * (1 - (1 - 0.5 / 1.8) ** (x**2)),
    "low plateau": lambda x: 0.6 * (1 - (1 - 0.5 / 0.6) ** (x**2)),
    "logistic": lambda x: logistic(x, 0.15),
    "logistic, sharp": lambda x: logistic(x, 0.04),
    "step": lambda x: np.where(x < 1, 0.0, 1.0),
    "step in a parabola": lambda x: np.where(x < 1, 0.1 * x**2, 0.8),
}
"""u(λ/R), which first reaches one half at 1."""
GRIDS: dict[str, tuple[float, ...]] = {
    "of four distances": sweep_grid(1.0, 4),
    "of four distances, off its pilot": sweep_grid(0.8, 4),
    "of five distances": sweep_grid(1.15, 5),
    "two a factor 2 apart": (0.67, 1.35),
    "three a factor 1.5 apart": (0.55, 0.83, 1.25),
    "a tiny one first": (1e-5, 0.67, 1.35),
    "two tiny ones first": (1e-5, 1e-3, 0.8, 1.2, 1.6),
    "far ones on either side": (1e-4, 0.7, 1.1, 1.6, 1e6),
    "two that nearly touch": (0.7, 0.7000001, 1.4),
    "of ten distances": sweep_grid(1.0, 10),
    "of a standard survey": sweep_grid(0.95, 14),
    "of a search": (2**-0.05, 2**0.075),
    "dense": tuple(np.arange(0.1, 3, 0.05)),
}


def experiment(rng: np.random.Generator, well: Callable[[Array], Array], lambdas: Array) -> RadialProbes:
    """Draw losses whose rise scatters by 3 to 5 % over directions and windows, around a mean of u; R is 1."""
    rise = 1 + 0.03 * rng.standard_normal((DIRECTIONS, 1)) + 0.05 * rng.standard_normal((1, WINDOWS))
    rise = rise + 0.03 * rng.standard_normal((DIRECTIONS, WINDOWS))
    nll = CENTER + (CHANCE - CENTER) * well(lambdas)[:, None] * rise[:, None, :]
    nll = nll + 1e-7 * rng.standard_normal(nll.shape)  # rounding of float32 losses
    tokens = np.full(WINDOWS, 50)
    return RadialProbes(lambdas, nll * tokens, tokens, CENTER * tokens.astype(float), CHANCE)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("well", WELLS.values(), ids=WELLS)
def test_the_interval_holds_the_radius(well: Callable[[Array], Array], grid: tuple[float, ...]) -> None:
    """The count is that of 95 % intervals, or more, in all but one of two thousand tests."""
    rng, lambdas = np.random.default_rng(3), np.array(grid)
    found = [crossing(experiment(rng, well, lambdas)) for _ in range(REPETITIONS)]
    # In a step the losses reach one half at a distance that no noise moves, up to the rounding of λ.
    held = sum(each.low - 1e-9 <= 1.0 <= each.high + 1e-9 for each in found)
    assert held >= stats.binom.ppf(0.0005, REPETITIONS, 0.95)


@pytest.mark.parametrize(("grid", "most"), [("of a standard survey", 0.003), ("of a search", 0.003), ("dense", 0.0001)])
@pytest.mark.parametrize("name", ["quadratic, saturating", "steep wall", "past chance"])
def test_a_fine_grid_adds_next_to_nothing(name: str, grid: str, most: float) -> None:
    rng, lambdas = np.random.default_rng(4), np.array(GRIDS[grid])
    for _ in range(20):
        found = crossing(experiment(rng, WELLS[name], lambdas))
        half = found.error.half_width()
        assert found.value is not None
        assert half * (1 - 1e-12) <= found.high - found.value <= (1 + most) * half


def test_a_probe_next_to_w_does_not_bend_the_curve() -> None:
    """The secant from w to a tiny λ is the rounding of two losses, over λ²."""
    alone = crossing(gaussian_well([40.0, 60.0], s=50.3 / math.sqrt(2 * math.log(2))))
    for tiny in (1e-3, 1e-2, 0.1, 1.0):
        for error in (-1e-7, 1e-7):
            probes = gaussian_well([tiny, 40.0, 60.0], s=50.3 / math.sqrt(2 * math.log(2)))
            probes.totals[:, 0] += error * 50
            beside = crossing(probes)
            assert beside.value == pytest.approx(alone.value, rel=1e-3)
            assert beside.low < 50.3 < beside.high


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_jump_leaves_all_between_its_probes_open(place: float) -> None:
    lambdas = np.arange(0.2, 3, 0.2)
    found = crossing(profile(lambdas, np.where(lambdas < 1 + 0.2 * place, 0.0, 1.0)))
    assert (found.low, found.high) == found.bracket == (1.0, pytest.approx(1.2))


def test_a_dip_before_or_behind_the_level_leaves_all_open() -> None:
    for u in ([0.1, 0.4, 0.3, 0.7, 0.8], [0.1, 0.3, 0.7, 0.6, 0.8]):
        found = crossing(profile([0.6, 0.8, 1.0, 1.2, 1.4], u))
        assert (found.low, found.high) == found.bracket


@pytest.mark.parametrize("first", [0.05, 0.1, 0.2, 0.3, 0.45])
def test_before_the_first_probe_less_is_known_the_nearer_that_is_to_the_radius(first: float) -> None:
    """Up to 2e-4, what a curve through w and two probes of a Gaussian well is off by where little has risen."""
    well = math.sqrt(-1 / (2 * math.log(1 - first)))  # u = first at λ = 1
    found = crossing(gaussian_well([1.0, 1.2], s=well), 0.5 * first)
    true = well * math.sqrt(-2 * math.log(1 - 0.5 * first))
    assert found.low * (1 - 2e-4) < true < found.high * (1 + 2e-4)
    assert found.high - found.low < (2 * first) ** 2


# --- the width with a bias --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("shift", [1e-12, 1e-3, 0.1, 1.0, 4.0, 30.0, 1e4])
def test_an_honest_half_width_is_the_root_of_the_noncentral_chi_squared(shift: float, confidence: float) -> None:
    """|Z + b|² is noncentral chi-squared with one degree of freedom and noncentrality b² (scipy's own quantile)."""
    z = stats.norm.ppf((1 + confidence) / 2)
    width = honest_half_width(2 * z, 2 * shift, confidence)  # σ = 2
    if shift < 30:
        assert width == pytest.approx(2 * math.sqrt(stats.ncx2.ppf(confidence, 1, shift**2)), rel=1e-6)
    assert width == pytest.approx(2 * max(z, shift + stats.norm.ppf(confidence)), rel=0.2 if shift == 1 else 0.05)


def test_an_honest_half_width_of_no_noise_is_the_bias_and_of_no_bias_the_noise() -> None:
    assert honest_half_width(0.0, 0.3) == 0.3
    assert honest_half_width(0.4, 0.0) == 0.4
    assert honest_half_width(math.inf, 0.3) == math.inf
    assert 0.4 < honest_half_width(0.4, 1e-300) + 1e-12 < 0.4 + 1e-9
