"""The search for R on landscapes whose R is known, with direction and window effects of known size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import stats

from landscape.estimators.allocation import independent_articles
from landscape.estimators.radius_search import STEPS_PER_OCTAVE, RadiusSearch, StoppingRule, grid, search
from quant.errors import UsageError

CHANCE, BASE, NORM, TOKENS = 10.8, 3.2, 2000.0, 511
Array = np.ndarray


def gaussian(x: Array) -> Array:
    """1 − 2^(−x²): ½ at 1."""
    return np.asarray(1 - np.exp2(-(x**2)))


@dataclass
class Synthetic:
    """``L_dw(λ) = L_w + (C − L_w)·g(λ/R_dw)`` and noise of each cell's own."""

    radius: float = 430.0
    direction_cv: float = 0.03
    """Relative spread of R over directions."""
    window_cv: float = 0.0
    """Relative spread of R over windows."""
    window_sd: float = 0.3
    """Spread of the losses at w, nats."""
    noise: float = 0.02
    shape: Callable[[Array], Array] = gaussian
    seed: int = 0
    articles: Array | None = None
    """The article of each window; windows of one have the same effect on R and differ by the noise of the cells."""
    grouped: bool = True
    """Whether the search knows the articles."""
    calls: set[tuple[int, float, int]] = field(default_factory=set)
    """How many directions at which λ on how many windows were asked for."""

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        of_direction, of_window = rng.standard_normal((256, 1)), rng.standard_normal(256)
        if self.articles is not None:
            of_window = of_window[np.unique(self.articles, return_index=True)[1]][self.articles]
        self.radii = self.radius * (1 + self.direction_cv * of_direction) * (1 + self.window_cv * of_window)
        self.base = BASE + self.window_sd * rng.standard_normal(256)
        self.cells = self.noise * rng.standard_normal((256, 256))

    def center(self, windows: int) -> tuple[Array, Array]:
        return self.base[:windows] * TOKENS, np.full(windows, TOKENS)

    def blocks(self, windows: int) -> Array | None:
        return self.articles[:windows] if self.grouped and self.articles is not None else None

    def totals(self, directions: int, lambdas: Sequence[float], windows: int) -> Array:
        base, cells = self.base[:windows], self.cells[:directions, None, :windows]
        x = np.array(lambdas)[:, None] / self.radii[:directions, None, :windows]
        self.calls |= {(directions, lam, windows) for lam in lambdas}
        return np.asarray((base + self.shape(x) * (CHANCE - base) + cells) * TOKENS)

    @property
    def asked(self) -> set[tuple[int, float, int]]:
        """Every (direction, λ, window) that was asked for."""
        return {(d, lam, w) for n_d, lam, n_w in self.calls for d in range(n_d) for w in range(n_w)}


def run(losses: Synthetic, **limits: object) -> RadiusSearch:
    return search(losses, NORM, CHANCE, StoppingRule(**limits))  # type: ignore[arg-type]


def relative(found: RadiusSearch) -> float:
    assert found.radius.value is not None
    return (found.radius.high - found.radius.value) / found.radius.value


def _computed(found: RadiusSearch) -> float:
    last = found.rounds[-1].crossing
    assert last.value is not None
    return (last.high - last.value) / last.value


@pytest.mark.parametrize("radius", [3.0, 60.0, 430.0, 1500.0, 9000.0])
@pytest.mark.parametrize("precision", [0.05, 0.01])
def test_r_is_found_as_precisely_as_asked_for_wherever_it_lies(radius: float, precision: float) -> None:
    found = run(Synthetic(radius), precision=precision)
    assert found.precise
    assert relative(found) == pytest.approx(precision)  # what was asked for, not what it came out as
    assert _computed(found) <= precision
    assert found.radius.value == pytest.approx(radius, rel=3 * precision)
    low, high = found.radius.bracket
    assert high / low == pytest.approx(2 ** (1 / STEPS_PER_OCTAVE))
    assert (found.probes.lambdas == [low, high]).all()  # two distances, and nothing else, make the number


def test_without_noise_r_is_exact_to_the_curvature_between_two_distances() -> None:
    for radius in np.geomspace(400, 440, 7):
        found = run(Synthetic(float(radius), direction_cv=0, window_sd=0.1, noise=0))
        assert found.radius.value == pytest.approx(radius, rel=2e-3)
        assert len(found.rounds) == 1


