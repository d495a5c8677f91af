import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from landscape.basin import (
    Basin,
    Crossing,
    RadialProbes,
    crossing,
    direction_nll,
    estimate_basin,
    location,
    loss_word,
    ratio,
    saturation,
)
from landscape.estimate import Estimate, crossed_error, mean_error, paired_difference
from landscape.sweep import sweep_grid
from quant.errors import UsageError

CHANCE, CENTER, WELL = 7.0, 3.0, 1.7
UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def make(lambdas, nll, tokens=(50, 50), chance=CHANCE) -> RadialProbes:
    """Probes from losses per token: ``nll`` broadcasts to (n_d, n_λ, n_w), the centre is CENTER in every window."""
    lambdas, tokens = np.asarray(lambdas, float), np.asarray(tokens)
    nll = np.asarray(nll, float)
    totals = np.broadcast_to(nll, (nll.shape[0], len(lambdas), len(tokens))) * tokens
    return RadialProbes(lambdas, totals, tokens, CENTER * tokens.astype(float), chance)


def profile(lambdas, u, directions=2, **options) -> RadialProbes:
    """All directions and windows alike, with the given u at each λ."""
    nll = CENTER + (options.get("chance", CHANCE) - CENTER) * np.asarray(u, float)
    return make(lambdas, np.tile(nll[None, :, None], (directions, 1, 1)), **options)


def gaussian_well(lambdas, s=WELL, directions=2) -> RadialProbes:
    return profile(lambdas, 1 - np.exp(-(np.asarray(lambdas) ** 2) / (2 * s * s)), directions)


# --- the radius ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [10, 12, 14])
def test_radii_of_a_gaussian_well(points):
    """L = C − (C − L0)·exp(−λ²/2s²) has R = s√(2 ln 2), and any level v at s√(−2 ln(1−v))."""
    basin = estimate_basin(gaussian_well(np.linspace(0, 3.3 * WELL, points + 1)[1:]))
    for found, level in ((basin.r10, 0.1), (basin.radius, 0.5), (basin.r90, 0.9)):
        assert found.value == pytest.approx(WELL * math.sqrt(-2 * math.log(1 - level)), rel=3e-3)
        assert found.bracket[0] < found.value <= found.bracket[1]
    assert basin.radius.value == pytest.approx(WELL * math.sqrt(2 * math.log(2)), rel=1.5e-3)
    assert basin.monotone
    assert basin.non_finite == 0
    assert (basin.center_nll, basin.chance) == (CENTER, CHANCE)


@UNHURRIED
@given(st.floats(0.05, 0.95), st.integers(4, 14))
def test_crossings_of_a_quadratic_are_exact(level, points):
    """On any grid, at any level: the profile is interpolated in λ²."""
    lambdas = np.geomspace(0.05, 2.0, points)
    assert crossing(profile(lambdas, lambdas**2 / 3), level).value == pytest.approx(math.sqrt(3 * level), rel=1e-9)


@pytest.mark.parametrize("hessian", [4.0 * np.eye(6), np.diag([1.0, 2.0, 3.0, 5.0, 6.0, 7.0])])
def test_radii_of_a_quadratic_landscape_follow_the_trace(hessian):
    """L(λê) = L0 + λ²/2·êᵀHê and E êᵀHê = Tr H/D, so u = v at λ = √(2·v·(C − L0)·D/Tr H).

    The directions are random orthonormal frames: each uniform on the sphere, their mean of êᵀHê the trace exactly.
    """
    d, rng = len(hessian), np.random.default_rng(3)
    e = np.concatenate([np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(10)])
    curvature = np.einsum("ni,ij,nj->n", e, hessian, e)
    lambdas = np.linspace(0.15, 2.1, 12)
    basin = estimate_basin(make(lambdas, CENTER + 0.5 * curvature[:, None, None] * lambdas[:, None] ** 2))
    for found, level in ((basin.r10, 0.1), (basin.radius, 0.5), (basin.r90, 0.9)):
        expected = math.sqrt(2 * level * (CHANCE - CENTER) * d / np.trace(hessian))
        assert found.value == pytest.approx(expected, rel=1e-9)
    # Single directions cross where their own curvature says so.
    single = np.sqrt((CHANCE - CENTER) / curvature)
    assert basin.direction_radii == pytest.approx(single, rel=1e-9)
    assert basin.direction_std == pytest.approx(single.std(ddof=1), rel=1e-6, abs=1e-9)
    assert basin.direction_spread.low == pytest.approx(single.min())
    assert basin.direction_spread.high == pytest.approx(single.max())


