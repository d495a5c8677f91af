import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from landscape.estimators.connectivity import connectivity
from landscape.estimators.max_t import PairedLosses
from quant.errors import UsageError

TOKENS = np.array([50, 50, 50])
UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def measure(losses, alphas=None, tokens=TOKENS):
    """All windows alike: no noise."""
    losses = np.asarray(losses, float)
    alphas = np.linspace(0, 1, len(losses)) if alphas is None else np.asarray(alphas)
    return connectivity(alphas, losses[:, None] * tokens, tokens)


@UNHURRIED
@given(st.lists(st.floats(0, 20), min_size=2, max_size=12))
def test_against_the_definitions_by_brute_force(losses):
    n = len(losses)
    got = measure(losses)
    path = losses if losses[0] <= losses[-1] else losses[::-1]
    prominence = max(path[i] - path[j] for j in range(n) for i in range(j + 1))
    straight = [losses[k] - ((1 - k / (n - 1)) * losses[0] + k / (n - 1) * losses[-1]) for k in range(n)]
    assert got.prominence == pytest.approx(prominence, abs=1e-9)
    assert got.dip == pytest.approx(path[0] - min(path), abs=1e-9)
    assert got.barrier == pytest.approx(max(straight), abs=1e-9)
    assert got.barrier_max == pytest.approx(max(losses) - max(losses[0], losses[-1]), abs=1e-9)
    assert got.low_end == (0.0 if losses[0] <= losses[-1] else 1.0)
    ridge, valley = (losses[round(alpha * (n - 1))] for alpha in (got.ridge_alpha, got.valley_alpha))
    assert ridge - valley == pytest.approx(prominence, abs=1e-9)


@UNHURRIED
@given(st.lists(st.floats(0, 20), min_size=2, max_size=10), st.booleans())
def test_a_monotone_rise_has_no_prominence_whichever_end_is_low(losses, down):
    losses = sorted(losses, reverse=down)
    got = measure(losses)
    assert got.prominence == 0
    assert got.monotonic is True
    assert (got.dip, got.barrier_max, got.noise) == (0, 0, 0)


def test_a_ridge_below_the_higher_end_is_seen_by_prominence_alone():
    """From w at 3.0 over a ridge of 4.5 into a valley of 3.5, then up to a ruined point at 12."""
    got = measure([3.0, 4.5, 3.5, 8.0, 12.0])
    assert got.prominence == 1.0
    assert (got.ridge_alpha, got.valley_alpha) == (0.25, 0.5)
    assert got.barrier_max == 0
    assert got.barrier == 0
    assert got.dip == 0
    assert got.monotonic is False


def test_the_same_segment_the_other_way_round():
    forward, backward = measure([3.0, 4.5, 3.5, 8.0, 12.0]), measure([12.0, 8.0, 3.5, 4.5, 3.0])
    assert backward.prominence == forward.prominence
    assert backward.low_end == 1.0
    assert (backward.ridge_alpha, backward.valley_alpha) == (0.75, 0.5)
    assert (backward.barrier, backward.barrier_max) == (forward.barrier, forward.barrier_max)


def test_a_dip_is_reported_apart():
    got = measure([3.0, 2.6, 3.4, 5.0])
    assert got.dip == pytest.approx(0.4)
    assert got.prominence == pytest.approx(0.4)
    assert got.ridge_alpha == got.low_end == 0.0  # no ridge in the middle
    ridge = measure([3.0, 4.0, 2.6, 5.0])
    assert ridge.dip == pytest.approx(0.4)
    assert ridge.prominence == pytest.approx(1.4)
    assert ridge.ridge_alpha == pytest.approx(1 / 3)


def test_positions_beyond_the_ends_are_ignored():
    inside = measure([3.0, 4.0, 3.5, 5.0], alphas=[0, 0.3, 0.7, 1])
    assert measure([1.0, 3.0, 4.0, 3.5, 5.0, 99.0], alphas=[-0.1, 0, 0.3, 0.7, 1, 1.1]) == inside


def test_windows_count_by_their_tokens():
    tokens = np.array([10, 90])
    per_token = np.array([[3.0, 3.0], [9.0, 3.5], [3.0, 3.2], [4.0, 4.0]])
    got = connectivity(np.linspace(0, 1, 4), per_token * tokens, tokens)
    assert got.prominence == pytest.approx((0.1 * 9 + 0.9 * 3.5) - (0.1 * 3 + 0.9 * 3.2))


def noisy(rng, n_a, n_w, kind):
    """Flat in truth, (n_α, n_w): independent noise everywhere, or a few smooth modes per window."""
    if kind == "rough":
        return 3 + 0.1 * rng.standard_normal((n_a, n_w))
    alphas = np.linspace(0, 1, n_a)
    modes = [alphas, *(np.sin(np.pi * k * alphas) for k in (1, 2, 3))]
    return 3 + 0.1 * sum(np.outer(mode, rng.standard_normal(n_w)) for mode in modes)


