from __future__ import annotations

import dataclasses

import pytest

from landscape.report.survey.json import to_json
from landscape.survey.result import SurveyResult
from tests import synthetic


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


def test_the_json_has_the_other_radii_and_none_where_there_is_none(found: SurveyResult) -> None:
    radii = found.radii["validation"]
    written = to_json(found)["basin"]["other_radii"]
    assert written["kept"]["value"] == radii.kept.value
    assert written["quadratic"] == vars(radii.quadratic)
    assert written["unigram"]["reference"] == radii.unigram.reference
    assert written["unigram"]["radius"]["low"] == radii.unigram.radius.low
    without = dataclasses.replace(radii, inflection=None, quadratic=None, unigram=None)
    written = to_json(dataclasses.replace(found, radii={"validation": without}))["basin"]["other_radii"]
    assert (written["inflection"], written["quadratic"], written["unigram"]) == (None, None, None)


def test_the_json_has_ridge_barriers_and_intervals_of_each_segment(found: SurveyResult) -> None:
    written = to_json(found)
    assert written["schema_version"] == 4
    for entry, s in zip(written["segments"], found.segments, strict=True):
        c = s.connectivity
        for name in ("prominence", "barrier", "barrier_max"):
            estimate = getattr(c, f"{name}_interval")
            assert (entry[name], entry[f"{name}_interval"]) == (
                estimate.value, {"low": estimate.low, "high": estimate.high}
            )  # fmt: skip
        for name in ("ridge_alpha", "valley_alpha", "barrier_alpha", "barrier_max_alpha"):
            assert entry[name] == getattr(c, name)
        assert entry["alphas"] == list(s.alphas)
        assert entry["nll"] == list(s.nll)
