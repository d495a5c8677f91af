"""Check the numbers of a survey on an analytic landscape."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from landscape.estimators.basin import estimate_basin
from landscape.estimators.intervals import paired_difference
from landscape.positions.position import CENTER, OnRay, on_segment
from landscape.probing.losses import Probes, radial_probes
from landscape.probing.plan import Fidelity, NotEvaluated, Probe, ProbeResult, blocks_of, identified
from landscape.session.point_specs import point_specs
from landscape.survey.analysis import geometry, point_results, radial_by_split, ray_profiles, segment_results
from landscape.survey.fidelity import KLRays, fidelity_result
from quant.center import Center
from quant.methods.rtn import rtn
from quant.space import WeightSpace
from tests import tiny

LAMBDAS = tuple(np.linspace(0.3, 3.0, 10))
CHANCE, BASE, WIDTH = 6.0, 2.0, 0.8
TOKENS = 11
ENTROPY, PLATEAU, KL_WIDTH = 1.5, 5.0, 1.1


def well(distance):
    """A Gaussian well: R = s·√(2 ln 2)."""
    return CHANCE - (CHANCE - BASE) * math.exp(-(distance**2) / (2 * WIDTH**2))


def divergence(distance):
    """A KL that flattens farther out than the loss; half of C − H is reached at √(KL_WIDTH² · 2 ln(1/(1 − h/2)))."""
    return PLATEAU * (1 - math.exp(-(distance**2) / (2 * KL_WIDTH**2)))


@pytest.fixture(scope="module")
def setting():
    """A real space and real points on an analytic landscape that depends on the distance from w alone."""
    model = tiny.opt()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    specs = point_specs(("rtn",), (4, 2), ("exact", "absmax"))
    points = {spec: rtn(space, center, spec.scheme) for spec in specs}
    shape = geometry(space, center, points)
    windows = {s: identified(tiny.windows(n, seed=n)) for s, n in (("train", 2), ("validation", 3), ("test", 1))}
    labels = {spec: spec.name for spec in specs}
    known = {}

    def put(position, distance):
        for rows in windows.values():
            for i, window in enumerate(rows):
                probe = Probe(str(position), window.identity)
                found = Fidelity(TOKENS * divergence(distance), TOKENS - i, TOKENS * (ENTROPY + 0.02 * i))
                known[probe] = ProbeResult(probe, TOKENS * (well(distance) + 0.01 * i), TOKENS, found)

    put(CENTER, 0.0)
    for index in range(3):
        for lam in LAMBDAS:
            put(OnRay("f", index, lam), lam * (1 + 0.02 * (index - 1)))
    for spec in specs:
        put(labels[spec], shape.distance(spec))
        for alpha in (-0.1, 0.5, 1.1):
            put(on_segment(CENTER, labels[spec], alpha), abs(alpha) * shape.distance(spec))
    return space, center, points, shape, labels, Probes(known, windows)


def basins_and_rays(probes, **options):
    radial = radial_by_split(probes, "f", 3, LAMBDAS, CHANCE, **options)
    return {split: estimate_basin(losses) for split, losses in radial.items()}, ray_profiles(radial)


def test_the_radius_of_an_analytic_landscape_comes_out(setting):
    *_, probes = setting
    basins, rays = basins_and_rays(probes)
    for basin in basins.values():
        assert basin.radius.value == pytest.approx(WIDTH * math.sqrt(2 * math.log(2)), rel=0.01)
    assert rays[1].nll["train"] == pytest.approx([well(lam) + 0.005 for lam in LAMBDAS])


def test_the_radius_by_kl_comes_out_with_the_mean_kl_of_every_ray(setting):
    *_, probes = setting
    _, rays = basins_and_rays(probes)
    found = KLRays(probes, "f", 3, LAMBDAS, CHANCE, pairs=False)
    for split, windows in probes.windows.items():
        if split == "test":
            continue
        reference = CHANCE - ENTROPY - 0.01 * (len(windows) - 1)  # the mean of 0.02 i
        radius = found.radii[split]
        assert radius.reference == pytest.approx(reference)
        half = KL_WIDTH * math.sqrt(-2 * math.log(1 - reference / 2 / PLATEAU))
        assert radius.radius.value == pytest.approx(half, rel=0.01)
        assert radius.radius.low < half < radius.radius.high
        assert found.added(rays)[0].kl[split] == pytest.approx([divergence(0.98 * lam) for lam in LAMBDAS])
        share = sum(TOKENS - i for i in range(len(windows))) / (TOKENS * len(windows))  # as the setting has it
        assert found.added(rays)[2].agreement[split].tolist() == pytest.approx([share] * len(LAMBDAS))
    assert not rays[0].kl
    assert not rays[0].agreement
    assert found.added(rays)[1].nll == rays[1].nll


def test_the_sampling_error_of_the_reference_is_in_the_interval(setting):
    *_, probes = setting
    wider = {
        p: replace(r, fidelity=replace(r.fidelity, entropy=TOKENS * (ENTROPY + (r.fidelity.agreeing % 2))))
        if p.position == CENTER
        else r
        for p, r in probes.known.items()
    }
    narrow = KLRays(probes, "f", 3, LAMBDAS, CHANCE, pairs=False).radii["validation"].radius
    wide = KLRays(Probes(wider, probes.windows), "f", 3, LAMBDAS, CHANCE, pairs=False).radii["validation"].radius
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_position_that_was_not_compared_with_w_is_not_evaluated(setting):
    *_, probes = setting
    without = Probes({p: replace(r, fidelity=None) for p, r in probes.known.items()}, probes.windows)
    assert without.totals(CENTER, "train").tolist() == probes.totals(CENTER, "train").tolist()
    for read in (without.kl, without.agreeing, without.entropy):
        with pytest.raises(NotEvaluated, match="compared with w"):
            read(CENTER, "train")


def test_fidelity_has_the_mean_over_tokens_and_an_interval_over_windows(setting):
    *_, probes = setting
    found = fidelity_result(probes, OnRay("f", 1, LAMBDAS[0]), "validation")
    assert found.kl.value == pytest.approx(divergence(LAMBDAS[0]))
    assert found.kl.high - found.kl.low == pytest.approx(0, abs=1e-9)  # alike on all windows
    shares = np.array([11, 10, 9]) / 11
    p, half = shares.mean(), stats.t.ppf(0.975, 2) * stats.sem(shares)
    ratio = half**2 / (p * (1 - p))  # z² over as many tokens as the windows are worth, for Wilson's interval
    ends = [(p + ratio / 2 + sign * math.sqrt(ratio * (p * (1 - p) + ratio / 4))) / (1 + ratio) for sign in (-1, 1)]
    assert (found.agreement.value, found.agreement.low, found.agreement.high) == pytest.approx((p, *ends))
    assert p + half > 1 > found.agreement.high  # no share is more
    alone = fidelity_result(probes, OnRay("f", 1, LAMBDAS[0]), "test")
    assert math.isinf(alone.kl.high)


def test_a_pair_of_opposite_ways_counts_as_one_direction_and_cancels_what_is_odd(setting):
    *_, probes = setting
    tilted = dict(probes.known)
    for index in range(3):
        for lam in LAMBDAS:
            for sign in (1, -1):
                for window in (w for rows in probes.windows.values() for w in rows):
                    even = probes.known[Probe(str(OnRay("f", index, lam)), window.identity)].total
                    probe = Probe(str(OnRay("f", index, sign * lam)), window.identity)
                    tilted[probe] = ProbeResult(probe, even + sign * lam * TOKENS, TOKENS)
    paired, rays = basins_and_rays(Probes(tilted, probes.windows), pairs=True)
    plain, plain_rays = basins_and_rays(probes)
    one_way, _ = basins_and_rays(Probes(tilted, probes.windows))
    assert paired["train"].radius.value == pytest.approx(plain["train"].radius.value)
    assert paired["train"].directions == 3
    assert rays[2].nll["validation"] == pytest.approx(plain_rays[2].nll["validation"])
    assert one_way["train"].radius.value < 0.8 * plain["train"].radius.value


def test_distances_match_flat_vectors(setting):
    space, center, points, shape, *_ = setting

    def flat(vector):
        return np.concatenate([vector.tensor(slot).double().numpy().ravel() for slot in space])

    w = flat(center)
    a = next(iter(points))
    alphas = np.array([-0.1, 0.0, 0.4, 1.0, 1.1])
    assert shape.distance(a) == pytest.approx(np.linalg.norm(flat(points[a]) - w), rel=1e-6)
    assert shape.along(None, a, alphas) == pytest.approx(np.abs(alphas) * shape.distance(a))


def test_segments_between_points_lie_where_flat_vectors_say():
    model = tiny.opt()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    first, second = point_specs(("rtn", "gptq"), (2,), ("exact",))
    points = {
        first: rtn(space, center, first.scheme),
        second: rtn(space, center, point_specs(("rtn",), (3,), ("absmax",))[0].scheme),
    }
    shape = geometry(space, center, points)

    def flat(vector):
        return np.concatenate([vector.tensor(slot).double().numpy().ravel() for slot in space])

    alphas = np.array([-0.1, 0.0, 0.4, 1.0])
    expected = [np.linalg.norm((1 - x) * flat(points[first]) + x * flat(points[second]) - flat(center)) for x in alphas]
    assert shape.along(first, second, alphas) == pytest.approx(expected, rel=1e-6)


def test_points_get_two_words_and_their_rise(setting):
    *_, shape, labels, probes = setting
    basins, _ = basins_and_rays(probes)
    found = point_results(probes, labels, shape, basins["validation"])
    assert [p.name for p in found] == list(labels.values())
    for point, spec in zip(found, labels, strict=True):
        away = shape.distance(spec)
        assert point.rise["validation"].value == pytest.approx(well(away) - BASE)
        assert point.nll["test"] == pytest.approx(well(away))
        assert point.rho.value == pytest.approx(away / basins["validation"].radius.value)


def test_intervals_take_the_articles_of_windows_for_independent(setting):
    """Two of the three validation windows are of one article; without labels the windows count."""
    *_, shape, labels, probes = setting
    rng = np.random.default_rng(0)
    known = {p: replace(r, total=r.total * (1 + 0.01 * rng.standard_normal())) for p, r in probes.known.items()}
    plain = Probes(known, probes.windows)
    windows = {
        split: identified(torch.stack([w.tokens for w in rows]), torch.tensor([4, 4, 7][: len(rows)]))
        for split, rows in probes.windows.items()
    }
    labelled = Probes(known, windows)
    assert [w.identity for w in labelled.windows["validation"]] == [w.identity for w in probes.windows["validation"]]
    assert (labelled.blocks("validation").tolist(), plain.blocks("validation")) == ([4, 4, 7], None)
    radial = radial_probes(labelled, "validation", "f", 3, LAMBDAS, CHANCE)
    assert radial.blocks.tolist() == [4, 4, 7]
    basins, _ = basins_and_rays(labelled)
    assert [(basins[s].windows, basins[s].articles) for s in ("train", "validation")] == [(2, 1), (3, 2)]
    assert basins["train"].radius.high == math.inf  # one article gives no interval
    (point, *_), label = point_results(labelled, labels, shape, basins["validation"]), next(iter(labels.values()))
    totals, center = (labelled.totals(at, "validation") for at in (label, CENTER))
    tokens = labelled.tokens("validation")
    expected = paired_difference(totals, center, tokens, blocks=np.array([0, 0, 1]))
    assert point.rise["validation"] == expected != paired_difference(totals, center, tokens)
    first = next(iter(labels))
    alphas = {(CENTER, labels[first]): (-0.1, 0.0, 0.5, 1.0, 1.1)}
    ends = ((0.0, CENTER), (1.0, label))
    known.update({Probe(str(on_segment(CENTER, label, a)), w.identity): known[Probe(at, w.identity)]
                  for a, at in ends for rows in windows.values() for w in rows})  # fmt: skip
    (_, own), (_, blind) = (segment_results(each, {first: labels[first]}, shape, alphas) for each in (labelled, plain))
    assert own.connectivity.barrier == blind.connectivity.barrier
    assert own.connectivity.barrier_interval != blind.connectivity.barrier_interval


def test_articles_count_only_where_all_are_known():
    rows = tiny.windows(2)
    windows = identified(rows, torch.tensor([3, 3]))
    assert blocks_of(windows).tolist() == [3, 3]
    assert blocks_of((*windows, *identified(tiny.windows(1, seed=5)))) is None


def test_a_segment_up_the_well_is_monotonic(setting):
    *_, shape, labels, probes = setting
    first = next(iter(labels))
    alphas = {(CENTER, labels[first]): (-0.1, 0.0, 0.5, 1.0, 1.1)}
    (train, validation) = segment_results(probes, {first: labels[first]}, shape, alphas)
    assert (train.split, validation.split) == ("train", "validation")
    assert train.connectivity.prominence == 0
    assert train.nll[1] == pytest.approx(BASE + 0.005)
    assert train.distances[3] == pytest.approx(shape.distance(first))