def test_the_loss_is_a_mean_over_tokens_not_a_mean_of_means():
    """Two windows of 10 and 90 tokens that rise at different rates: u counts each by its tokens."""
    lambdas = np.linspace(0.2, 2, 10)
    nll = CENTER + np.array([4.0, 1.0]) * lambdas[:, None] ** 2  # (n_λ, n_w)
    probes = make(lambdas, np.stack([nll, nll]), tokens=(10, 90))
    assert crossing(probes).value == pytest.approx(math.sqrt(2.0 / (0.1 * 4 + 0.9 * 1)), rel=1e-9)


def test_a_censored_profile_gives_a_lower_bound_and_never_the_last_lambda():
    lambdas = np.linspace(0.1, 1.0, 10)
    basin = estimate_basin(profile(lambdas, 0.4 * lambdas**2))
    assert basin.r10.value == pytest.approx(0.5)
    assert basin.radius.value is None
    assert basin.radius.estimate is None
    assert (basin.radius.low, basin.radius.high, basin.radius.bracket) == (1.0, math.inf, (1.0, math.inf))
    assert basin.direction_radii == (None, None)
    assert basin.direction_spread is None
    assert basin.direction_std is None
    assert ratio(0.3, basin.radius) is None


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


def test_one_censored_direction_hides_the_spread():
    lambdas = np.linspace(0.1, 1.0, 10)
    nll = CENTER + 4 * np.array([1.0, 0.9, 0.4])[:, None, None] * lambdas[:, None] ** 2
    basin = estimate_basin(make(lambdas, nll))
    assert basin.radius.value == pytest.approx(math.sqrt(0.5 / np.mean([1, 0.9, 0.4])))
    assert basin.direction_radii[2] is None
    assert basin.direction_spread is None
    assert basin.direction_std is None


def test_reentry_and_monotone_are_flagged():
    lambdas = np.arange(1, 6) * 0.5
    back = estimate_basin(profile(lambdas, [0.1, 0.4, 0.7, 0.45, 0.8]))
    assert back.radius.reentry
    assert not back.monotone
    assert 1.0 < back.radius.value < 1.5
    # Falls, but not below the level of R.
    plateau = estimate_basin(profile(lambdas, [0.1, 0.4, 0.95, 0.85, 0.99]))
    assert not plateau.radius.reentry
    assert plateau.r90.reentry
    assert not plateau.monotone
    assert not estimate_basin(profile(lambdas, [0.1, 0.4, 0.7, 0.8, 0.9])).radius.reentry


def test_crossing_at_the_first_probe_and_exactly_on_a_probe():
    assert crossing(profile([1.0, 2.0], [0.9, 1.0])).bracket == (0.0, 1.0)
    on = crossing(profile([1.0, 2.0, 3.0], [0.25, 0.5, 0.75]))
    assert on.value == 2.0
    assert on.bracket == (1.0, 2.0)


def test_an_overflow_counts_as_lost_and_is_reported():
    """NaN in one of two windows of one of two directions: it counts as chance, the others as they are."""
    lambdas = np.array([0.5, 1.0, 1.5, 2.0])
    nll = np.broadcast_to((CENTER + lambdas**2)[None, :, None], (2, 4, 2)).copy()
    clean = direction_nll(make(lambdas, nll))
    nll[0, 2, 1], nll[1, 3, 0] = np.nan, np.inf
    dirty = make(lambdas, nll)
    got = direction_nll(dirty)
    assert got[0, 2] == pytest.approx((nll[0, 2, 0] + CHANCE) / 2)
    assert got[1, 3] == pytest.approx((nll[1, 3, 1] + CHANCE) / 2)
    untouched = np.ones_like(got, bool)
    untouched[0, 2] = untouched[1, 3] = False
    assert np.array_equal(got[untouched], clean[untouched])
    assert estimate_basin(dirty).non_finite == pytest.approx(2 / 16)


def test_a_wholly_overflowed_probe_is_beyond_every_level():
    basin = estimate_basin(make([1.0, 2.0, 3.0], np.array([[[3.1]], [[3.1]]]) * [[1.0], [math.nan], [math.inf]]))
    for found in (basin.r10, basin.radius, basin.r90):
        assert found.bracket == (1.0, 2.0)
        assert not found.reentry
    assert basin.non_finite == pytest.approx(2 / 3)


def test_an_overflow_beyond_chance_does_not_look_like_a_return():
    """Llama-type models rise past C; the overflow after that must not fall back to C."""
    nll = np.array([4.0, 9.0, math.nan])[None, :, None] + np.zeros((2, 1, 1))
    assert direction_nll(make([1.0, 2.0, 3.0], nll))[:, 2] == pytest.approx(9.0)
    assert estimate_basin(make([1.0, 2.0, 3.0], nll)).monotone


