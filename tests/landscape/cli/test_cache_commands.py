"""``landscape cache`` as a user meets it: text, JSON, exit codes."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.landscape.cache.folders import DAY, STORE, content, fill, set_age


@pytest.fixture
def root(tmp_path):
    fill(tmp_path / "cache")
    set_age(tmp_path / "cache", 5 * DAY)
    return tmp_path / "cache"


def test_ls_names_everything(run, root):
    code, out, err = run("cache", "ls", "--store", root)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert out.startswith(f"{root}: ")
    for words in (f"{STORE} (opt-125m)", "2 points", "probes", "unfinished training", "survey-opt-125m-", "small.gguf"):
        assert words in out
    assert "5 d ago" in out
    (total,) = [line for line in out.splitlines() if line.startswith("tokens of texts")]
    assert " 1 " in total


def test_ls_as_json_adds_up(run, root):
    code, out, _ = run("cache", "ls", "--store", root, "--json")
    assert code == 0
    listed = json.loads(out)
    assert listed["bytes"] == sum(map(len, content(root).values()))
    assert listed["bytes"] == sum(unit["bytes"] for unit in listed["units"])
    assert {unit["model"] for unit in listed["units"] if unit["store"]} == {"opt-125m"}


def test_ls_answers_without_heavy_libraries(root):
    code = (
        "import sys\nfrom landscape.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'transformers', 'h5py', 'plotly', 'scipy', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "cache", "ls", "--store", str(root)],
        capture_output=True, text=True, cwd=ROOT, env=dict(os.environ), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_empty_cache_is_said(run, tmp_path):
    assert run("cache", "ls", "--store", tmp_path / "none") == (0, f"{tmp_path / 'none'}: empty\n", "")
    assert not (tmp_path / "none").exists()


def test_show_says_what_a_store_holds(run, root):
    code, out, _ = run("cache", "show", "opt-125m", "--store", root)
    assert code == 0
    for words in (
        "probes    6 on 2 windows: 4 ray, 2 w",
        "gptq",
        "int4, absmax, tensor",
        "layer-wise errors at 1 point",
        "landscape probe --model opt",
    ):
        assert words in out
    shown = json.loads(run("cache", "show", STORE, "--store", root, "--json")[1])
    assert shown["layers"] == [{"point": "gptq", "matrices": 2, "windows": 1, "rows": 2}]
    assert shown["runs"][0]["command"] == "landscape probe --model opt-125m"
    code, _, err = run("cache", "show", "zz", "--store", root)
    assert code == 2
    assert err.startswith(f"landscape: error: expected a store in {root}, got 'zz'; stores there: {STORE}")


def test_verify_fails_where_something_is_damaged(run, root):
    code, out, _ = run("cache", "verify", "--store", root)
    assert code == 0
    assert out.splitlines()[-1].startswith("15 files checked (")
    assert ": 0 damaged, 3 leftover, 2 unknown" in out
    shard = next((root / STORE / "probes").glob("*.h5"))
    shard.write_bytes(shard.read_bytes()[:-1])
    code, out, err = run("cache", "verify", "opt-125m", "--store", root)
    assert (code, err) == (1, "")
    assert f"damaged   {shard}: its content is not that of its hash" in out
    code, out, _ = run("cache", "verify", "--repair", "--store", root, "--json")
    assert (code, json.loads(out)["damaged"]) == (1, 1)
    assert run("cache", "verify", "--store", root)[0] == 0


def test_gc_says_what_it_removes_and_what_it_freed(run, root):
    before = content(root)
    code, out, _ = run("cache", "gc", "--keep", "1kB", "--dry-run", "--store", root)
    assert code == 0
    assert "would remove point " in out
    assert content(root) == before
    code, out, err = run("cache", "gc", "--keep", "1kB", "--store", root, "--json")
    assert (code, err) == (0, "")
    done = json.loads(out)
    after = content(root)
    assert done["bytes_freed"] == sum(map(len, before.values())) - sum(map(len, after.values()))
    assert done["bytes_left"] == sum(map(len, after.values()))
    _, out, _ = run("cache", "gc", "--keep", "1kB", "--store", root)
    assert "do not count, since no limit removes them; probes go with a whole store alone: --stores" in out


def test_gc_says_why_results_stay(run, root):
    point = next((root / STORE / "points").glob("*/*.h5"))
    os.utime(point)
    _, out, _ = run("cache", "gc", "--keep", "1B", "--store", root)
    assert "above the limit, and nothing else may go; runs and studies stay, since the rest alone is above it" in out
    assert next((root / STORE / "runs").iterdir()).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a limit, got none; add --keep 20GB or --older-than 30d"),
        (["--keep", "lots"], "expected a size such as 20GB or 500MB as --keep, got 'lots'"),
        (["--older-than", "30"], "expected a time such as 30d, 12h or 2w as --older-than, got '30'"),
    ],
)
def test_gc_without_a_limit_is_refused(words, message, run, root):
    code, out, err = run("cache", "gc", *words, "--store", root)
    assert (code, out, err) == (2, "", f"landscape: error: {message}\n")
