"""Every kind of fault that is planted is found, a share of the real thing finds none, and every try can be repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.torture.contexts import Round
from tests.torture.flips import DAMAGES
from tests.torture.forks import Outcome, Settings, command, run_work
from tests.torture.names import _page_fault, _printed_fault
from tests.torture.rounds import ROUNDS
from tests.torture.rows import changed, read_rows
from tests.torture.scenarios import BY_NAME, Answer, Reference
from tests.torture.table import Tally, write_table
from tests.torture.verdict import FAULTS, Verdict, difference, evaluated, judge, numbers
from tests.torture.words import bad_inputs, drawn


def ended(code: int | None = 0, out: str = "", err: str = "") -> Outcome:
    return Outcome(code, out, err, 1.0, 2**20)


def reference(folder: Path, answer: object) -> Reference:
    return Reference(BY_NAME["rtn"], (), folder, Answer(answer, {}), {}, 1.0)


def save(cache: Path, totals: list[float]) -> None:
    path = cache / "m-float32" / "probes" / f"{'a' * 64}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["positions"], file["windows"] = np.array([b"w"]), np.array([b"%d" % i for i in range(len(totals))])
        file["position_index"], file["window_index"] = np.zeros(len(totals), int), np.arange(len(totals))
        file["total"], file["tokens"] = np.array(totals), np.full(len(totals), 7)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (ended(0, "fine"), "well"),
        (ended(2, err="loading\nlandscape: error: expected a, got b; do c\n"), "refused"),
        (ended(1, err="landscape: warning: m (1/1): it is left out, since it failed: expected a\n"), "refused"),
        (ended(1, err="Traceback (most recent call last):\n  …\nValueError: x\n"), "traceback"),
        (ended(1, err="landscape: error: unexpected KeyError: 'x' (--debug shows the traceback)\n"), "unexpected"),
        (ended(0, err="/venv/lib/site-packages/x.py:3: FutureWarning: y\n"), "unexpected"),
        (ended(1, err="it did not work\n"), "unexpected"),
        (ended(3, err="landscape: error: expected a, got b; do c\n"), "unexpected"),
        (ended(-11), "unexpected"),
        (ended(None), "beyond"),
    ],
)
def test_the_end_of_a_command_is_judged(outcome: Outcome, kind: str) -> None:
    assert judge(outcome).kind == kind


def test_a_command_that_answers_another_number_is_found(tmp_path: Path) -> None:
    answer = {"r": 1.5, "seconds": 3.0, "points": [{"x": None}], "probes": {"cached": 0, "evaluated": 9}}
    same = {"r": 1.5, "seconds": 1.0, "points": [{"x": None}], "probes": {"cached": 9, "evaluated": 0}}
    expected = reference(tmp_path, answer)
    assert expected.check(ended(0, json.dumps(same)), tmp_path).kind == "well"
    for other in (
        {**same, "r": 1.5000000000000002},
        {**same, "points": []},
        {**same, "points": [{}]},
        {**same, "y": 1},
    ):
        assert expected.check(ended(0, json.dumps(other)), tmp_path).kind == "wrong"
    assert expected.check(ended(0, "no JSON"), tmp_path).kind == "unexpected"


def test_a_check_that_failed_is_a_difference() -> None:
    good = numbers([{"name": "finite", "passed": None, "words": "nothing to check"}])
    assert not difference(good, numbers([{"name": "finite", "passed": True, "words": "all"}]))
    assert difference(good, numbers([{"name": "finite", "passed": False, "words": "none"}]))


def test_a_row_that_is_gone_or_has_changed_is_found(tmp_path: Path) -> None:
    save(tmp_path, [1.5, 2.5])
    before = read_rows(tmp_path)
    assert len(before) == 2
    assert not changed(before, read_rows(tmp_path))
    save(tmp_path, [1.5, 2.5, 3.5])
    assert not changed(before, read_rows(tmp_path))
    save(tmp_path, [1.5])
    assert "gone" in changed(before, read_rows(tmp_path))
    save(tmp_path, [1.5, float(np.nextafter(2.5, 3))])
    assert "not (2.5, 7)" in changed(before, read_rows(tmp_path))
    assert evaluated({"evaluated": 2, "models": [{"probes": {"evaluated": 3}}, {"evaluated": None}]}) == 5


def test_a_command_that_grows_beyond_its_memory_is_ended(tmp_path: Path) -> None:
    def grow() -> None:
        held = []
        while True:
            held.append(bytearray(os.urandom(2**20)))

    outcome = run_work(grow, Settings(tmp_path, tmp_path, memory=600 * 2**20, limit=60.0))
    assert outcome.code is None
    assert outcome.peak > 600 * 2**20
    assert outcome.seconds < 30


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    outcome = run_work(lambda: time.sleep(60), Settings(tmp_path, tmp_path, memory=2**62, limit=0.3))
    assert outcome.code is None
    assert outcome.seconds < 5


def test_what_a_fork_prints_and_ends_with_is_known(tmp_path: Path) -> None:
    def work() -> None:
        print("é", os.environ["LANDSCAPE_CACHE"])
        print("there", file=sys.stderr)
        sys.exit(3)

    outcome = run_work(work, Settings(tmp_path, Path("own"), memory=2**62))
    assert (outcome.code, outcome.out, outcome.err) == (3, "é own\n", "there\n")

    failed = run_work(lambda: 1 / 0, Settings(tmp_path, tmp_path, memory=2**62))
    assert judge(failed).kind == "traceback"

    killed = run_work(lambda: time.sleep(60), Settings(tmp_path, tmp_path, memory=2**62), kill_after=0.1)
    assert killed.code == -9

    refused = run_work(command(["probe", "--bits", "99"]), Settings(tmp_path, tmp_path, memory=2**62))
    assert judge(refused).kind == "refused", refused.err


@pytest.mark.parametrize("bad", ["\x1b[31m", "\u202e", "\x07", "\u2028", "\u200f"])
def test_an_order_to_the_terminal_is_found(bad: str) -> None:
    assert _printed_fault(ended(0, f"model {bad}zqz\n"))
    assert not _printed_fault(ended(0, f"model {bad!r}zqz\n"))


@pytest.mark.parametrize(
    "bad",
    [
        "<b zqz=1>",
        "<zqz>",
        '<a href="javascript:zqz">',
        "<img onerror='zqz()'>",
        "<script>zqz()</script>",
        "\x1bzqz",
        "\u202ezqz",
    ],
)
def test_a_name_that_changes_a_page_is_found(tmp_path: Path, bad: str) -> None:
    (tmp_path / "page.html").write_text(f"<title>{bad}</title><p>{bad}</p>", encoding="utf-8")
    assert _page_fault(tmp_path)
    (tmp_path / "page.html").write_text("<p>&lt;b zqz=1&gt; $zqz</p>", encoding="utf-8")
    assert not _page_fault(tmp_path)


def test_there_are_many_bad_inputs_and_a_seed_orders_them() -> None:
    names = {name for name, _ in bad_inputs()}
    assert len(names) > 3000
    first, again, other = drawn(1), drawn(1), drawn(2)
    assert first == again
    assert first[:50] != other[:50]
    assert len({name for name, _ in first[:600]}) > 500


def test_every_damage_changes_a_file() -> None:
    import random

    content = bytes(range(1, 256)) * 40
    for damage in DAMAGES:
        assert damage(content, random.Random(0)) != content, damage.__name__


def test_the_table_counts_faults_apart(tmp_path: Path) -> None:
    tally = Tally(Round("words", 9, lambda context, number: Verdict("well"), "bad values"))
    for number, kind in enumerate(("well", "refused", "refused", *FAULTS)):
        tally.add(number, Verdict(kind, str(number), 2.0, 2**20))
    assert (tally.tries, tally.faults) == (8, 5)
    write_table(tmp_path / "page.md", [tally], 7, 60.0)
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| words | bad values | 8 of 9 | 1 | 2 | 1 | 1 | 1 | 1 | 1 | 2.0 | 1 |" in text
    assert "8 tries, 5 faults, in 1 minutes; seed 7" in text


def test_every_round_is_listed_once() -> None:
    names = [each.name for each in ROUNDS]
    assert len(set(names)) == len(names)
    assert {"kills", "flips", "writers", "media", "words", "names", "same", "parsers"} == set(names)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is watched on Linux alone")
def test_a_share_of_it_finds_nothing() -> None:
    words = [sys.executable, "-m", "tests.torture", "--seed", "1", "--minutes", "1", "--tries", "4"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 faults" in done.stdout
