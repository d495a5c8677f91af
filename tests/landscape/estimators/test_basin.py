import math

import numpy as np
import pytest

from landscape.estimators.basin import Basin, estimate_basin
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.estimators.location import location, loss_word, ratio, steeper
from quant.errors import UsageError
from tests.landscape.wells import CENTER, CHANCE, WELL, gaussian_well, make, profile

# --- the radius -------------------------------------------------------------------------------------------------------


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


def test_a_wholly_overflowed_probe_is_beyond_every_level():
    basin = estimate_basin(make([1.0, 2.0, 3.0], np.array([[[3.1]], [[3.1]]]) * [[1.0], [math.nan], [math.inf]]))
    for found in (basin.r10, basin.radius, basin.r90):
        assert found.bracket == (1.0, 2.0)
        assert not found.reentry
    assert basin.non_finite == pytest.approx(2 / 3)


# --- location, loss, ratio --------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("delta", "typical", "shown"),
    [
        (Estimate(1.25, 1.11, 1.39), 0.011, True),  # SmolLM2-135M, int8 at the exact scale
        (Estimate(0.0096, -0.17, 0.19), 0.001, False),
        (Estimate(0.5, 0.4, 0.6), 0.4, False),
        (Estimate(0.5, 0.4, 0.6), math.inf, False),
        (Estimate(0.5, 0.4, 0.6), math.nan, False),
        (Estimate(math.inf, -math.inf, math.inf), 0.4, True),
        (Estimate(math.inf, -math.inf, math.inf), math.inf, False),
    ],
)
def test_steeper_than_random_needs_the_whole_interval(delta: Estimate, typical: float, shown: bool):
    assert steeper(delta, typical) is shown


def test_loss_words():
    limit = math.log(1.05)
    assert loss_word(Estimate(0.02, 0.0, limit), u=0.01) == "kept"
    assert loss_word(Estimate(0.02, 0.0, limit + 1e-9), u=0.01) == "inconclusive"
    assert loss_word(Estimate(0.09, limit, 0.2), u=0.01) == "inconclusive"
    assert loss_word(Estimate(0.09, limit + 1e-9, 0.2), u=0.01) == "degraded"
    assert loss_word(Estimate(0.02, 0.0, 0.3), u=0.01, limit=0.3) == "kept"
    assert loss_word(Estimate(0.0, -math.inf, math.inf), u=0.0) == "inconclusive"  # one window cannot say "kept"
    assert loss_word(Estimate(1.9, 1.8, 2.0), u=0.499999) == "degraded"
    assert loss_word(Estimate(2.0, 1.9, 2.1), u=0.5) == "lost"
    assert loss_word(Estimate(2.0, 1.9, 2.1), u=0.5, limit=9.0) == "lost"
    for overflow in (math.inf, math.nan):
        assert loss_word(Estimate(math.inf, -math.inf, math.inf), u=overflow) == "lost"


def test_ratio_carries_the_interval_of_the_radius():
    assert ratio(3.0, edge(0.5, 1.0, 6.0, value=2.0)) == Estimate(1.5, 0.5, 3.0)
    assert ratio(3.0, edge(0.5, 0.0, math.inf, value=2.0)) == Estimate(1.5, 0.0, math.inf)
    assert ratio(0.0, edge(0.5, 0.0, math.inf, value=2.0)) == Estimate(0.0, 0.0, 0.0)
