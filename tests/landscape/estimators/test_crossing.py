import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from landscape.estimators.basin import estimate_basin
from landscape.estimators.crossing import crossing
from landscape.estimators.lambda_grid import sweep_grid
from landscape.estimators.radial_losses import RadialProbes
from quant.errors import UsageError
from tests.landscape.wells import CENTER, CHANCE, WELL, gaussian_well, make, profile

UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- the crossing -----------------------------------------------------------------------------------------------------


@UNHURRIED
@given(st.floats(0.05, 0.95), st.integers(4, 14))
def test_crossings_of_a_quadratic_are_exact(level, points):
    """On any grid, at any level: the profile is interpolated in λ²."""
    lambdas = np.geomspace(0.05, 2.0, points)
    assert crossing(profile(lambdas, lambdas**2 / 3), level).value == pytest.approx(math.sqrt(3 * level), rel=1e-9)


def test_the_loss_is_a_mean_over_tokens_not_a_mean_of_means():
    """Two windows of 10 and 90 tokens that rise at different rates: u counts each by its tokens."""
    lambdas = np.linspace(0.2, 2, 10)
    nll = CENTER + np.array([4.0, 1.0]) * lambdas[:, None] ** 2  # (n_λ, n_w)
    probes = make(lambdas, np.stack([nll, nll]), tokens=(10, 90))
    assert crossing(probes).value == pytest.approx(math.sqrt(2.0 / (0.1 * 4 + 0.9 * 1)), rel=1e-9)


def test_crossing_at_the_first_probe_and_exactly_on_a_probe():
    assert crossing(profile([1.0, 2.0], [0.9, 1.0])).bracket == (0.0, 1.0)
    on = crossing(profile([1.0, 2.0, 3.0], [0.25, 0.5, 0.75]))
    assert on.value == 2.0
    assert on.bracket == (1.0, 2.0)


def test_wild_losses_far_out_do_not_move_the_radius():
    lambdas = np.linspace(0, 3.3 * WELL, 13)[1:]
    tame, wild = gaussian_well(lambdas), gaussian_well(lambdas)
    wild.totals[:, 8:] *= 1e6
    assert crossing(wild).value == crossing(tame).value
    # And a jump right behind the crossing bends it no further than between its own probes.
    near = gaussian_well(lambdas)
    near.totals[:, 6:] *= 1e6
    found = crossing(near)
    assert found.bracket[0] < found.value < found.bracket[1]


@pytest.mark.parametrize("sharp", [1.0, 0.3])
def test_crossings_at_the_border_on_the_grid_of_a_survey(sharp):
    """r90 on the plateau's side of a well 1 − exp(−ln2·(q·x² + (1 − q)·x⁴)), 1.8 R or less."""
    lambdas = np.array(sweep_grid(0.95, 14))
    exponent = math.log(2) * (sharp * lambdas**2 + (1 - sharp) * lambdas**4)
    root = np.roots([1 - sharp, sharp, -math.log(10) / math.log(2)]) if sharp < 1 else np.array([math.log2(10)])
    expected = math.sqrt(root[root > 0][0])
    assert crossing(profile(lambdas, 1 - np.exp(-exponent)), 0.9).value == pytest.approx(expected, rel=5e-4)


def test_the_bound_of_a_censored_profile_respects_its_noise():
    """The mean stays below ½, but from λ = 2 on the windows leave that open."""
    rng = np.random.default_rng(0)
    lambdas = np.array([0.5, 1.0, 1.5, 2.0, 2.5])
    u = np.array([0.05, 0.1, 0.2, 0.45, 0.47])
    noise = rng.standard_normal((4, 1, 4)) * np.array([0.01, 0.01, 0.01, 0.8, 0.8])[:, None]
    noise -= noise.mean((0, 2), keepdims=True)
    found = crossing(make(lambdas, CENTER + 4 * u[:, None] + noise, tokens=(20,) * 4))
    assert found.value is None
    assert (found.low, found.high, found.bracket) == (1.5, math.inf, (2.5, math.inf))
    # Now the second probe leaves it open, and what lies beyond cannot close it.
    noise, u = noise[:, [0, 3, 1, 2, 4]], u[[0, 3, 1, 2, 4]]
    assert crossing(make(lambdas, CENTER + 4 * u[:, None] + noise, tokens=(20,) * 4)).low == 0.5
    alone = crossing(profile(lambdas, u, directions=1))
    assert alone.low == 0  # one direction bounds nothing


def test_a_censored_profile_of_ragged_windows_alike_has_no_noise():
    """All windows rise alike per token; that some are longer is no uncertainty of the mean."""
    lambdas = np.array([0.5, 1.0, 1.5])
    nll = CENTER + 4 * np.array([0.1, 0.3, 0.49])[:, None]
    found = crossing(make(lambdas, np.stack([nll, nll]), tokens=(10, 90, 400)))
    assert (found.value, found.low) == (None, 1.5)


# --- the intervals ----------------------------------------------------------------------------------------------------