@pytest.mark.parametrize("chance", [CENTER, CENTER - 1, math.nan])
def test_no_basin_around_weights_that_are_no_better_than_chance(chance):
    with pytest.raises(UsageError, match="below chance"):
        profile([1.0, 2.0], [0.1, 0.9], chance=chance)
    with pytest.raises(UsageError, match="below chance"):
        saturation(5.0, CENTER, chance)


def test_malformed_probes_are_refused():
    good = profile([1.0, 2.0], [0.1, 0.9])
    with pytest.raises(UsageError, match="increase strictly"):
        RadialProbes(np.array([0.0, 1.0]), good.totals, good.tokens, good.center, CHANCE)
    with pytest.raises(UsageError, match="shape"):
        RadialProbes(good.lambdas, good.totals[:, :1], good.tokens, good.center, CHANCE)
    with pytest.raises(UsageError, match="finite losses at w"):
        RadialProbes(good.lambdas, good.totals, good.tokens, good.center * math.nan, CHANCE)
    for level in (0.0, 1.0, -0.2):
        with pytest.raises(UsageError, match="level"):
            crossing(good, level)


# --- the intervals ------------------------------------------------------------------------------------------------


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


def test_the_crossed_variance_is_unbiased():
    """E V = σ²_d/n_d + σ²_w/n_w + σ²_ε/(n_d n_w), the variance of the grand mean."""
    rng, (n_d, n_w), (d, w, e) = np.random.default_rng(5), (5, 7), (1.0, 1.5, 1.0)
    tables = (
        d * rng.standard_normal((4000, n_d, 1))
        + w * rng.standard_normal((4000, 1, n_w))
        + e * rng.standard_normal((4000, n_d, n_w))
    )
    mean_variance = np.mean([crossed_error(table).value ** 2 for table in tables])
    assert mean_variance == pytest.approx(d**2 / n_d + w**2 / n_w + e**2 / (n_d * n_w), rel=0.03)


def test_degrees_of_freedom_when_one_factor_is_all_the_noise():
    """Then the table has as many independent values as the factor has levels, and the interval is theirs."""
    values = np.array([0.3, -1.0, 0.4, 2.0])
    plain = mean_error(values)
    for table in (np.tile(values, (6, 1)), np.tile(values[:, None], (1, 6))):
        error = crossed_error(table)
        assert (error.value, error.df) == pytest.approx((plain.value, 3.0))


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


# --- windows that are not independent -----------------------------------------------------------------------------


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
        told = crossing(RadialProbes(lambdas, nll * tokens, tokens, base * tokens, CHANCE, blocks))
        plain = crossing(RadialProbes(lambdas, nll * tokens, tokens, base * tokens, CHANCE))
        assert told.value == plain.value
        covered += told.low <= 1.0 <= told.high
        ignored += plain.low <= 1.0 <= plain.high
    low, high = stats.binom.interval(0.999, repetitions, 0.95)
    assert ignored < 0.85 * repetitions
    assert low <= covered <= high


def test_equal_blocks_are_the_crossed_design_of_their_means():
    rng = np.random.default_rng(9)
    cells, labels = rng.standard_normal((5, 12)), np.array(list("bacd" * 3))
    means = np.stack([cells[:, labels == label].mean(1) for label in "abcd"], axis=1)
    got, expected = crossed_error(cells, blocks=labels), crossed_error(means)
    assert (got.value, got.df) == pytest.approx((expected.value, expected.df))


def test_windows_all_their_own_blocks_are_windows():
    rng = np.random.default_rng(10)
    cells, tokens = rng.standard_normal((5, 12)), rng.integers(20, 60, 12)
    got, expected = crossed_error(cells, tokens, np.arange(12)[::-1]), crossed_error(cells, tokens)
    assert (got.value, got.df) == pytest.approx((expected.value, expected.df))


def test_a_block_of_equal_windows_counts_once():
    """Windows that repeat one another say no more than one of them."""
    rng = np.random.default_rng(12)
    center, totals = rng.normal(150, 20, 6), rng.normal(160, 20, 6)
    once = paired_difference(totals, center, np.full(6, 50))
    thrice = paired_difference(
        np.repeat(totals, 3), np.repeat(center, 3), np.full(18, 50), blocks=np.repeat(np.arange(6), 3)
    )
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))


