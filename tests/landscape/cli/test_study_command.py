"""``landscape study`` writes a page, tables and figures; ``landscape report`` writes the same from what is kept."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.landscape.cli.asking import Run
from tests.landscape.small import NUMBERS

SCRIPT = "from landscape.cli import main; main()"


def study_words(place: Path, *more: object, bits: str = "3,2") -> list[object]:
    return [
        "study", "--bits", bits, "--store", place / "store", "--output", place / "pages", "--csv", place / "csv",
        *NUMBERS, *more,
    ]  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_study_is_written_and_written_again_without_its_model(run: Run, tmp_path: Path, forwards: list[int]) -> None:
    code, out, err = run(*study_words(tmp_path, "--methods", "rtn,gptq", "--name", "two bits"))
    assert code == 0, err
    assert "opt-nano (1/1): made gptq-int2-exact in" in err
    assert "the paper's claims:" in out
    assert "int2-exact" in out
    page = tmp_path / "pages" / "two-bits.html"
    assert f"page   {page}" in out
    forwards.clear()

    again = tmp_path / "again.html"
    words = ("--store", tmp_path / "store", "--csv", tmp_path / "csv2")
    code, out, err = run("report", "two-bits", "--output", again, *words)
    assert code == 0, err
    assert not forwards
    assert again.read_bytes() == page.read_bytes()
    assert contents(tmp_path / "csv2") == contents(tmp_path / "csv")
    code, out, err = run("plot", "two-bits", "--store", tmp_path / "store", "--output", tmp_path / "plotted")
    assert code == 0, err
    assert (tmp_path / "plotted" / "two-bits.html").read_bytes() == page.read_bytes()

    code, out, _ = run(*study_words(tmp_path, "--methods", "rtn,gptq", "--name", "two bits", "--json"))
    found = json.loads(out)
    assert [point["name"] for point in found["models"][0]["points"]] == [
        "rtn-int3-exact", "gptq-int3-exact", "rtn-int2-exact", "gptq-int2-exact",
    ]  # fmt: skip
    assert found["models"][0]["probes"]["evaluated"] == 0
    assert {claim["number"] for claim in found["models"][0]["claims"]} == {1, 2, 3, 4, 6}
    assert found["run"] == str(tmp_path / "store" / "studies" / "two-bits.json")

    page_bytes = page.read_bytes()  # of the second run, whose record says that it evaluated nothing
    missing = ("--models", f"{tmp_path / 'none'}", "--methods", "rtn", "--name", "two bits")
    code, out, err = run(*study_words(tmp_path, *missing))
    assert code == 1
    assert "a study of 1 models is kept as two-bits, this one measured 0" in " ".join(err.split())
    assert run("report", "two-bits", "--output", again, *words)[0] == 0
    assert again.read_bytes() == page_bytes


def test_cells_that_fail_end_a_dry_run_and_a_shard_with_1(run: Run, tmp_path: Path) -> None:
    for more in (("--dry-run",), ("--shard", "1/1")):
        code, out, err = run("study", "--store", tmp_path, "--models", tmp_path / "none", *more)
        assert code == 1, err
        assert "failed:" in out
        assert "nothing to do" not in out


def test_studies_without_a_name_stand_beside_each_other(run: Run, tmp_path: Path) -> None:
    for bits in ("3", "2"):
        words = ("--methods", "rtn", "--bits", bits, "--no-layers")
        assert run(*study_words(tmp_path, *words))[0] == 0
    names = sorted(path.stem for path in (tmp_path / "store" / "studies").iterdir())
    assert len(names) == 2
    assert all(name.startswith("opt-nano-") for name in names)


def test_figures_are_written_as_files(run: Run, tmp_path: Path) -> None:
    words = study_words(tmp_path, "--methods", "rtn", "--bits", "2", "--no-layers", "--figures", tmp_path / "figures")
    code, out, err = run(*words)
    assert code == 0, err
    assert f"files  {tmp_path / 'figures'}" in out
    kinds = {path.suffix for path in (tmp_path / "figures").iterdir()}
    assert kinds == {".pdf", ".svg", ".png", ".md"}
    captions = (tmp_path / "figures" / "captions.md").read_text(encoding="utf-8")
    assert "Not drawn" in captions  # nothing was trained here


def test_a_model_that_fails_is_named_and_the_code_is_1(run: Run, tmp_path: Path) -> None:
    words = study_words(tmp_path, "--models", f"{tmp_path / 'none'},opt-nano", "--data", "tales", "--methods", "rtn")
    code, out, err = run(*words)
    assert code == 1
    assert f"failed: {tmp_path / 'none'}: expected" in out
    assert "it is left out, since it failed" in " ".join(err.split())  # lines break where the folder's name ends
    assert "rtn" in out.lower()
    assert list((tmp_path / "pages").glob("*.html"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dry-run", "--csv", "x"), "expected no --csv with --shard or --dry-run"),
        (("--shard", "1/2", "--figures", "x"), "expected no --figures with --shard or --dry-run"),
        (("--models", "a,b", "--data", "x,y,z"), "one for each of 2 models, got 3"),
    ],
)
def test_what_cannot_be_met_is_refused_with_2(run: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = run("study", "--store", tmp_path, *words)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def test_a_report_of_something_else_is_refused(run: Run, tmp_path: Path) -> None:
    code, out, err = run("report", "nothing", "--store", tmp_path)
    assert (code, out) == (2, "")
    assert "got 'nothing'" in err
    code, out, err = run("report", "nothing", "--output", tmp_path, "--store", tmp_path)
    assert (code, out) == (2, "")


@pytest.mark.long
def test_a_study_that_is_killed_resumes_to_the_identical_tables(run: Run, tmp_path: Path) -> None:
    """SIGKILL at three moments of the whole run, drawn at random, the first of them while points are made."""
    words = ("--methods", "rtn,gptq,qaft")
    started = time.monotonic()
    code, _, err = run(*study_words(tmp_path / "whole", *words, bits="2"))
    assert code == 0, err
    whole = time.monotonic() - started
    drawn = random.Random(0)
    moments = sorted(drawn.uniform(0.1, 0.8) for _ in range(3))
    for moment, before in zip(moments, [0.0, *moments], strict=False):
        command = [sys.executable, "-c", SCRIPT, *map(str, study_words(tmp_path / "killed", *words, bits="2"))]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait((moment - before) * whole + 4.0)  # seconds that a new process takes to begin
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
    code, _, err = run(*study_words(tmp_path / "killed", *words, bits="2"))
    assert code == 0, err
    assert contents(tmp_path / "killed" / "csv") == contents(tmp_path / "whole" / "csv")