def crossed_losses(rng, n_d, n_w, spread):
    """Crossed random effects, L_dw(λ) = L0_w + ½(C−L0)·λ²·(1 + effects), true R = 1: (lambdas, losses, center)."""
    lambdas = np.linspace(0.2, 2.0, 10)
    direction, window, cell, center = spread
    effect = direction * rng.standard_normal((n_d, 1)) + window * rng.standard_normal((1, n_w))
    effect = effect + cell * rng.standard_normal((n_d, n_w))
    base = CENTER + center * rng.standard_normal(n_w)
    rise = 0.5 * (CHANCE - CENTER) * lambdas[:, None] ** 2 * (1 + effect[:, None, :])
    return lambdas, base + rise, base


@pytest.mark.parametrize(("n_d", "n_w"), [(4, 16), (16, 8)])
def test_intervals_cover_in_a_crossed_design_where_pooled_ones_do_not(n_d, n_w):
    """95 % intervals of R contain the true R in about 95 % of 600 experiments; taking cells as independent does not."""
    rng, repetitions, tokens = np.random.default_rng(7), 600, np.full(n_w, 40)
    covered = pooled = 0
    for _ in range(repetitions):
        lambdas, nll, base = crossed_losses(rng, n_d, n_w, (0.04, 0.06, 0.05, 0.1))
        found = crossing(RadialProbes(lambdas, nll * tokens, tokens, base * tokens, CHANCE))
        covered += found.low <= 1.0 <= found.high
        cells = nll[:, 4] - 0.5 * base - 0.5 * CHANCE  # λ = 1 is on the grid; slope there is C − L0
        half = stats.t.ppf(0.975, cells.size - 1) * cells.std(ddof=1) / math.sqrt(cells.size) / (CHANCE - CENTER)
        pooled += abs(found.value - 1.0) <= half
    low, high = stats.binom.interval(0.999, repetitions, 0.95)
    assert low <= covered <= high
    assert pooled < low


@pytest.mark.parametrize("spread", [(0.08, 0.0, 0.02, 0.0), (0.0, 0.08, 0.02, 0.0), (0.0, 0.0, 0.08, 0.1)])
def test_intervals_cover_whichever_component_rules(spread):
    """Directions alone, windows alone, only the interaction with the centre's noise: never clearly under 95 %."""
    rng, repetitions, n_d, n_w = np.random.default_rng(11), 300, 6, 12
    tokens = np.full(n_w, 40)
    covered = 0
    for _ in range(repetitions):
        lambdas, nll, base = crossed_losses(rng, n_d, n_w, spread)
        found = crossing(RadialProbes(lambdas, nll * tokens, tokens, base * tokens, CHANCE))
        covered += found.low <= 1.0 <= found.high
    assert covered >= stats.binom.ppf(0.0005, repetitions, 0.95)


def test_the_interval_of_a_radius_between_two_probes():
    """L_d = L0 + ½(C−L0)·λ²(1 + δ_d): R = 1 lies between probes; its error is that of the mean of δ, over 2."""
    lambdas, delta = np.array([0.3, 0.7, 1.25, 1.9]), np.array([-0.2, 0.05, 0.3, -0.15])
    nll = CENTER + 0.5 * (CHANCE - CENTER) * lambdas[:, None] ** 2 * (1 + delta[:, None, None])
    found = crossing(make(lambdas, nll, tokens=(30, 30, 30)))
    half = stats.t.ppf(0.975, 3) * delta.std(ddof=1) / 2 / 2
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1 - half, 1 + half))


def test_the_noise_of_the_center_is_in_the_interval():
    """Windows that differ at w and nowhere else in u: the interval comes from L(w) alone, level·SE(L(w))/slope."""
    rng = np.random.default_rng(2)
    lambdas, tokens = np.linspace(0.2, 2.0, 10), np.full(8, 30)
    base = CENTER + 0.2 * rng.standard_normal(8)
    base += CENTER - base.mean()
    nll = base + 0.5 * (CHANCE - CENTER) * lambdas[:, None] ** 2  # (n_λ, n_w)
    found = crossing(RadialProbes(lambdas, np.stack([nll] * 3) * tokens, tokens, base * tokens, CHANCE))
    half = stats.t.ppf(0.975, 7) * 0.5 * base.std(ddof=1) / math.sqrt(8) / (CHANCE - CENTER)
    assert found.value == pytest.approx(1.0)
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half), rel=1e-6)


@pytest.mark.parametrize(("directions", "tokens"), [(1, (50, 50)), (4, (50,))])
def test_one_direction_or_one_window_bounds_nothing(directions, tokens):
    found = crossing(profile(np.linspace(0.2, 2, 10), np.linspace(0.1, 1, 10), directions, tokens=tokens))
    assert found.value == pytest.approx(1.0, rel=0.01)
    assert (found.low, found.high) == (0.0, math.inf)


# --- coarse grids -----------------------------------------------------------------------------------------------------

TRUE = WELL * math.sqrt(2 * math.log(2))  # R of the Gaussian well, whose loss rises to chance