def test_the_variance_with_unequal_columns_is_unbiased():
    """Directions and tokens are the noise: E V = σ²_d/n_d + σ²_ε/(n_d·tokens) + σ²_w/tokens, whatever the sizes."""
    rng, n_d, (d, w, e) = np.random.default_rng(6), 5, (0.5, 1.5, 1.0)
    tokens, blocks = np.array([1, 2, 4, 8, 3, 6, 20]), np.array([0, 0, 1, 1, 2, 3, 4])
    spread = np.sqrt(tokens)
    tables = (
        d * rng.standard_normal((3000, n_d, 1)) * tokens
        + w * rng.standard_normal((3000, 1, 7)) * spread
        + e * rng.standard_normal((3000, n_d, 7)) * spread
    ) / tokens.mean()
    variance = np.mean([crossed_error(table, tokens, blocks).value ** 2 for table in tables])
    total = tokens.sum()
    assert variance == pytest.approx(d**2 / n_d + w**2 / total + e**2 / (n_d * total), rel=0.05)


def test_a_censored_profile_of_ragged_windows_alike_has_no_noise():
    """All windows rise alike per token; that some are longer is no uncertainty of the mean."""
    lambdas = np.array([0.5, 1.0, 1.5])
    nll = CENTER + 4 * np.array([0.1, 0.3, 0.49])[:, None]
    found = crossing(make(lambdas, np.stack([nll, nll]), tokens=(10, 90, 400)))
    assert (found.value, found.low) == (None, 1.5)


def test_one_block_bounds_nothing_and_labels_must_fit():
    lambdas = np.linspace(0.2, 2, 10)
    plain = profile(lambdas, np.linspace(0.1, 1, 10), tokens=(50, 50, 50))
    one = replace(plain, blocks=np.array(["a", "a", "a"]))
    assert (crossing(one).low, crossing(one).high) == (0.0, math.inf)
    assert (estimate_basin(one).windows, estimate_basin(one).blocks) == (3, 1)
    assert estimate_basin(plain).blocks == 3
    with pytest.raises(UsageError, match="block label"):
        replace(plain, blocks=np.array([1, 2]))


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


# --- location, loss, ratio ----------------------------------------------------------------------------------------


def edge(level: float, low: float, high: float, value: float | None = None) -> Crossing:
    return Crossing(level, (low + high) / 2 if value is None else value, low, high, (low, high), reentry=False)


def censored(level: float, low: float) -> Crossing:
    return Crossing(level, None, low, math.inf, (low, math.inf), reentry=False)


def band(r10: Crossing, r90: Crossing) -> Basin:
    return Basin(edge(0.5, 3, 4), r10, r90, CENTER, CHANCE, (3.5, 3.5), 2, 2, 0.0, True)


@pytest.mark.parametrize(
    ("distance", "word"),
    [
        (0.0, "inside"), (0.9, "inside"), (1.0, "inside"), (1.1, "unresolved"), (1.9, "unresolved"), (2.0, "border"),
        (3.5, "border"), (5.0, "border"), (5.1, "unresolved"), (6.0, "unresolved"), (6.1, "outside"), (99.0, "outside"),
    ],
)  # fmt: skip
def test_location_at_all_borders(distance, word):
    """r10 in [1, 2], r90 in [5, 6]."""
    assert location(distance, band(edge(0.1, 1, 2), edge(0.9, 5, 6))) == word


def test_location_where_an_edge_is_unknown():
    beyond = band(edge(0.1, 1, 2), censored(0.9, 5.0))  # r90 is above 5, somewhere
    assert [location(d, beyond) for d in (0.5, 3.0, 5.0, 7.0, 1e6)] == ["inside", "border", "border"] + [
        "unresolved"
    ] * 2
    nothing = band(censored(0.1, 5.0), censored(0.9, 5.0))  # never left the basin
    assert [location(d, nothing) for d in (4.9, 5.0, 5.1)] == ["inside", "inside", "unresolved"]
    unbounded = band(edge(0.1, 0, math.inf, value=1.0), edge(0.9, 0, math.inf, value=2.0))  # one direction
    assert [location(d, unbounded) for d in (0.5, 1.5, 50.0)] == ["unresolved"] * 3
    overlapping = band(edge(0.1, 1, 6), edge(0.9, 2, 7))
    assert [location(d, overlapping) for d in (0.5, 4.0, 8.0)] == ["inside", "unresolved", "outside"]
    for distance in (-1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="distance"):
            location(distance, beyond)


