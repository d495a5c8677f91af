"""The paper's claims on the landscape: tables that are made of the rows, and rows that follow from their numbers."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.claims import measure, record, table
from landscape.session.progress import Silent
from landscape.session.session import opened
from landscape.session.subject import prepare
from landscape.survey.probe import probe


def judged(verdict: str, aside: bool = False, **more: object) -> dict:
    estimate = {"value": 1.234567, "low": 1.0, "high": None}
    return {
        "number": 1, "case": "at R", "text": "alike", "measure": "m", "threshold": "≤ 2", "verdict": verdict,
        "estimate": estimate, "note": "too few", "aside": aside,
    } | more  # fmt: skip


def test_a_claim_fails_in_the_table_if_one_case_does() -> None:
    assert table.verdict([judged("holds"), judged("fails"), judged("open")]) == ("**fails** (1 holds, 1 fails, 1 open)")
    assert table.verdict([judged("holds"), judged("open")]) == "open (1 holds, 1 open)"
    assert table.verdict([judged("holds"), judged("fails", aside=True)]) == "holds (1 holds)"


def test_a_cell_shows_the_number_its_interval_and_what_is_not_known() -> None:
    assert table.cell(judged("fails")) == "**fails** 1.23 [1, ∞]"
    exact = judged("holds", estimate={"value": 1.0, "low": 1.0, "high": 1.0})
    assert table.cell(exact) == "holds 1"
    assert table.cell(judged("open", estimate=None)) == "open: too few"
    assert table.cell(None) == ""


def test_a_case_that_stands_aside_in_one_model_alone_has_two_lines() -> None:
    within, beyond = judged("holds", aside=True), judged("fails", threshold="> 3")
    lines = list(table.details([{"model": "a", "claims": [within]}, {"model": "b", "claims": [beyond]}]))[2:]
    assert lines == [
        "| 1 | *at R* | m: ≤ 2 | holds 1.23 [1, ∞] |  |",
        "| 1 | at R | m: > 3 |  | **fails** 1.23 [1, ∞] |",
    ]


def test_the_tables_of_claims_are_those_of_the_rows() -> None:
    page = table.PAGE
    assert page.filled(table.tables(table.models())) == page.text
    assert "| 6 | " in page.table("summary")


def test_the_commands_on_the_page_ask_for_what_the_rows_hold() -> None:
    lines = [line.split() for line in table.PAGE.text.splitlines() if "benchmarks.claims.measure" in line]
    asked = {r.model: r for r in (measure.survey(measure.parsed(words[3:])) for words in lines)}
    assert tuple(asked) == table.MODELS
    for model in table.models():
        request = asked[model["model"]]
        assert [point["name"] for point in model["points"]] == [wanted.name for wanted in request.wanted]
        assert model["basin"]["directions"] == request.directions
        assert model["settings"]["preset"] == request.preset.name
        assert model["basin"]["windows"] == request.preset.validation_windows


def test_verdicts_in_the_rows_follow_from_their_numbers() -> None:
    """Where the threshold is one number that the interval can be held against."""
    for model in table.models():
        for row in model["claims"]:
            if row["estimate"] is None or row["number"] in (3, 6) or row["threshold"][0] not in "≤>":
                continue
            low, high = (row["estimate"][key] for key in ("low", "high"))
            limit, below = float(row["threshold"][2:]), row["threshold"][0] == "≤"
            sure = {"holds": high, "fails": low} if below else {"holds": low, "fails": high}
            if row["verdict"] == "open":
                assert low is None or high is None or low < limit < high, row
            else:
                assert (sure[row["verdict"]] <= limit) == (below == (row["verdict"] == "holds")), row


def test_the_losses_by_window_are_those_of_the_landscape(tmp_path: Path) -> None:
    words = ["--work", str(tmp_path), "--bits", "2", "--scale", "absmax", "--directions", "2"]
    request = measure.survey(measure.parsed(words))
    preset = dataclasses.replace(request.preset, train_windows=1, validation_windows=2, test_windows=2, seq_len=32)
    request = dataclasses.replace(request, preset=preset, methods=("rtn",))
    found = probe(request)
    observed = measure.gather(request, found, Silent())
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
    written = record.model(record.rows(elsewhere, measure.claims(observed)))
    assert written["subject"]["data"] == "text"
    assert json.loads(json.dumps(written, allow_nan=False))["points"][0]["name"] == "rtn-int2-absmax"


def test_roundings_that_are_not_probed_are_as_far_as_their_points_would_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(measure.SETTINGS, "opt-nano", measure.Settings("4", "absmax", 2, "quick", 4, rounded=(6, 3)))
    request = measure.survey(measure.parsed(["--work", str(tmp_path)]))
    with opened(request, Silent()) as (checkpoint, _):
        subject = prepare(checkpoint, request.corpus, request.preset, ("rtn",), request.seed, request.root)
        six, three = measure.rounded(request, subject)
    assert [(each.bits, each.grid) for each in (six, three)] == [(6, "absmax"), (3, "absmax")]
    # uniform rounding errors go with the step, 1/(2^(bits-1) - 1) of the largest weight
    assert three.distance / six.distance == pytest.approx(31 / 3, rel=0.15)