@pytest.mark.parametrize("kind", ["smooth", "rough"])
def test_noise_alone_is_seldom_a_ridge_though_the_largest_fall_is_picked(kind):
    """With the t quantile of one pair chosen beforehand, the alarm is false far too often."""
    rng, n_a, n_w, repetitions = np.random.default_rng(8), 11, 16, 200
    tokens = np.full(n_w, 50)
    alarms = naive = 0
    for _ in range(repetitions):
        losses = noisy(rng, n_a, n_w, kind)
        got = connectivity(np.linspace(0, 1, n_a), losses * tokens, tokens)
        alarms += got.monotonic is False
        fall = losses[round(got.ridge_alpha * (n_a - 1))] - losses[round(got.valley_alpha * (n_a - 1))]
        naive += fall.mean() > stats.t.ppf(0.95, n_w - 1) * fall.std(ddof=1) / math.sqrt(n_w)
    assert alarms <= stats.binom.ppf(0.999, repetitions, 0.05)
    assert naive > stats.binom.ppf(0.999, repetitions, 0.05)


def test_a_real_ridge_is_found_in_windows_that_differ_much_from_each_other():
    """Windows at 2 to 4 nats, a ridge of 0.2: unpaired it would drown."""
    rng = np.random.default_rng(6)
    tokens, levels = np.full(8, 50), np.linspace(2, 4, 8)
    profile = np.array([0.0, 0.1, 0.3, 0.1, 0.5, 1.0])
    losses = levels + profile[:, None] + 0.01 * rng.standard_normal((6, 8))
    got = connectivity(np.linspace(0, 1, 6), losses * tokens, tokens)
    assert got.prominence == pytest.approx(0.2, abs=0.02)
    assert got.monotonic is False
    assert 0 < got.noise < 0.05


def test_between_two_positions_the_noise_is_the_paired_t():
    """Three positions that differ in one mode only: all pairs share one t, so nothing is paid for choosing."""
    rng = np.random.default_rng(9)
    shape, mode = np.array([0.0, 1.0, 0.7]), rng.normal(1.0, 0.4, 10)  # the fall is 0.3 of the mode
    tokens = np.full(10, 50)
    losses = 3 + shape[:, None] * mode
    got = connectivity(np.array([0, 0.5, 1.0]), losses * tokens, tokens)
    fall = losses[1] - losses[2]
    # Falls 1→2 and 0→1 are the same t with opposite signs: the larger of the two is |t|, its 95 % quantile t(0.975).
    expected = stats.t.ppf(0.975, 9) * fall.std(ddof=1) / math.sqrt(10)
    assert got.noise == pytest.approx(expected, rel=0.06)


PLATEAUS = np.array([0.0, 0.5, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.6, 0.45])
"""Up to a plateau, down to another, up again: many falls of 0.2, of which the windows pick the luckiest; top 0.6."""


@pytest.mark.parametrize("kind", ["smooth", "rough"])
def test_intervals_cover_the_truth_though_both_positions_are_picked(kind):
    """P, barrier and barrier over the higher end; the t interval of the fall picked covers too seldom where rough."""
    rng, n_w, repetitions = np.random.default_rng(11), 16, 120
    n_a, tokens = len(PLATEAUS), np.full(16, 50)
    alphas = np.linspace(0, 1, n_a)
    over_line = (PLATEAUS - 0.45 * alphas).max()
    misses = np.zeros(4, int)
    for _ in range(repetitions):
        losses = noisy(rng, n_a, n_w, kind) + PLATEAUS[:, None]
        got = connectivity(alphas, losses * tokens, tokens)
        fall = losses[round(got.ridge_alpha * (n_a - 1))] - losses[round(got.valley_alpha * (n_a - 1))]
        half = stats.t.ppf(0.975, n_w - 1) * fall.std(ddof=1) / math.sqrt(n_w)
        misses += [
            not got.prominence_interval.low <= 0.2 <= got.prominence_interval.high,
            not got.barrier_interval.low <= over_line <= got.barrier_interval.high,
            not got.barrier_max_interval.low <= 0.15 <= got.barrier_max_interval.high,
            abs(fall.mean() - 0.2) > half,
        ]
        assert got.prominence_interval.low <= got.prominence <= got.prominence_interval.high
    bound = stats.binom.ppf(0.999, repetitions, 0.05)
    assert (misses[:3] <= bound).all(), misses
    if kind == "rough":
        assert misses[3] > bound


