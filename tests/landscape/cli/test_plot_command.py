"""A run is kept under a name that the command says, and drawn again without its model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from landscape.cli.browser import open_page
from landscape.records.record import save_record
from landscape.records.run_files import find_run, plain_name, run_path
from quant.errors import UsageError
from tests.conftest import ROOT
from tests.landscape.cli.asking import probe_words
from tests.synthetic import landscape


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)


def keep(root: Path, command: str = "probe", model: str = "opt-125m", dtype: str = "float32") -> Path:
    path = run_path(root / f"{'ab' * 8}-{dtype}", "survey", model, command)
    save_record(landscape(directions=2, windows=2), path, f"landscape {command}")
    return path


def test_a_survey_is_kept_once_per_command_and_plotted_to_the_byte(run, tmp_path):
    words = probe_words(tmp_path, "--bits", "2", "--methods", "rtn", "--json")
    code, out, err = run(*words)
    assert code == 0, err
    found = json.loads(out)
    kept = Path(found["run"])
    assert kept.parent == Path(found["store"]) / "runs"
    page = Path(found["page"]).read_bytes()

    code, out, _ = run("plot", kept.stem, "--store", tmp_path / "store", "-o", tmp_path / "drawn", "--json")
    assert code == 0
    drawn = json.loads(out)
    assert drawn["kind"] == "survey"
    assert drawn["command"].startswith("landscape probe --model opt-nano --data tales --bits 2 ")
    assert Path(drawn["page"]).read_bytes() == page

    code, out, err = run(*words[:-1], "--open")  # again: the same name
    assert code == 0, err
    assert f"run    {kept.stem}    # draw it again: landscape plot {kept.stem} --store " in out
    assert "no browser opened: there is no display; open " in err
    assert list(kept.parent.iterdir()) == [kept]
    run(*words, "--seed", "1")
    assert len(list(kept.parent.iterdir())) == 2


def test_a_home_that_the_shell_leaves_is_read_as_one(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    kept = keep(tmp_path / "store")
    code, _, err = run("plot", kept.stem, "--store", tmp_path / "store", "--output=~/pages")
    assert code == 0, err
    assert (tmp_path / "home/pages" / f"{kept.stem}.html").exists()
    code, _, err = run("export", kept.stem, "--store", tmp_path / "store", "--output=~/a.h5", "--surfaces=~/s")
    assert code == 0, err
    assert (tmp_path / "home/a.h5").exists()
    assert (tmp_path / "home/s").is_dir()
    assert not (tmp_path / "~").exists()


def test_a_plot_needs_neither_torch_nor_the_model(tmp_path):
    keep(tmp_path)
    code = (
        "import sys\n"
        "from landscape.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'transformers', 'h5py'} & set(sys.modules)\n"
    )
    words = ["plot", "survey", "--store", str(tmp_path), "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (page,) = (tmp_path / "out").iterdir()
    assert f"page   {page}" in done.stdout


def test_a_run_is_found_by_its_name_its_beginning_or_its_file(tmp_path):
    one, two = keep(tmp_path), keep(tmp_path, "probe --bits 3", "gpt2")
    assert find_run(one.stem, tmp_path) == one
    assert find_run("survey-gpt2", tmp_path) == two
    assert find_run(str(two), tmp_path / "elsewhere") == two
    with pytest.raises(UsageError, match=r"'survey', with which 2 begin: survey-gpt2-\w+, survey-opt-125m-\w+; name"):
        find_run("survey", tmp_path)
    with pytest.raises(UsageError, match="got 'anatomy'; runs there: survey-gpt2"):
        find_run("anatomy", tmp_path)
    with pytest.raises(UsageError, match="runs there: none yet: landscape probe makes one"):
        find_run("survey", tmp_path / "elsewhere")


def test_two_stores_may_have_one_name_and_then_the_file_is_asked_for(tmp_path):
    one, two = keep(tmp_path), keep(tmp_path, dtype="bfloat16")
    assert one.stem == two.stem
    with pytest.raises(UsageError) as refused:
        find_run(one.stem, tmp_path)
    assert str(one) in str(refused.value)
    assert str(two) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("org/Model-1b", "Model-1b"), ("a/b/q4 model.gguf", "q4-model.gguf"), ("../..", "model"), ("C:\\x\\y/", "y")],
)
def test_names_of_models_are_plain_in_names_of_runs(name, plain):
    assert plain_name(name) == plain


def test_a_damaged_run_is_one_line(run, tmp_path):
    path = keep(tmp_path)
    path.write_text(path.read_text().replace('"split": "validation"', '"split": "test"', 1))
    code, out, err = run("plot", path, "--output", tmp_path / "out")
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith("landscape: error: the run ")
    assert "is damaged" in line


def test_the_users_browser_gets_the_page(monkeypatch, tmp_path):
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{told}"\n')
    browser.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from pathlib import Path; from landscape.cli.browser import open_page; "
         "print(open_page(Path(sys.argv[1])))", str(tmp_path / "a page.html")],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "BROWSER": f"{browser} %s"}, check=False,
    )  # fmt: skip
    assert done.stdout == "None\n", done.stderr
    assert told.read_text() == (tmp_path / "a page.html").as_uri()


def test_a_browser_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("BROWSER", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    said = open_page(tmp_path / "page.html")
    assert said is None or said.startswith("no browser opened")
