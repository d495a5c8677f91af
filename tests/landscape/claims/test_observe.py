"""Check that what claims are judged by is read from the survey that has just ended, and is what a new session reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landscape import PRESETS, SurveyRequest
from landscape.claims.observe import observe
from landscape.claims.point_claims import claims
from landscape.estimators.crossing import crossing
from landscape.positions.position import CENTER, on_segment
from landscape.session.session import Session
from landscape.survey.probe import SurveyRun

PRESET = replace(
    PRESETS["quick"], train_windows=1, validation_windows=2, test_windows=2, seq_len=32, lambdas=4, alphas=3,
    refinements=1, calibration_windows=2,
)  # fmt: skip


def test_observations_are_the_losses_of_the_store(tmp_path: Path) -> None:
    request = SurveyRequest(bits=(2,), methods=("rtn", "gptq"), directions=2, preset=PRESET, store=tmp_path)
    with Session.open(request) as session:
        run = SurveyRun(request, session)
        found = run.run()
        evaluated = session.runner.evaluated
        observed = observe(run, found)
        assert session.runner.evaluated == evaluated
    assert observed.landscape is found
    assert {claim.number for claim in claims(observed)} == {1, 2, 3, 4, 6}  # 5 is of QAFT
    with Session.open(request) as session:
        probes = session.probes
        for spec, point in zip(request.specs, found.points, strict=True):
            session.point(spec)
            label, way = session.labels[spec], observed.along[point.name]
            alphas = way.lambdas / point.distance
            assert alphas[-1] == pytest.approx(1)
            for alpha, losses in zip(alphas, way.totals[0], strict=True):
                stored = probes.totals(on_segment(CENTER, label, round(float(alpha), 6)), "validation")
                np.testing.assert_array_equal(losses, stored)
            np.testing.assert_array_equal(observed.test[point.name], probes.totals(label, "test"))
            # Both begin at w; claims end at the point, and R is looked for up to a tenth beyond it.
            seen, beyond = crossing(way), point.along
            assert beyond is not None
            assert seen.value is None or seen.bracket == beyond.bracket
            last = beyond.bracket[0 if beyond.value is None else 1]
            assert last == pytest.approx(1.1 * point.distance) or beyond.value is not None
            assert last <= 1.1 * point.distance * (1 + 1e-12)
        np.testing.assert_array_equal(observed.test_tokens, probes.tokens("test"))
        np.testing.assert_array_equal(observed.radial.center, probes.totals(CENTER, "validation"))
