import math

import numpy as np
import pytest

from landscape.estimators.refinement import next_alpha
from landscape.positions.position import CENTER, on_segment
from landscape.probing.losses import Probes
from landscape.probing.plan import Probe, ProbeResult, identified
from landscape.survey.plans import segment_alphas
from landscape.survey.segments import AdaptiveSegments
from tests import tiny

TOKENS = np.full(6, 50)
LEVELS = np.linspace(2.5, 3.5, 6)  # windows differ by a nat: only paired differences are precise


def refine(loss, most=12, coarse=5, noise=None, tokens=TOKENS, levels=LEVELS):
    """The positions added, in order; ``loss`` of α is what every window has above its level."""
    alphas, added = np.array(segment_alphas(coarse)), []
    wobble = noise or (lambda alpha: 0.0)
    for _ in range(most):
        totals = np.array([(levels + loss(x) + wobble(x)) * tokens for x in alphas])
        alpha = next_alpha(alphas, totals, tokens)
        if alpha is None:
            break
        added.append(alpha)
        alphas = np.sort([*alphas, alpha])
    return added


def ridge(at, width=0.06, height=0.5):
    return lambda x: 2 * x + height * math.exp(-((x - at) ** 2) / (2 * width**2))


@pytest.mark.parametrize("at", [0.2, 0.47, 0.83])
@pytest.mark.parametrize("coarse", [6, 11])
def test_the_top_of_a_ridge_is_found_as_by_a_uniform_grid_of_as_many_at_best(at, coarse):
    loss = ridge(at)
    added = refine(loss, coarse=coarse)
    found = max(loss(x) - 2 * x for x in [*segment_alphas(coarse), *added])
    uniform = np.linspace(0, 1, coarse + len(added))
    assert found > 0.95 * 0.5  # height over the slope
    assert found >= max(loss(x) - 2 * x for x in uniform) - 0.01
    assert np.mean(np.abs(np.array(added) - at) < 0.2) > 0.7


def test_positions_are_of_one_lattice_inside_the_segment_and_never_twice():
    for coarse in (5, 6, 11, 21):
        added = refine(ridge(0.4), most=40, coarse=coarse)
        assert added
        assert all(x * 64 == int(x * 64) and 0 < x < 1 for x in added)
        assert len({*added, *segment_alphas(coarse)}) == len(added) + coarse + 2


@pytest.mark.parametrize("top", [-0.05, 1.05])
def test_nothing_is_added_beyond_the_ends_however_the_profile_bends_there(top):
    assert all(0 < x < 1 for x in refine(ridge(top), most=20))


def test_grids_of_different_size_ask_for_common_positions_and_fewer_are_the_first_of_more():
    few, many = refine(ridge(0.47), most=3), refine(ridge(0.47), most=10)
    assert few == many[:3]
    assert {0.5, 0.375, 0.4375, 0.46875} & set(refine(ridge(0.47), coarse=6)) & set(refine(ridge(0.47), coarse=11))


def test_a_straight_profile_and_a_bend_of_no_account_are_left_alone():
    assert refine(lambda x: 3 * x) == []
    assert refine(lambda x: 3 * x + 2e-3 * x**2) == []


def test_a_bend_within_the_noise_of_paired_windows_is_left_alone():
    """A zigzag of 0.03 nats: a bend if the windows agree on it, noise if they do not."""

    def zigzag(x):
        return 0.03 * math.cos(4 * math.pi * x)

    def chased(seed):
        rng, draws = np.random.default_rng(seed), {}
        return refine(zigzag, most=6, noise=lambda alpha: draws.setdefault(alpha, 0.3 * rng.standard_normal(6)))

    assert len(refine(zigzag, most=6)) == 6
    assert sum(len(chased(seed)) for seed in range(12)) <= 6  # of 72


def test_the_ridge_comes_before_a_larger_bend_elsewhere():
    """A ridge of 0.1 nats, and a cliff of 8 that interpolation misses by more."""

    def loss(x):
        return 0.1 * math.exp(-((x - 0.25) ** 2) / 0.005) + 8 / (1 + math.exp(-60 * (x - 0.9)))

    assert 0.25 in refine(loss, coarse=6, most=4)
    alone = refine(lambda x: 8 / (1 + math.exp(-60 * (x - 0.9))), coarse=6, most=4)
    assert min(alone) > 0.6


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nothing_is_added_beside_an_overflow_but_elsewhere(bad):
    added = refine(lambda x: bad if x > 0.9 else 4 * x**2, coarse=6, most=20)
    assert added
    assert max(added) < 0.8


def test_one_window_has_no_noise_and_every_bend_counts():
    assert refine(ridge(0.5), tokens=np.array([50]), levels=np.array([3.0]), most=3)


class Known:
    """Segments whose loss is given by a function of α, evaluated only when asked to."""

    def __init__(self, losses):
        self.windows = identified(tiny.windows(3))
        self.losses = losses
        self.known = {}
        self.put(CENTER, 3.0)
        for (_, b), loss in losses.items():
            self.put(b, loss(1.0))
        self.probes = Probes(self.known, {"validation": self.windows})

    def put(self, position, loss):
        for i, window in enumerate(self.windows):
            probe = Probe(str(position), window.identity)
            self.known[probe] = ProbeResult(probe, 11 * (loss + 0.2 * i), 11)

    def evaluate(self, segments):
        for ends, alphas in segments.alphas.items():
            for alpha in alphas:
                self.put(on_segment(*ends, alpha), self.losses[ends](alpha))


def test_each_segment_is_refined_alone_and_a_second_run_asks_for_the_same():
    bent, plain = (CENTER, "bent"), (CENTER, "plain")
    known = Known({bent: lambda x: 3 + ridge(0.4)(x), plain: lambda x: 3 + x})
    coarse = segment_alphas(5)
    segments = AdaptiveSegments([bent, plain], coarse, 4)
    assert not segments.grow(known.probes)  # nothing is evaluated yet
    assert segments.left == 8
    rounds = 0
    while True:
        known.evaluate(segments)
        if not segments.grow(known.probes):
            break
        rounds += 1
        assert not segments.grow(known.probes)  # nothing more to ask for before the new position is evaluated
    assert rounds == 4
    assert segments.alphas[plain] == coarse
    assert set(coarse) < set(segments.alphas[bent])
    assert len(segments.alphas[bent]) == len(coarse) + 4
    assert list(segments.alphas[bent]) == sorted(segments.alphas[bent])
    assert segments.left == 0

    again = AdaptiveSegments([bent, plain], coarse, 4)
    while again.grow(known.probes):
        pass
    assert again.alphas == segments.alphas