@pytest.mark.parametrize(
    "lambdas",
    [
        (1e20,),
        (2.6, 1e20),
        (0.5, 1e20),
        (1.0, 40.0),
        (0.5, 1.0, 1e20, 2e20),
        (1e-9, 1e9),
        (8.0, 9.0, 10.0),
        (0.3, 30.0),
    ],
)
def test_the_interval_of_a_coarse_grid_reaches_from_probe_to_probe(lambdas):
    found = crossing(gaussian_well(lambdas))
    assert (found.low, found.high) == found.bracket
    assert found.low < TRUE < found.high
    assert found.low < found.value < found.high


def test_a_well_with_a_late_edge_is_inside_too():
    """u stays at 0.1 out to 3, and is 0.6 from there on: the radius is 3, whatever a curve from 1 to 30 says."""
    lambdas = np.array([0.5, 1.0, 30.0, 60.0])
    found = crossing(profile(lambdas, np.where(lambdas < 3, 0.1, 0.6)))
    assert found.low <= 3 <= found.high


@pytest.mark.parametrize("far", [1e3, 1e20, 1e150])
def test_one_probe_far_out_does_not_bend_the_curve(far):
    near = np.linspace(0.3, 2.4, 8)
    alone, beside = crossing(gaussian_well(near)), crossing(gaussian_well([*near, far]))
    assert (beside.value, beside.low, beside.high) == (alone.value, alone.low, alone.high)


@pytest.mark.parametrize("count", range(4, 21))
@pytest.mark.parametrize("level", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("pilot", [0.7, 1.0, 1.3])
def test_the_grid_of_a_survey_holds_its_levels_and_that_of_a_preset_closely(count, level, pilot):
    """Directions and windows are alike, so that the interval is what the curve leaves open."""
    true = WELL * math.sqrt(-2 * math.log(1 - level))
    found = crossing(gaussian_well(sweep_grid(pilot * TRUE, count)), level)
    if found.value is not None:
        assert found.low <= true * (1 + 2e-4)
        assert found.high >= true * (1 - 2e-4)
    if count >= 10 and level <= 0.5:  # ten distances are the fewest of a preset
        assert found.high - found.low < 0.04 * true


def test_a_threshold_below_the_first_probe_of_a_basin_keeps_its_interval_and_one_from_beyond_does_not():
    inside, beyond = (crossing(gaussian_well(lambdas), 0.1) for lambdas in ([1.0, 2.0, 3.0], [5.0, 6.0]))
    true = WELL * math.sqrt(-2 * math.log(0.9))
    assert 0.98 * true < inside.low < true < inside.high < 1.02 * true
    assert (beyond.low, beyond.high) == (0.0, 5.0)


# --- windows that are not independent ---------------------------------------------------------------------------------


def blocked_losses(rng, n_d, sizes, spread):
    """R = 1; each block of windows has one effect besides the windows' own: (lambdas, losses, center, blocks)."""
    lambdas = np.linspace(0.2, 2.0, 10)
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    direction, block, cell = spread
    effect = direction * rng.standard_normal((n_d, 1)) + block * rng.standard_normal(len(sizes))[blocks]
    effect = effect + cell * rng.standard_normal((n_d, len(blocks)))
    rise = 0.5 * (CHANCE - CENTER) * lambdas[:, None] ** 2 * (1 + effect[:, None, :])
    return lambdas, CENTER + rise, np.full(len(blocks), CENTER), blocks


@pytest.mark.parametrize("sizes", [(4,) * 8, (1, 1, 2, 3, 3, 4, 5, 5, 6, 6)])
def test_intervals_cover_with_blocks_where_windows_are_taken_from_few_articles(sizes):
    rng, n_d, repetitions = np.random.default_rng(8), 6, 300
    covered, ignored = 0, 0
    for _ in range(repetitions):
        lambdas, nll, base, blocks = blocked_losses(rng, n_d, sizes, (0.03, 0.1, 0.05))
        tokens = np.full(len(blocks), 40)
        grouped = crossing(RadialProbes(lambdas, nll * tokens, tokens, base * tokens, CHANCE, blocks))
        plain = crossing(RadialProbes(lambdas, nll * tokens, tokens, base * tokens, CHANCE))
        assert grouped.value == plain.value
        covered += grouped.low <= 1.0 <= grouped.high
        ignored += plain.low <= 1.0 <= plain.high
    low, high = stats.binom.interval(0.999, repetitions, 0.95)
    assert ignored < 0.85 * repetitions
    assert low <= covered <= high


def test_one_block_bounds_nothing_and_labels_must_fit():
    lambdas = np.linspace(0.2, 2, 10)
    plain = profile(lambdas, np.linspace(0.1, 1, 10), tokens=(50, 50, 50))
    one = replace(plain, blocks=np.array(["a", "a", "a"]))
    assert (crossing(one).low, crossing(one).high) == (0.0, math.inf)
    assert (estimate_basin(one).windows, estimate_basin(one).articles) == (3, 1)
    assert estimate_basin(plain).articles is None
    with pytest.raises(UsageError, match="block label"):
        replace(plain, blocks=np.array([1, 2]))