def test_the_grid_is_the_same_for_every_search() -> None:
    lambdas = {lam for seed in range(3) for _, lam, _ in run_asked(Synthetic(seed=seed))}
    steps = [STEPS_PER_OCTAVE * math.log2(lam / NORM) for lam in lambdas]
    assert steps == pytest.approx([round(step) for step in steps])
    finer, rough = run_asked(Synthetic(), precision=0.01), run_asked(Synthetic(), precision=0.05)
    assert rough <= finer  # what was evaluated for one serves the other


def run_asked(losses: Synthetic, **limits: object) -> set[tuple[int, float, int]]:
    run(losses, **limits)
    return losses.asked


def test_the_search_adds_whichever_of_directions_and_windows_makes_r_uncertain() -> None:
    by_direction = run(Synthetic(direction_cv=0.1, window_sd=0.1), precision=0.03).rounds[-1]
    by_window = run(Synthetic(direction_cv=0.01, window_cv=0.1), precision=0.03).rounds[-1]
    assert by_direction.directions > 4 * by_direction.windows
    assert by_window.windows > 2 * by_window.directions


def test_few_evaluations() -> None:
    """Against every direction and window on twenty distances: at most a fifth, at the width that the search reached."""
    losses = Synthetic(direction_cv=0.1, window_sd=0.5)
    found = run(losses, precision=0.02)
    n_d, n_w = found.rounds[-1].directions, found.rounds[-1].windows
    assert len(losses.asked) <= 20 * n_d * n_w / 5


def test_the_interval_covers_although_the_search_stops_on_it() -> None:
    """Stopping when the interval is narrow enough favours narrow ones: the one that was asked for keeps the level."""
    repetitions, hits, reached = 200, 0, 0
    for seed in range(repetitions):
        found = run(
            Synthetic(direction_cv=0.06, window_sd=0.3, noise=0.05, seed=seed),
            precision=0.03,
            directions=64,
            windows=64,
        )
        reached += found.precise
        hits += found.radius.low <= 430.0 <= found.radius.high
        assert (found.radius.high - found.radius.low) / found.radius.value == pytest.approx(2 * 0.03)
    assert reached == repetitions
    assert hits >= stats.binom.ppf(0.001, repetitions, 0.95)


