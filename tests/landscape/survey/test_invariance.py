"""Check that ρ depends on how a function is parametrised and ρ_prof does not."""

import copy

import numpy as np
import pytest
import torch

from landscape.estimators.crossing import crossing
from landscape.estimators.location import ratio
from landscape.positions.atlas import Atlas
from landscape.positions.directions import Profile, Sphere
from landscape.positions.position import CENTER
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.losses import Probes, radial_probes
from landscape.probing.plan import identified, point_plan, ray_plan
from quant.center import Center
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import Difference, distance, norm

C = 4.0  # a power of two: every product is exact, so the two models are the same function to the bit


@pytest.fixture(scope="module")
def pair():
    """opt-nano, and the same function with every fc1 times C and fc2 over C: ReLU lets the factor through."""
    checkpoint = load_checkpoint("opt-nano")
    windows = identified(load_corpus("tales", checkpoint, 64).windows("validation", 4))
    scaled = copy.deepcopy(checkpoint.model)
    with torch.no_grad():
        for layer in scaled.model.decoder.layers:
            layer.fc1.weight *= C
            layer.fc1.bias *= C
            layer.fc2.weight /= C
    return checkpoint.space, (checkpoint.model, scaled), windows


def measure(space, model, windows, family_of):
    """ρ of RTN at int2 along one family of directions, and the losses it was read from."""
    center = Center.of(model, space)
    point = rtn(space, center, QuantScheme(2))
    away = distance(space, center, point)
    family = family_of(center, point)
    lambdas = [float(x) for x in away * np.linspace(0.5, 8, 12)]
    plan = point_plan([CENTER], windows) + ray_plan(family, 2, lambdas, windows)
    known = {r.probe: r for r in InlineEngine(model, space, Atlas(center, {}, {family.name: family})).evaluate(plan)}
    probes = radial_probes(Probes(known, {"v": windows}), "v", family.name, 2, lambdas, float(np.log(1024)))
    return ratio(away, crossing(probes)).value, probes.totals, norm(space, center)


def test_scaling_two_matrices_changes_rho_and_not_rho_prof(pair):
    space, models, windows = pair

    def profile(center, point):
        return Profile(space, Difference(center, point), "rtn", seed=1)

    def sphere(center, point):
        return Sphere(space, seed=1)

    (prof, losses, length), (prof_scaled, losses_scaled, length_scaled) = (
        measure(space, model, windows, profile) for model in models
    )
    assert length_scaled > 1.5 * length  # the weights did move
    assert losses_scaled == pytest.approx(losses, rel=1e-4)
    assert prof_scaled == pytest.approx(prof, rel=1e-3)

    rho, rho_scaled = (measure(space, model, windows, sphere)[0] for model in models)
    assert abs(rho_scaled / rho - 1) > 0.2