def test_intervals_are_those_of_the_paired_t_where_there_is_one_difference():
    """With three positions of which two differ: the simultaneous interval is Student's, up to its Monte-Carlo error."""
    rng = np.random.default_rng(5)
    tokens, level = np.full(8, 50), rng.normal(3, 0.5, 8)
    mode = rng.normal(0.4, 0.1, 8)
    losses = np.stack([level, level + mode, level])
    got = connectivity(np.array([0, 0.5, 1.0]), losses * tokens, tokens)
    half = stats.t.ppf(0.975, 7) * mode.std(ddof=1) / math.sqrt(8)
    for found in (got.prominence_interval, got.barrier_interval, got.barrier_max_interval):
        assert found.value == pytest.approx(mode.mean())
        assert (found.low, found.high) == pytest.approx((mode.mean() - half, mode.mean() + half), rel=0.05)
    assert got.barrier_alpha == got.barrier_max_alpha == got.ridge_alpha == 0.5


def test_the_barriers_have_positions_of_their_own():
    got = measure([0.0, 3.0, 2.5, 4.5, 4.0])
    assert (got.barrier_alpha, got.barrier_max_alpha, got.ridge_alpha) == (0.25, 0.75, 0.25)
    plain = measure([0.0, 1.0, 2.0])
    assert plain.barrier_max_alpha in (0.0, 1.0)
    assert plain.prominence_interval == plain.barrier_interval == plain.barrier_max_interval
    assert (plain.prominence_interval.low, plain.prominence_interval.high) == (0, 0)


def test_a_fall_within_the_noise_has_an_interval_that_begins_at_zero():
    rng = np.random.default_rng(2)
    tokens = np.full(8, 50)
    losses = np.array([0.0, 0.5, 0.49, 1.0])[:, None] + 0.1 * rng.standard_normal((4, 8)) + 3
    got = connectivity(np.linspace(0, 1, 4), losses * tokens, tokens)
    assert got.monotonic is True
    assert got.prominence_interval.low == 0
    assert got.prominence_interval.high > got.prominence
    flat = np.array([3.0, 3.05, 5.0])[:, None] + 0.1 * rng.standard_normal((3, 8))
    rising = connectivity(np.linspace(0, 1, 3), flat * tokens, tokens)
    assert rising.prominence == 0 < rising.prominence_interval.high


def test_one_window_and_an_overflow_bound_nothing():
    one = measure([3.0, 4.0, 3.5, 5.0], tokens=np.array([50]))
    assert (one.prominence_interval.low, one.prominence_interval.high) == (0, math.inf)
    lost = measure([3.0, math.inf, 3.5, 4.0])
    for found in (lost.prominence_interval, lost.barrier_interval, lost.barrier_max_interval):
        assert (found.value, found.low, found.high) == (math.inf, -math.inf, math.inf)
    end = measure([3.0, 3.5, 3.2, math.nan])
    assert end.prominence_interval.value == pytest.approx(0.3)
    assert end.prominence_interval.high == pytest.approx(0.3)
    assert end.barrier_interval.high == end.barrier_max_interval.high == math.inf


def test_one_window_leaves_it_open():
    got = measure([3.0, 4.0, 3.5, 5.0], tokens=np.array([50]))
    assert got.prominence == pytest.approx(0.5)
    assert got.noise is None
    assert got.monotonic is None
    assert measure([3.0, 4.0, 5.0], tokens=np.array([50])).monotonic is True


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_overflow_is_infinitely_high(bad):
    middle = measure([3.0, bad, 3.5, 4.0])
    assert middle.prominence == middle.barrier == middle.barrier_max == math.inf
    assert middle.ridge_alpha == pytest.approx(1 / 3)
    assert (middle.dip, middle.noise, middle.monotonic) == (0, None, False)
    end = measure([bad, bad, 3.5, 3.0])
    assert (end.low_end, end.prominence, end.barrier, end.barrier_max) == (1.0, 0, 0, 0)
    assert end.monotonic is True
    both = measure([bad, 3.5, bad])
    assert both.monotonic is None
    assert both.dip == math.inf


def test_an_overflow_elsewhere_leaves_the_ridge_and_its_noise_alone():
    rng = np.random.default_rng(3)
    tokens = np.full(6, 50)
    losses = np.array([3.0, 3.5, 3.3, 5.0, 6.0])[:, None] + 0.02 * rng.standard_normal((5, 6))
    whole = connectivity(
        np.array([0, 0.2, 0.4, 0.6, 0.8, 1.0]), np.vstack([losses, losses[:1] * np.nan]) * tokens, tokens
    )
    assert whole.prominence == pytest.approx(float((losses[1] - losses[2]).mean()))
    assert whole.monotonic is False
    assert 0 < whole.noise < 0.2


