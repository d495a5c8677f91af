"""A run returns from its file, draws the same page, and is refused in one line where it is not what was written."""

import hashlib
import json
from dataclasses import replace

import pytest

from landscape.anatomy.result import AnatomyResult
from landscape.claims.claim import Claim
from landscape.estimators.intervals import Estimate
from landscape.records.record import FORMAT, VERSION, check_record, load_record, read_head, save_record
from landscape.report.anatomy.page import anatomy_page
from landscape.report.survey.page import page
from landscape.study.result import FailedCell, ModelStudy, StudyResult
from quant.errors import StoreError
from tests.landscape.records.invented import differences
from tests.synthetic import landscape, overflowing, smollm2_like

COMMAND = "landscape probe --bits 2"


@pytest.mark.parametrize("make", [landscape, smollm2_like, overflowing, lambda: landscape(plane=True)])
def test_a_page_from_the_file_is_the_page(make, tmp_path):
    result = make()
    save_record(result, tmp_path / "runs" / "run.json", COMMAND)
    record = load_record(tmp_path / "runs" / "run.json")
    assert (record.kind, record.command) == ("survey", COMMAND)
    assert record.written_by["torch"]
    assert differences(result, record.result) == []
    assert page(record.result) == page(result)


def test_an_anatomy_returns_with_its_page(dissected: AnatomyResult, tmp_path):
    save_record(dissected, tmp_path / "run.json", "landscape anatomy")
    record = load_record(tmp_path / "run.json")
    assert record.kind == "anatomy"
    assert differences(dissected, record.result) == []
    assert anatomy_page(record.result) == anatomy_page(dissected)


def test_a_study_returns(tmp_path):
    claim = Claim(1, "int2", "text", "source", "ρ", Estimate(1.0, 0.5, float("inf")), "> 0", "holds")
    study = StudyResult(
        "both", (ModelStudy(landscape(), (claim,), COMMAND),), (FailedCell("x", "all", "no such model"),),
        "landscape study", 12.5, {"bits": (8, 2), "preset": "quick"},
    )  # fmt: skip
    save_record(study, tmp_path / "run.json", study.command)
    record = load_record(tmp_path / "run.json")
    assert record.kind == "study"
    assert differences(study, record.result) == []
    assert read_head(tmp_path / "run.json").settings["preset"] == "quick"


def test_a_name_that_is_no_utf_8_returns(tmp_path):
    result = landscape(directions=2, windows=2)
    result = replace(result, subject=replace(result.subject, model="a \udcff byte"))
    save_record(result, tmp_path / "run.json", COMMAND)
    assert load_record(tmp_path / "run.json").result.subject == result.subject


def test_the_file_is_strict_json_with_its_format(tmp_path):
    path = tmp_path / "run.json"
    save_record(overflowing(), path, COMMAND)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert (content["format"], content["version"]) == ("quant-landscape run", 1)
    assert '"Infinity"' in path.read_text() or '"NaN"' in path.read_text()


def changed(path, change, hashed=True):
    """Write a run and change its file, with the hash of the result, computed here, or the old one."""
    save_record(landscape(directions=2, windows=2), path, COMMAND)
    content = json.loads(path.read_text())
    change(content)
    if hashed:
        text = json.dumps(content["result"], separators=(",", ":"), sort_keys=True)
        content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))
    return path


def test_an_older_file_lacks_what_came_later(tmp_path):
    def older(content):
        del content["head_sha256"]
        for name in ("kl_radii", "center_size", "planes"):
            del content["result"][name]
        for point in content["result"]["points"]:
            del point["fidelity"], point["layers"]

    result = load_record(changed(tmp_path / "run.json", older)).result
    assert (result.kl_radii, result.center_size, result.points[0].layers) == ({}, None, ())


def spoil_a_digit(content):
    content["result"]["center"]["validation"] += 0.25


@pytest.mark.parametrize(
    ("change", "hashed", "message"),
    [
        (lambda c: c.update(format="other"), True, f"expected the format {FORMAT!r}"),
        (lambda c: c.update(version=VERSION + 1), True, f"expected at most version {VERSION} of a run"),
        (lambda c: c.update(kind="poem"), True, "expected a run with command"),
        (lambda c: c.update(more=1), True, "expected a run with command"),
        (lambda c: c.pop("command"), True, "expected a run with command"),
        (
            lambda c: c.update(command="landscape probe --bits 3"),
            False,
            "is damaged: its kind, versions and command have",
        ),
        (lambda c: c["written_by"].update(torch="1.0"), False, "is damaged: its kind, versions and command have"),
        (spoil_a_digit, False, "is damaged: its result has not its hash; run it again: landscape probe"),
        (lambda c: c["result"].pop("center"), True, "expected the field 'center', found none in result"),
        (lambda c: c["result"].update(more=1), True, "found unknown fields: more in result"),
        (
            lambda c: c["result"]["points"][1]["rise"]["validation"].pop("low"),
            True,
            "expected the field 'low', found none in result",
        ),
    ],
)
def test_another_file_is_refused_in_one_line(change, hashed, message, tmp_path):
    path = changed(tmp_path / "run.json", change, hashed)
    with pytest.raises(StoreError) as refused:
        load_record(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"format": 1}', "\x00", "[" * 100_000])
def test_what_is_no_record_is_refused(text, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(text)
    for read in (load_record, check_record, read_head):
        with pytest.raises(StoreError, match="expected"):
            read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        load_record(tmp_path / "run.json")


def test_other_results_are_not_kept(tmp_path):
    with pytest.raises(TypeError, match="SurveyResult"):
        save_record(Estimate(1, 0, 2), tmp_path / "run.json", COMMAND)
    assert not list(tmp_path.iterdir())
