"""The rows of the claims: losses read back from the store, points that are only rounded, and one row per line."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.claims import measure, record
from benchmarks.rows import read_rows, write_rows
from landscape.session.session import Session


def test_the_losses_by_window_are_those_of_the_landscape(tmp_path: Path) -> None:
    words = ["--work", str(tmp_path), "--bits", "2", "--scale", "absmax", "--directions", "2"]
    request = measure.survey(measure.parsed(words))
    preset = dataclasses.replace(request.preset, train_windows=1, validation_windows=2, test_windows=2, seq_len=32)
    request = dataclasses.replace(request, preset=preset, methods=("rtn",))
    found, observed = measure.measured_landscape(request)
    (point,) = found.points
    tokens = observed.radial.tokens.sum()
    for ray, totals in zip(found.rays, observed.radial.totals, strict=True):
        assert totals.sum(1) / tokens == pytest.approx(ray.nll["validation"])
    way = observed.along[point.name]
    assert way.lambdas[-1] == pytest.approx(point.distance)
    assert way.totals[0, -1].sum() / tokens == pytest.approx(point.nll["validation"])
    segment = next(s for s in found.segments if s.b == point.name and s.split == "validation")
    assert way.totals[0].sum(1) / tokens == pytest.approx(segment.nll[2:-1])
    assert observed.test[point.name].sum() / observed.test_tokens.sum() == pytest.approx(point.nll["test"])
    elsewhere = dataclasses.replace(found, subject=dataclasses.replace(found.subject, data=str(tmp_path / "text")))
    file = tmp_path / "rows.jsonl"
    write_rows(file, record.rows(elsewhere, measure.claims(observed)))
    kinds = [json.loads(line)["kind"] for line in file.read_text().splitlines()]
    assert kinds == ["survey", "point", *["claim"] * (len(kinds) - 2)]
    written = record.model(read_rows(file))
    assert written["subject"]["data"] == "text"
    assert written["points"][0]["name"] == "rtn-int2-absmax"
    assert written["claims"][0]["number"] == 1


def test_the_control_of_a_method_that_trains_has_a_row_and_is_the_subject_of_no_claim(tmp_path: Path) -> None:
    words = ["--work", str(tmp_path), "--bits", "2", "--scale", "absmax", "--directions", "2"]
    request = measure.survey(measure.parsed(words))
    windows = {"train_windows": 1, "validation_windows": 2, "test_windows": 2, "seq_len": 32}
    preset = dataclasses.replace(request.preset, **windows, qaft_examples=8, qaft_epochs=1)
    request = dataclasses.replace(request, preset=preset, methods=("qaft",))
    found, observed = measure.measured_landscape(request)
    assert [point.name for point in found.points] == ["qaft-int2-absmax", "w_ft-int2"]
    assert set(observed.along) == set(observed.test) == {"qaft-int2-absmax"}
    rows = record.model(record.rows(found, measure.claims(observed)))
    assert [point["name"] for point in rows["points"]] == ["qaft-int2-absmax", "w_ft-int2"]
    assert not [claim for claim in rows["claims"] if "w_ft" in claim["case"]]


def test_roundings_that_are_not_probed_are_as_far_as_their_points_would_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(measure.SETTINGS, "opt-nano", measure.Settings("4", "absmax", 2, "quick", 4, rtn_bits=(6, 3)))
    request = measure.survey(measure.parsed(["--work", str(tmp_path)]))
    with Session.open(request) as session:
        six, three = measure.rtn_distances(request, session.subject)
    assert [(each.bits, each.grid) for each in (six, three)] == [(6, "absmax"), (3, "absmax")]
    # uniform rounding errors go with the step, 1/(2^(bits-1) - 1) of the largest weight
    assert three.distance / six.distance == pytest.approx(31 / 3, rel=0.15)


def test_rows_without_a_survey_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected one row of kind survey, got 0; measure the model again"):
        record.model([{"kind": "claim"}])
