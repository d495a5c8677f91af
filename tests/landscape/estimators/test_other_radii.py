import math

import numpy as np
import pytest
from scipy import stats

from landscape.estimators.crossing import crossing
from landscape.estimators.intervals import Estimate
from landscape.estimators.other_radii import (
    anharmonicity,
    curvature_cells,
    fit_range,
    inflection,
    other_radii,
    quadratic_radius,
    radius_of_trace,
    reference_radius,
    threshold_radius,
)
from landscape.estimators.radial_losses import RadialProbes
from quant.errors import UsageError

CHANCE, CENTER, S = 7.0, 3.0, 1.7
GRID = np.linspace(0, 3.3 * S, 13)[1:]


def probes(rise, lambdas=GRID, windows=3, tokens=50) -> RadialProbes:
    """Probes from the rise above CENTER in nats per token, (n_d, n_λ), the same in every window."""
    rise = np.atleast_2d(rise)
    rise = np.concatenate([rise] * 2) if len(rise) == 1 else rise
    sizes = np.full(windows, tokens)
    totals = np.broadcast_to((CENTER + rise)[..., None], (*rise.shape, windows)) * sizes
    return RadialProbes(np.asarray(lambdas), totals, sizes, CENTER * sizes.astype(float), CHANCE)


def well(lambdas=GRID, s=S):
    """Rise of ``C − (C − L0)·exp(−λ²/2s²)``."""
    return (CHANCE - CENTER) * (1 - np.exp(-(np.asarray(lambdas) ** 2) / (2 * s**2)))


def curvature(data):
    """κ with its interval over directions and windows."""
    cells = curvature_cells(data)
    return None if cells is None else data.error(cells).interval(float(cells.mean()))


# --- closed forms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [math.log(1.05), 0.5, 2.0, 3.5])
def test_threshold_radius_of_a_gaussian_well(tau):
    """ΔL = τ at s√(−2 ln(1 − τ/(C − L0)))."""
    found = threshold_radius(probes(well()), tau)
    assert found.value == pytest.approx(S * math.sqrt(-2 * math.log(1 - tau / (CHANCE - CENTER))), rel=1e-3)
    assert found.level == tau


def test_radii_of_a_parabola():
    """ΔL = κλ²/2: every radius of a rise τ is √(2τ/κ), the curvature is κ, and there is no steepest place."""
    kappa = 1.3
    data = probes(0.5 * kappa * GRID**2)
    assert threshold_radius(data, 0.7).value == pytest.approx(math.sqrt(2 * 0.7 / kappa), rel=1e-9)
    assert quadratic_radius(data).value == pytest.approx(crossing(data).value, rel=1e-9)
    assert curvature(data).value == pytest.approx(kappa, rel=1e-9)
    assert inflection(data) is None


def test_the_quartic_term_does_not_bias_the_curvature():
    kappa, b = 1.3, -0.1
    lambdas = np.linspace(0.2, 1.6, 8)
    assert curvature(probes(0.5 * kappa * lambdas**2 + b * lambdas**4, lambdas)).value == pytest.approx(kappa, rel=1e-9)


def test_radii_of_a_gaussian_well():
    """The steepest place is s; κ = (C − L0)/s², so the parabola is half way at s, and R/R_quadratic = √(2 ln 2)."""
    data = probes(well())
    assert inflection(data).value == pytest.approx(S, rel=2e-3)
    assert curvature(data).value == pytest.approx((CHANCE - CENTER) / S**2, rel=0.01)
    assert crossing(data).value / quadratic_radius(data).value == pytest.approx(math.sqrt(2 * math.log(2)), rel=6e-3)


def test_the_inflection_is_that_of_the_wall_and_not_of_a_rise_behind_it():
    """The well goes a tenth past chance, at 2.2 s; then comes a second, steeper rise."""
    behind = 40 * np.maximum(0, GRID - 2.5 * S)
    assert inflection(probes(1.1 * well() + behind)).value == pytest.approx(S, rel=2e-3)


def test_the_reference_level_moves_the_radius_as_the_well_says():
    """Halfway to C′ is u = ½(C′ − L0)/(C − L0)."""
    references = (5.0, 6.2, CHANCE)
    found = [reference_radius(probes(well()), reference) for reference in references]
    for item, reference in zip(found, references, strict=True):
        u = 0.5 * (reference - CENTER) / (CHANCE - CENTER)
        assert item.radius.value == pytest.approx(S * math.sqrt(-2 * math.log(1 - u)), rel=1e-3)
        assert item.reference == reference
        assert item.relative == pytest.approx(math.sqrt(math.log(1 - u) / math.log(0.5)), rel=2e-3)
    assert found[-1].radius == crossing(probes(well()))
    assert reference_radius(probes(well()), 20.0).relative is None  # the well is not that deep
    with pytest.raises(UsageError, match="below chance"):
        reference_radius(probes(well()), CENTER)


