"""Points of other tools, as ``landscape probe --point`` places them."""

from __future__ import annotations

import json
from pathlib import Path

from quant.checkpoints.checkpoint import load_checkpoint
from tests.landscape.cli.asking import probe_words
from tests.quant.external import folding


def test_a_point_of_another_tool_lies_where_it_was_measured_before(run, tmp_path):
    """What another tool made is here what this one wrote: the vector, and so every number of it, must be the same."""
    export = tmp_path / "q3"
    words = ["quantize", "--bits", "3", "--method", "rtn", "--export", export, "--store", tmp_path / "store"]
    assert run(*words)[0] == 0
    words = probe_words(tmp_path, "--bits", "3", "--methods", "rtn", "--point", f"theirs={export}", "--json")
    code, out, err = run(*words)
    assert code == 0, err
    found = json.loads(out)
    ours, theirs = found["points"]
    assert (theirs["name"], theirs["bits"]) == ("theirs", None)
    assert all(theirs[key] == ours[key] for key in ("distance", "nll", "location", "loss", "rho"))
    assert {(s["a"], s["b"]) for s in found["segments"]} == {("w", "rtn-int3-exact"), ("w", "theirs")}
    page = Path(found["page"]).read_text()
    assert "point theirs" in page  # how it was measured
    assert str(tmp_path) not in page
    words = ["export", found["run"], "-o", tmp_path / "x.h5", "--with-points", "--json"]
    code, out, err = run(*words)
    assert code == 0, err
    assert json.loads(out)["left_out"] == [{"model": "opt-nano", "point": "theirs"}]  # its weights are in its folder


def test_awq_as_its_tool_writes_it_lies_as_near_as_its_rounding(run, tmp_path):
    """The command of README: scales are in the norms and biases of the folder, and the point is in w's coordinates."""
    checkpoint = load_checkpoint("opt-nano")
    pairs = [("self_attn.v_proj", "self_attn.out_proj"), ("fc1", "fc2")]
    folding.write(tmp_path / "awq", checkpoint, "awq", lambda m: folding.fold(m, folding.OPT, pairs))
    words = ["--bits", "4", "--methods", "rtn", "--granularity", "group:8", "--scale", "absmax", "--json"]
    code, out, err = run(*probe_words(tmp_path, *words, "--point", f"awq={tmp_path / 'awq'}"))
    assert code == 0, err
    rtn, awq = json.loads(out)["points"]
    assert awq["distance"] < 1.5 * rtn["distance"]


def test_a_point_of_another_model_is_one_line(failure, tmp_path):
    folder = tmp_path / "gpt2"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    line = failure(*probe_words(tmp_path, "--methods", "rtn", "--point", f"other={folder}"))
    assert "expected a model of type opt" in line
