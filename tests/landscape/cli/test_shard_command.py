"""``landscape probe --shard`` writes no page and suggests the run that does."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tests.landscape.cli.asking import Run, probe_words


def test_a_shard_says_what_it_did_and_what_comes_next(run: Run, tmp_path: Path) -> None:
    words = probe_words(tmp_path, "--bits", "2", "--methods", "rtn", "--shard", "1/2")
    code, out, err = run(*words)
    assert code == 0, err
    assert "opt-nano on tales: shard 1/2; points made: rtn-int2-exact" in out
    assert "probes evaluated" in out
    (following,) = [line for line in out.splitlines() if line.startswith("next")]
    asked = shlex.split(following.removeprefix("next"), comments=True)
    assert asked[:2] == ["landscape", "probe"]
    assert "--shard" not in asked
    assert not (tmp_path / "report").exists()

    code, out, _ = run(*words, "--json")
    found = json.loads(out)
    assert set(found) == {
        "schema_version", "model", "space", "data", "shard", "points", "probes", "seconds", "store", "health",
    }  # fmt: skip
    assert (found["shard"], found["points"]) == ({"index": 1, "count": 2}, [])
    assert found["probes"]["evaluated"] == 0
    assert run(*asked[1:])[0] == 0
    assert list((tmp_path / "report").glob("*.html"))


def test_a_shard_that_is_none_is_refused_with_2(run: Run, tmp_path: Path) -> None:
    code, out, err = run(*probe_words(tmp_path, "--shard", "0/3"))
    assert (code, out) == (2, "")
    assert "expected a shard from 1/3 to 3/3 in --shard, got 0/3; shards count from 1" in " ".join(err.split())
