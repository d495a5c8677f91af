"""``--dry-run`` says what a run would cost, and leaves it at that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from landscape.cli.commands import COMMANDS
from landscape.cli.dry_run import forecast_alone
from landscape.report.values import JSON_VERSION
from landscape.session.progress import Silent
from landscape.survey.request import SurveyRequest
from tests.landscape.cli.asking import probe_words

SMALL = ["--windows", "2", "--seq-len", "32"]
COSTLY = [
    ["advise", "--bits", "3", *SMALL],
    ["anatomy", "--bits", "3", *SMALL],
    ["probe", "--bits", "3", "--methods", "gptq", *SMALL],
    ["probe", "--bits", "3", "--methods", "gptq", *SMALL, "--shard", "1/2"],
]


@pytest.mark.parametrize("words", COSTLY, ids=lambda words: " ".join([words[0], *words[-2:]]))
def test_it_says_the_cost_and_evaluates_and_makes_nothing(run, tmp_path: Path, words: list[str]) -> None:
    store = tmp_path / "store"
    code, out, err = run(*words, "--store", store, "--dry-run")
    assert code == 0, err
    assert out.startswith("to do: ")
    assert " of memory, " in out
    code, out, err = run(*words, "--store", store, "--dry-run", "--json", "--quiet")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert printed["schema_version"] == JSON_VERSION
    assert printed["forecast"]["probes"] > 0
    assert printed["forecast"]["seconds"] > 0
    assert not list(store.rglob("probes/*.h5"))
    assert not [point for point in store.rglob("points/*") if words[0] != "anatomy"]  # RTN, which it looks at first


def test_it_is_that_of_the_run(run, tmp_path: Path) -> None:
    words = probe_words(tmp_path, "--bits", "3", "--methods", "rtn", "--refinements", "0", "--json")
    forecast = json.loads(run(*words, "--dry-run")[1])["forecast"]
    code, out, err = run(*words)
    assert code == 0, err
    assert json.loads(out)["probes"]["evaluated"] == pytest.approx(forecast["probes"], rel=0.1)
    again = json.loads(run(*words, "--dry-run")[1])["forecast"]
    assert (again["probes"], again["work"], again["points"]) == (0, 0, [])


def test_no_page_or_table_is_written(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*COSTLY[2], "--store", tmp_path / "store", "--dry-run")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"store"}
    code, _, err = run(*COSTLY[2], "--dry-run", "--csv", tmp_path / "csv")
    assert code == 2
    assert "expected no --csv with --shard or --dry-run" in " ".join(err.split())


def test_commands_that_do_not_forecast_do_not_offer_it(run) -> None:
    for command in COMMANDS:
        code, _, err = run(command.name, "--dry-run", "--no-such-option")
        assert code == 2
        assert ("got --dry-run" in err) == (not command.forecasts and command.name != "study")


def test_a_verb_that_does_not_forecast_is_a_fault_of_ours() -> None:
    with pytest.raises(RuntimeError, match="expected a forecast"):
        forecast_alone(lambda request, progress: progress.stage("done"), SurveyRequest(), Silent())


def test_the_version_is_printed(run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("quant-landscape ")
    assert run("--")[0] == 2  # no command is named