def test_all_radii_are_those_of_the_well():
    found = other_radii(probes(well()), unigram=6.2)
    assert found.kept == threshold_radius(probes(well()), math.log(1.05))
    assert found.inflection.value == pytest.approx(S, rel=2e-3)
    assert found.quadratic.value == pytest.approx(S, rel=6e-3)
    assert found.unigram == reference_radius(probes(well()), 6.2)
    assert other_radii(probes(well()), unigram=CENTER).unigram is None


def test_an_overflow_stays_as_lost_as_it_was_when_the_reference_is_lower():
    overflow, chance = np.stack([well(), well()]), np.stack([well(), well()])
    overflow[0, 1], chance[0, 1] = math.nan, CHANCE - CENTER  # at 0.55 s, right behind the crossing
    found, expected = reference_radius(probes(overflow), 4.0), reference_radius(probes(chance), 4.0)
    assert found.radius == expected.radius


# --- intervals ----------------------------------------------------------------------------------------------------


def test_intervals_where_directions_are_all_the_noise():
    """ΔL_d = ½κ(1 + δ_d)λ²: the t interval of the mean of δ, for κ as it is, for a radius half of it."""
    delta = np.array([-0.2, 0.05, 0.3, -0.15])
    data = probes(0.5 * (1 + delta[:, None]) * GRID**2)
    half = stats.t.ppf(0.975, 3) * delta.std(ddof=1) / 2
    kappa, radius, threshold = curvature(data), quadratic_radius(data), threshold_radius(data, 0.7)
    assert (kappa.low, kappa.high) == pytest.approx((1 - half, 1 + half))
    assert (radius.low, radius.high) == pytest.approx(
        (radius.value * math.exp(-half / 2), radius.value * math.exp(half / 2))
    )
    assert threshold.high / threshold.value == pytest.approx(1 + half / 2)
    assert threshold.error.value == pytest.approx(threshold.value * delta.std(ddof=1) / 2 / 2)
    assert threshold.error.df == pytest.approx(3)


def test_the_noise_of_the_center_is_in_the_quadratic_radius():
    """Windows that differ at w and rise alike: ln r varies by −½·δL(w)/(C − L(w))."""
    rng = np.random.default_rng(2)
    tokens, base = np.full(8, 30), CENTER + 0.2 * rng.standard_normal(8)
    base += CENTER - base.mean()
    nll = base + 0.5 * GRID[:, None] ** 2
    data = RadialProbes(GRID, np.stack([nll] * 3) * tokens, tokens, base * tokens, CHANCE)
    half = stats.t.ppf(0.975, 7) * 0.5 * base.std(ddof=1) / math.sqrt(8) / (CHANCE - CENTER)
    assert math.log(quadratic_radius(data).high / quadratic_radius(data).value) == pytest.approx(half)


def test_the_interval_of_the_inflection_covers():
    """Wells whose widths differ by direction and window; the truth is that of the mean over many."""
    rng, n_d, n_w, repetitions = np.random.default_rng(3), 6, 8, 300
    scales = S * np.exp(0.09 * stats.norm.ppf((np.arange(999) + 0.5) / 999))  # 0.09² = 0.06² + 0.06² + 0.03²
    axis = np.linspace(1.4, 2.0, 601)
    truth = axis[np.gradient(well(axis[:, None], scales).mean(1)).argmax()]
    covered, tokens = 0, np.full(n_w, 40)
    for _ in range(repetitions):
        scale = 0.06 * rng.standard_normal((n_d, 1, 1)) + 0.06 * rng.standard_normal(n_w)
        scale = scale + 0.03 * rng.standard_normal((n_d, 1, n_w))
        nll = CENTER + well(GRID[:, None], S * np.exp(scale))
        found = inflection(RadialProbes(GRID, nll * tokens, tokens, CENTER * tokens.astype(float), CHANCE))
        covered += found.low <= truth <= found.high
    low, high = stats.binom.interval(0.999, repetitions, 0.95)
    assert low <= covered <= high


# --- where there is nothing to measure ----------------------------------------------------------------------------


