"""Gather what the claims are judged by, at the end of a survey: the losses by window behind its landscape."""

from __future__ import annotations

from landscape.claims.claim import Observations
from landscape.probing.losses import radial_probes
from landscape.session.point_specs import PointSpec
from landscape.session.subject import TEST_SPLIT
from landscape.survey.along import ray_to
from landscape.survey.probe import SurveyRun
from landscape.survey.result import SurveyResult


def observe(run: SurveyRun, found: SurveyResult) -> Observations:
    """Read the losses by window behind a landscape; nothing is evaluated, and no model is needed.

    Args:
        run: The survey, after ``SurveyRun.run``.
        found: The result that it returned.
    """
    request, probes, split, chance = run.request, run.probes, found.split, run.subject.chance
    labels = {spec.name: run.session.labels[spec] for spec in run.points.specs if isinstance(spec, PointSpec)}
    distances = {point.name: point.distance for point in found.points}
    ways = {s.b: s.alphas.tolist() for s in found.segments if s.a == "w" and s.split == split}
    lambdas = [float(lam) for lam in found.rays[0].lambdas]
    return Observations(
        landscape=found,
        radial=radial_probes(probes, split, run.family.name, request.directions, lambdas, chance, request.pairs),
        along={
            name: ray_to(probes, label, distances[name], [a for a in ways[name] if 0 < a <= 1], split, chance)
            for name, label in labels.items()  # not the control of a method that trains, which is on no grid
            if distances[name] > 0  # w itself, which rounding may leave where it is, has no direction
        },
        test={name: probes.totals(label, TEST_SPLIT) for name, label in labels.items()},
        test_tokens=probes.tokens(TEST_SPLIT),
        test_blocks=probes.blocks(TEST_SPLIT),
    )