def test_loss_words():
    limit = math.log(1.05)
    assert loss_word(Estimate(0.02, 0.0, limit), u=0.01) == "kept"
    assert loss_word(Estimate(0.02, 0.0, limit + 1e-9), u=0.01) == "degraded"
    assert loss_word(Estimate(0.02, 0.0, 0.3), u=0.01, limit=0.3) == "kept"
    assert loss_word(Estimate(0.0, -math.inf, math.inf), u=0.0) == "degraded"  # one window cannot say "kept"
    assert loss_word(Estimate(1.9, 1.8, 2.0), u=0.499999) == "degraded"
    assert loss_word(Estimate(2.0, 1.9, 2.1), u=0.5) == "lost"
    assert loss_word(Estimate(2.0, 1.9, 2.1), u=0.5, limit=9.0) == "lost"
    for overflow in (math.inf, math.nan):
        assert loss_word(Estimate(math.inf, -math.inf, math.inf), u=overflow) == "lost"


def test_ratio_carries_the_interval_of_the_radius():
    assert ratio(3.0, edge(0.5, 1.0, 6.0, value=2.0)) == Estimate(1.5, 0.5, 3.0)
    assert ratio(3.0, edge(0.5, 0.0, math.inf, value=2.0)) == Estimate(1.5, 0.0, math.inf)
    assert ratio(0.0, edge(0.5, 0.0, math.inf, value=2.0)) == Estimate(0.0, 0.0, 0.0)


def test_saturation():
    assert [saturation(nll, 3.0, 7.0) for nll in (3.0, 5.0, 7.0, 2.0)] == [0.0, 0.5, 1.0, -0.25]


def test_paired_difference_of_equal_windows_is_the_paired_t_test():
    rng = np.random.default_rng(1)
    center, shift = rng.normal(150, 30, 12), rng.normal(5, 2, 12)
    got = paired_difference(center + shift, center, np.full(12, 50))
    reference = stats.ttest_1samp(shift / 50, 0).confidence_interval(0.95)
    assert (got.value, got.low, got.high) == pytest.approx((np.mean(shift) / 50, reference.low, reference.high))


def test_paired_difference_of_ragged_windows_is_weighted_by_tokens():
    """The value is a ratio of sums; its error is that of a ratio estimator (Bell and McCaffrey 2002), and covers."""
    rng, covered, repetitions = np.random.default_rng(4), 0, 500
    for _ in range(repetitions):
        tokens = rng.integers(20, 200, 24)
        rise = 0.3 + 0.1 * rng.standard_normal(24)  # per token, independent of the length
        center = tokens * 3.0
        got = paired_difference(center + tokens * rise, center, tokens)
        assert got.value == pytest.approx(np.average(rise, weights=tokens))
        covered += got.low <= 0.3 <= got.high
    # The linearisation is good to a per cent or two at 24 windows as ragged as these.
    assert 0.91 <= covered / repetitions <= 0.98
    # CR2 and its degrees of freedom in matrices: residuals of a token-weighted mean of values with variances 1/tokens.
    remove = np.diag(np.ones(24)) - np.outer(tokens, np.ones(24)) / tokens.sum()
    covariance = remove @ np.diag(tokens) @ remove.T
    form = np.diag(tokens / np.diag(covariance)) @ covariance
    residuals = tokens * (rise - got.value)
    se = math.sqrt((residuals**2 * tokens / np.diag(covariance)).sum()) / tokens.sum()
    df = np.trace(form) ** 2 / np.trace(form @ form)
    assert df < 22
    assert got.high - got.value == pytest.approx(stats.t.ppf(0.975, df) * se)


def test_paired_difference_at_its_limits():
    one = paired_difference(np.array([160.0]), np.array([150.0]), np.array([50]))
    assert one == Estimate(0.2, -math.inf, math.inf)
    ruined = paired_difference(np.array([160.0, math.nan]), np.array([150.0, 150.0]), np.array([50, 50]))
    assert ruined == Estimate(math.inf, -math.inf, math.inf)
    with pytest.raises(UsageError, match="same windows"):
        paired_difference(np.zeros(3), np.zeros(2), np.ones(3))
    with pytest.raises(UsageError, match="finite losses at w"):
        paired_difference(np.zeros(2), np.array([1.0, math.nan]), np.ones(2))


def test_directions_that_are_meant_leave_the_windows_uncertain_alone() -> None:
    rng = np.random.default_rng(5)
    cells = rng.normal(size=(3, 7)) + rng.normal(size=(3, 1)) * 10
    error = crossed_error(cells, fixed=True)
    assert error.value == pytest.approx(cells.mean(0).std(ddof=1) / math.sqrt(7))
    assert error.df == pytest.approx(6)
    one = crossed_error(cells[:1], fixed=True)
    assert one.value == pytest.approx(cells[0].std(ddof=1) / math.sqrt(7))
    assert crossed_error(cells).value > 3 * error.value
    assert math.isinf(crossed_error(cells[:1]).value)