def repetitive(seed: int, size: int = 4) -> Array:
    """256 windows in articles of so many on average, drawn in any order."""
    return np.random.default_rng(seed).integers(0, 256 // size, 256)


def test_the_search_covers_where_windows_of_one_article_are_alike() -> None:
    """Told of the articles it goes on until these bound R; taking windows for independent it stops far too early."""
    repetitions, hits = 150, {True: 0, False: 0}
    for seed in range(repetitions):
        articles = np.unique(repetitive(seed, 8), return_inverse=True)[1]
        for grouped in hits:
            losses = Synthetic(
                direction_cv=0.02, window_cv=0.08, window_sd=0.1, seed=seed, articles=articles, grouped=grouped
            )
            found = run(losses, precision=0.04, directions=64, windows=256)
            hits[grouped] += found.radius.low <= 430.0 <= found.radius.high
    assert hits[True] >= stats.binom.ppf(0.001, repetitions, 0.95)
    assert hits[False] < stats.binom.ppf(0.001, repetitions, 0.95)


def test_a_round_counts_the_articles_of_its_windows() -> None:
    articles = np.arange(256) // 3
    for each in run(Synthetic(window_cv=0.05, articles=articles), precision=0.04).rounds:
        assert each.articles == math.ceil(each.windows / 3)
    assert {each.articles for each in run(Synthetic()).rounds} == {None}


def test_windows_that_are_all_of_different_articles_are_searched_as_windows() -> None:
    options: dict = {"direction_cv": 0.06, "window_cv": 0.06, "window_sd": 0.5, "noise": 0.05}
    order = np.random.default_rng(1).permutation(256)
    plain = run(Synthetic(**options), precision=0.02)
    losses = Synthetic(**options)
    losses.articles = order  # the losses are those of windows that share nothing
    grouped = run(losses, precision=0.02)
    assert [(r.directions, r.windows, r.crossing) for r in grouped.rounds] == [
        (r.directions, r.windows, r.crossing) for r in plain.rounds
    ]
    assert len(plain.rounds) > 2


def test_windows_are_added_until_two_articles_are_seen() -> None:
    """The first round sees one article only, and bounds nothing; the next sees more."""
    articles = np.concatenate([np.zeros(6, int), 1 + np.arange(250)])
    found = run(Synthetic(articles=articles), precision=0.05)
    assert (found.rounds[0].articles, found.rounds[0].crossing.high) == (1, math.inf)
    assert (found.rounds[1].directions, found.rounds[1].windows, found.rounds[1].articles) == (4, 8, 3)
    assert found.precise


def test_a_text_of_one_article_is_refused() -> None:
    with pytest.raises(UsageError, match=r"windows of at least two articles, got 8 of one.*a text of several articles"):
        run(Synthetic(articles=np.zeros(256, int)), windows=8)


def test_windows_of_one_article_are_worth_fewer_articles() -> None:
    """Two of one size are two; with three windows in one and one in the other, 16/10."""
    assert independent_articles(np.array([5, 5, 5, 2, 2, 2]), 6) == pytest.approx([1, 1, 1, 1.6, 25 / 13, 2])
    assert independent_articles(np.array([4, 2, 9]), 3).tolist() == independent_articles(None, 3).tolist() == [1, 2, 3]


def test_a_profile_that_never_reaches_the_level_is_censored() -> None:
    found = run(Synthetic(shape=lambda x: 0.4 * gaussian(x)))
    assert not found.precise
    assert found.radius.value is None
    assert found.radius.low > 2 * NORM
    assert len(found.probes.lambdas) > 4


def test_a_profile_that_comes_back_is_crossed_where_it_first_rises() -> None:
    def hill(x: Array) -> Array:
        return gaussian(x) - 0.8 * gaussian(np.maximum(0, x - 2.5))

    assert run(Synthetic(shape=hill)).radius.value == pytest.approx(430.0, rel=0.06)


def test_an_overflow_counts_as_risen() -> None:
    def overflow(x: Array) -> Array:
        return np.where(x < 1.4, gaussian(x), np.nan)

    assert run(Synthetic(shape=overflow)).radius.value == pytest.approx(430.0, rel=0.06)


def test_a_stopping_rule_ends_a_search_and_says_why() -> None:
    wild = Synthetic(direction_cv=0.2, window_sd=0.5)
    few = run(wild, precision=0.005, directions=8, windows=4)
    assert (few.precise, few.ended) == (False, "exhausted")
    assert (few.rounds[-1].directions, few.rounds[-1].windows) == (8, 4)

    def out_of_time(directions: int, lambdas: Sequence[float], windows: int) -> bool:
        return directions * len(lambdas) * windows > 200

    hurried = run(wild, precision=0.005, out_of_time=out_of_time)
    assert (hurried.precise, hurried.ended) == (False, "out of time")
    last = hurried.rounds[-1]
    assert 2 * last.directions * last.windows <= 200


@dataclass
class QuietBehind(Synthetic):
    """Losses with noise in front of R and none behind it, where the next design is predicted from."""

    def totals(self, directions: int, lambdas: Sequence[float], windows: int) -> Array:
        cells = self.cells[:directions, None, :windows] * TOKENS
        behind = (np.array(lambdas) >= self.radius)[:, None]
        return np.asarray(super().totals(directions, lambdas, windows) - behind * cells)


def test_a_design_that_should_have_done_is_not_tried_again() -> None:
    """Every predicted width is zero, even that of the design that was just found too wide."""
    left = [40]

    def out_of_time(directions: int, lambdas: Sequence[float], windows: int) -> bool:
        left[0] -= 1
        return left[0] < 0

    losses = QuietBehind(direction_cv=0, window_sd=0, noise=0.5)
    found = run(losses, precision=0.02, directions=16, windows=16, out_of_time=out_of_time)
    designs = [(r.directions, r.windows) for r in found.rounds]
    assert len(designs) == len(set(designs)) > 2
    assert found.precise


@pytest.mark.parametrize("limits", [{"directions": 1}, {"windows": 1}, {"precision": 0.0}])
def test_a_stopping_rule_without_an_end_is_refused(limits: dict) -> None:
    with pytest.raises(UsageError, match="expected a precision above 0 and at least 2 directions and windows"):
        run(Synthetic(), **limits)


def test_the_grid_in_units_of_the_norm() -> None:
    assert grid(0, 5.0) == 5.0
    assert grid(-STEPS_PER_OCTAVE, 5.0) == 2.5


def test_a_loss_that_never_comes_back_to_that_at_w_is_refused_with_its_numbers() -> None:
    """Chance however near w: what is stored as L(w) is not the loss of these weights."""
    cliff = Synthetic(shape=np.ones_like, noise=0.0)
    with pytest.raises(UsageError, match=r"got 1 of the way from it to chance at 6e-13 ‖w‖.*--model.*new --store"):
        search(cliff, NORM, CHANCE, StoppingRule())