def test_radii_without_data_are_none_or_censored():
    steep = probes(well([0.9, 1.5, 3.0, 4.0]), [0.9, 1.5, 3.0, 4.0])
    assert curvature(steep) is None  # one probe below u = 0.2 fits no two terms
    assert quadratic_radius(steep) is None
    short = probes(well(GRID[:3]), GRID[:3])  # ends at 0.8 s, still getting steeper
    assert inflection(short) is None
    censored = threshold_radius(short, 3.9)
    assert (censored.value, censored.low, censored.high) == (None, pytest.approx(GRID[2]), math.inf)
    falling = probes(-0.1 * GRID**2)
    assert quadratic_radius(falling) is None
    assert curvature(falling).value == pytest.approx(-0.2)


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan, math.inf])
def test_a_rise_must_be_positive(tau):
    with pytest.raises(UsageError, match="rise"):
        threshold_radius(probes(well()), tau)


# --- the quadratic radius of a trace, and the index ---------------------------------------------------------------


def test_the_gaussian_well_has_the_index_of_its_closed_form():
    """L = C − (C − L0)·exp(−λ²/2s²): curvature (C − L0)/s² in every direction, R = s√(2 ln 2), R_quadratic = s."""
    chance, center, s, dimension = 7.0, 3.0, 1.7, 500
    trace = dimension * (chance - center) / s**2
    quadratic = radius_of_trace(Estimate(trace, 0.81 * trace, 1.21 * trace), dimension, (chance - center) / 2)
    assert quadratic.value == pytest.approx(s)
    assert quadratic.low == pytest.approx(s / 1.1)
    assert quadratic.high == pytest.approx(s / 0.9)
    radius = s * math.sqrt(2 * math.log(2))
    index = anharmonicity(Estimate(radius, 0.8 * radius, 1.3 * radius), quadratic)
    assert index.value == pytest.approx(1.17741, abs=1e-5)
    assert index.low == pytest.approx(1.17741 * math.exp(-math.hypot(math.log(0.8), math.log(0.9))), abs=1e-5)
    assert index.high == pytest.approx(1.17741 * math.exp(math.hypot(math.log(1.3), math.log(1.1))), abs=1e-5)


def test_a_trace_that_may_be_zero_bounds_the_radius_on_one_side():
    quadratic = radius_of_trace(Estimate(4.0, -1.0, 9.0), 9, 2.0)
    assert quadratic == Estimate(3.0, 2.0, math.inf)
    assert anharmonicity(Estimate(6.0, 6.0, 6.0), quadratic) == Estimate(2.0, 0.0, pytest.approx(3.0))
    assert radius_of_trace(Estimate(0.0, -1.0, 1.0), 9, 2.0) is None
    assert anharmonicity(Estimate(6.0, 0.0, math.inf), Estimate(3.0, 3.0, 3.0)) == Estimate(2.0, 0.0, math.inf)
    with pytest.raises(UsageError, match="excess"):
        radius_of_trace(Estimate(1.0, 1.0, 1.0), 9, 0.0)
    with pytest.raises(UsageError, match="radii"):
        anharmonicity(Estimate(0.0, 0.0, 1.0), quadratic)


def test_the_interval_of_the_index_covers():
    """Two independent radii of 10 % and 5 % standard error; 1.96 of these to each side."""
    rng, covered = np.random.default_rng(3), 0
    for _ in range(2000):
        a, b = rng.normal(6, 0.6), rng.normal(3, 0.15)
        index = anharmonicity(Estimate(a, a - 1.176, a + 1.176), Estimate(b, b - 0.294, b + 0.294))
        covered += index.low < 2 < index.high
    assert 0.94 < covered / 2000 < 0.96


def test_the_quadratic_radius_of_losses_and_of_their_trace_are_one():
    data, dimension = probes(well()), 500
    kappa, radius = curvature(data), quadratic_radius(data)
    again = radius_of_trace(Estimate(*(dimension * k for k in (kappa.value, kappa.low, kappa.high))), dimension, 2.0)
    assert again.value == pytest.approx(radius.value)


def test_the_parabola_is_fitted_between_rounding_and_a_fifth_of_chance():
    """From where 16 units of rounding of L(w) = 3 are below a hundredth of 2ΔL, to u = 0.2, a rise of 0.8."""
    clear = 16 * 2**-23 * 3 / 0.02
    rise = np.array([0.1 * clear, 0.99 * clear, 1.01 * clear, 0.3, 0.79, 0.81, 2.0])
    lambdas = np.sqrt(rise)
    assert fit_range(probes(rise, lambdas)) == slice(2, 5)
    assert fit_range(probes(rise, lambdas), precision=2**-52) == slice(0, 5)
    assert fit_range(probes(rise[4:], lambdas[4:])) is None
