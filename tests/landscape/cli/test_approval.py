"""Work that is forecast to take more than a year, or more disk than is free, is done with ``--yes`` alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape.cli import approval
from landscape.cli.commands import COMMANDS
from tests.landscape.cli.test_dry_run import COSTLY, SMALL

STUDY = ["study", "--models", "opt-nano", "--bits", "3", "--methods", "gptq", *SMALL]
QUANTIZE = ["quantize", "--bits", "3", "--method", "rtn"]
DAY = 24 * 3600.0


def named(words: list[str]) -> str:
    return " ".join([words[0], *words[-2:]])


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "LONGEST", -1.0)


@pytest.mark.parametrize("words", [*COSTLY[2:], STUDY, QUANTIZE], ids=named)
def test_it_ends_before_the_work(run, words: list[str], tmp_path: Path, in_no_time: None) -> None:
    store, export = tmp_path / "store", ["--export", tmp_path / "x"] if words is QUANTIZE else []
    code, out, err = run(*words, *export, "--store", store)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("landscape: error: ")]
    assert line.startswith("landscape: error: expected work of at most a year, forecast are about ")
    assert line.endswith("; ask for less, or give --yes to run it all the same")
    assert not list(store.rglob("probes/*.h5"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("words", [COSTLY[2], STUDY], ids=named)
def test_a_dry_run_only_says_it(run, words: list[str], tmp_path: Path, in_no_time: None) -> None:
    code, _, err = run(*words, "--store", tmp_path, "--dry-run")
    assert code == 0
    assert "warning: expected work of at most a year" in err
    assert "without --dry-run this needs --yes" in " ".join(err.split())


def test_with_yes_it_is_done(run, tmp_path: Path, in_no_time: None) -> None:
    code, _, err = run(*QUANTIZE, "--export", tmp_path / "x", "--store", tmp_path, "--yes")
    assert code == 0, err
    assert (tmp_path / "x" / "config.json").exists()


@pytest.mark.parametrize(
    ("seconds", "disk", "found"),
    [
        (364 * DAY, 999, ""),
        (366 * DAY, 0, "work of at most a year, forecast are about 8784.0 h"),
        (float("inf"), 0, "work of at most a year, forecast are about inf h"),
        (float("nan"), 0, "work of at most a year"),
        (0, 1001, "at most the 1 kB that are free at"),
        (366 * DAY, 10**18, " and at most the 1 kB"),
    ],
)
def test_what_is_too_much(
    seconds: float, disk: int, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "_free", lambda root: 1000)
    said = approval.excess(seconds, disk, tmp_path)
    assert found in said
    assert bool(found) == bool(said)


def test_the_free_disk_is_that_of_the_folder_to_be_made(tmp_path: Path) -> None:
    free = approval._free(tmp_path)
    assert free is not None
    assert approval._free(tmp_path / "not" / "yet") == pytest.approx(free, rel=0.1)


def test_commands_without_a_forecast_do_not_offer_it(run) -> None:
    assert {command.name for command in COMMANDS if not command.asks} == {"radius", "curvature"}
    for command in COMMANDS:
        _, _, err = run(command.name, "--yes", "--no-such-option")
        assert ("got --yes" in err) == (not command.asks)