def test_malformed_segments_are_refused():
    good = np.ones((3, 3))
    with pytest.raises(UsageError, match="0 and 1"):
        connectivity(np.array([0.0, 0.5, 0.9]), good, TOKENS)
    with pytest.raises(UsageError, match="increasing"):
        connectivity(np.array([0.0, 1.0, 0.5]), good, TOKENS)
    with pytest.raises(UsageError, match="shape"):
        connectivity(np.array([0.0, 0.5, 1.0]), good[:2], TOKENS)
    with pytest.raises(UsageError, match="tokens"):
        connectivity(np.array([0.0, 0.5, 1.0]), good, np.array([0, 1, 1]))


# --- windows of one article ---------------------------------------------------------------------------------------


def wavy(rng, n_w, spread=0.05):
    """A hill on a slope, (5, n_w) NLL sums; windows differ in height and in shape."""
    hill = np.array([2.0, 2.4, 2.2, 2.5, 2.6])[:, None]
    return (hill + 0.3 * rng.standard_normal(n_w) + spread * rng.standard_normal((5, n_w))) * 40.0, np.full(n_w, 40)


def intervals(found):
    return [found.prominence_interval, found.barrier_interval, found.barrier_max_interval]


def test_windows_of_different_articles_are_windows_to_the_bit():
    rng, alphas = np.random.default_rng(0), np.linspace(0, 1, 5)
    totals, _ = wavy(rng, 9)
    for tokens in (np.full(9, 40), rng.integers(20, 60, 9)):
        assert connectivity(alphas, totals, tokens, rng.permutation(9)) == connectivity(alphas, totals, tokens)


def test_an_article_of_equal_windows_counts_once():
    rng, alphas = np.random.default_rng(1), np.linspace(0, 1, 5)
    totals, tokens = wavy(rng, 6)
    once = connectivity(alphas, totals, tokens)
    thrice, blocks = np.repeat(totals, 3, axis=1), np.repeat(np.arange(6), 3)
    grouped, blind = (connectivity(alphas, thrice, np.repeat(tokens, 3), labels) for labels in (blocks, None))
    assert grouped.noise == pytest.approx(once.noise)
    for got, expected in zip(intervals(grouped), intervals(once), strict=True):
        assert (got.value, got.low, got.high) == pytest.approx((expected.value, expected.low, expected.high))
    got, narrow = grouped.prominence_interval, blind.prominence_interval
    assert narrow.high - narrow.value < 0.7 * (got.high - got.value)


def test_one_article_shows_no_noise():
    totals, tokens = wavy(np.random.default_rng(2), 4)
    found = connectivity(np.linspace(0, 1, 5), totals, tokens, np.zeros(4, int))
    assert (found.noise, found.monotonic) == (None, None)
    assert [(each.low, each.high) for each in intervals(found)] == [(0.0, np.inf)] * 3


def test_the_error_of_a_difference_with_articles_of_unequal_size_is_unbiased():
    """Compare Σ c²σ²/n² over articles, c windows in each, one effect, with the mean of single estimates."""
    rng, sizes = np.random.default_rng(3), np.array([1, 2, 3, 6, 2, 4])
    blocks = np.repeat(np.arange(6), sizes)
    tokens, squares = np.full(18, 40), []
    for _ in range(3000):
        effect = rng.standard_normal(6) * np.sqrt(1 / sizes)  # so that an article's sum has a variance as its size
        losses = PairedLosses.of(np.stack([np.zeros(18), effect[blocks]]) * tokens, tokens, blocks)
        squares.append(float(losses.se(losses.residuals[0] - losses.residuals[1])) ** 2)
    assert np.mean(squares) == pytest.approx((sizes**2 / sizes).sum() / 18**2, rel=0.05)


def test_intervals_of_a_fall_cover_where_windows_of_an_article_are_alike():
    """The fall from the hill to the valley beyond it is 0.2 nats; articles of 1 to 6 windows shift it as one."""
    rng, repetitions, alphas = np.random.default_rng(4), 300, np.linspace(0, 1, 5)
    blocks = np.repeat(np.arange(10), [1, 1, 2, 3, 3, 4, 5, 5, 6, 6])
    tokens, hits = np.full(36, 40), {True: 0, False: 0}
    for _ in range(repetitions):
        shift = 0.05 * rng.standard_normal((5, 10))[:, blocks] + 0.02 * rng.standard_normal((5, 36))
        totals = (np.array([2.0, 2.4, 2.2, 2.5, 2.6])[:, None] + shift) * tokens
        for grouped in hits:
            found = connectivity(alphas, totals, tokens, blocks if grouped else None).prominence_interval
            hits[grouped] += found.low <= 0.2 <= found.high
    assert hits[True] >= 0.94 * repetitions  # simultaneous: of a fall that is the deepest by far it is wider than 95 %
    assert hits[False] < 0.9 * repetitions
