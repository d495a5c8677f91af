from __future__ import annotations

import dataclasses
import json
import math

import pytest

from landscape.report.survey.json import to_json
from landscape.survey.result import SurveyResult
from tests import synthetic
from tests.landscape.tables import filled


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


def test_the_json_has_the_rays_and_null_where_a_loss_is_not_finite() -> None:
    found = synthetic.overflowing()
    for entry, ray in zip(to_json(found)["rays"], found.rays, strict=True):
        assert (entry["direction"], entry["lambdas"], entry["kl"]) == (ray.index, list(ray.lambdas), None)
        for split, values in entry["nll"].items():
            expected = [value if math.isfinite(value) else None for value in ray.nll[split].tolist()]
            assert values == expected
    assert to_json(found)["rays"][0]["nll"]["validation"][-1] is None


def test_the_json_has_kl_along_rays_the_learning_curve_and_the_layers() -> None:
    found = filled.filled()
    written = json.loads(json.dumps(to_json(found), allow_nan=False))
    for entry, ray in zip(written["rays"], found.rays, strict=True):
        for name in ("kl", "agreement"):
            assert entry[name] == {split: list(values) for split, values in getattr(ray, name).items()}
    first, second = written["segments"][:2]
    assert (first["kl"], first["agreement"]) == (list(found.segments[0].kl), list(found.segments[0].agreement))
    assert (second["kl"], second["agreement"]) == (None, None)
    rich, plain = written["points"][1], written["points"][2]
    assert (plain["training"], plain["layers"]) == (None, [])
    assert [layer["damping"] for layer in rich["layers"]] == [0.01, None]
    assert rich["layers"][1]["error"] == {"train": 2.5, "test": 3.5}
    assert rich["training"]["epochs"][0] == {
        "rate": None, "epoch": 0, "validation_nll": 4.0, "training_nll": None, "test_nll": None,
    }  # fmt: skip
    assert rich["training"]["chosen"]["validation_nll"] == 3.7
