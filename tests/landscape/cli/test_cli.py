import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from landscape.cli import app, main
from quant.checkpoints.checkpoint import load_checkpoint
from tests.landscape.small import NUMBERS
from tests.quant.external import folding

ROOT = Path(__file__).parents[3]


def run(capsys, monkeypatch, *words):
    """Run the command in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["landscape", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    return end.value.code or 0, out.out, out.err


def probe_words(tmp_path, *more):
    return ["probe", "--store", tmp_path / "store", "--output", tmp_path / "report", *NUMBERS, *more]


@pytest.fixture
def forwards():
    """Counts the calls of any language model's forward, whatever the tool says of itself."""
    calls = []
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: calls.append(1) if isinstance(module, PreTrainedModel) and module.can_generate() else None
    )
    yield calls
    handle.remove()


def stable(found):
    """What may not differ between two runs of the same command; its checks are those of one run."""
    return {key: value for key, value in found.items() if key not in ("seconds", "probes", "store", "page", "health")}


def test_the_whole_job_and_its_json(tmp_path, capsys, monkeypatch, forwards):
    words = probe_words(tmp_path, "--bits", "4,2", "--json")
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 0, err
    found = json.loads(out)
    assert set(found) == {
        "schema_version", "model", "space", "data", "center", "chance", "basin", "points", "segments", "planes",
        "probes", "seconds", "store", "page", "health",
    }  # fmt: skip
    assert [check["passed"] for check in found["health"]] == [True, True, None, True, True, True, True, True]
    assert "warning" not in err
    assert found["space"]["dimension"] == 983040
    assert [p["name"] for p in found["points"]] == [
        f"{method}-int{bits}-exact" for bits in (4, 2) for method in ("rtn", "gptq", "qaft")
    ]
    assert set(found["points"][0]["nll"]) == {"train", "validation", "test"}
    assert len(found["segments"]) == 2 * 6 * 2
    assert set(found["basin"]) == {
        "split", "directions", "windows", "articles", "radius", "band", "reentry", "monotone", "non_finite",
        "direction_radii", "other_radii",
    }  # fmt: skip
    assert len(found["basin"]["direction_radii"]) == found["basin"]["directions"]
    other = found["basin"]["other_radii"]
    assert other["kept"]["value"] < found["basin"]["band"]["r10"]["value"]
    assert found["center"]["validation"] < other["unigram"]["reference"] < found["chance"]
    assert other["unigram"]["radius"]["value"] < found["basin"]["radius"]["value"]
    assert found["basin"]["articles"] <= found["basin"]["windows"]  # of tales, which tell theirs
    assert found["probes"]["total"] == found["probes"]["evaluated"] > 0
    assert "about" in err  # the forecast
    page = Path(found["page"]).read_text()
    assert f"{found['points'][0]['distance']:.3g}"[:3] in page

    forwards.clear()
    code, out, err = run(capsys, monkeypatch, *words)
    again = json.loads(out)
    assert len(forwards) == again["probes"]["evaluated"] == 0
    told = f"nothing to evaluate: all {again['probes']['total']} probes are in the cache"
    assert told in " ".join(err.split())
    assert [check["passed"] for check in again["health"]] == [None, None, None, None, None, True, None, None]
    assert stable(again) == stable(found)

    # more directions and bits: what is known is not evaluated again
    code, out, _ = run(capsys, monkeypatch, *probe_words(tmp_path, "--bits", "4,2", "--directions", "3", "--json"))
    more = json.loads(out)
    new_rays = more["probes"]["total"] - found["probes"]["total"]
    assert more["probes"]["evaluated"] == new_rays > 0
    assert [p["nll"] for p in more["points"]] == [p["nll"] for p in found["points"]]


def test_the_plane_is_drawn_is_in_the_json_and_is_forecast(tmp_path, capsys, monkeypatch, forwards):
    """First without GPTQ, so that its point comes after QAFT's: pairs must not depend on what was made first."""
    words = probe_words(tmp_path, "--bits", "2", "--json")
    assert run(capsys, monkeypatch, *words, "--methods", "qaft")[0] == 0
    code, out, err = run(capsys, monkeypatch, *words, "--plane")
    assert code == 0, err
    found = json.loads(out)
    (plane,) = found["planes"]
    assert (plane["a"], plane["b"], plane["windows"]) == ("gptq-int2-exact", "qaft-int2-exact", 2)
    assert (len(plane["nll"]), len(plane["nll"][0])) == (13, 13)
    distances = {p["name"]: p["distance"] for p in found["points"]}
    for point in plane["points"][1:]:
        assert (point["x"] ** 2 + point["y"] ** 2) ** 0.5 == pytest.approx(distances[point["name"]], rel=1e-6)
    assert 'id="plane-1"' in Path(found["page"]).read_text()
    told = int(re.search(r"evaluate about\s+(\d+)\s+probes", err).group(1))
    assert told == pytest.approx(found["probes"]["evaluated"], rel=0.1)
    forwards.clear()
    _, out, err = run(capsys, monkeypatch, *words, "--plane")
    assert len(forwards) == json.loads(out)["probes"]["evaluated"] == 0
    assert "nothing to evaluate" in err


def test_the_forecast_counts_what_a_fresh_run_evaluates(tmp_path, capsys, monkeypatch):
    """Of methods whose points differ: QAFT that keeps what it starts from shares that point's probes."""
    methods = "rtn,gptq,awq,qaft,qaft-lsq"
    words = probe_words(tmp_path, "--bits", "2", "--methods", methods, "--refinements", "0", "--json")
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 0, err
    told = int(re.search(r"evaluate about\s+(\d+)\s+probes", err).group(1))
    assert told == pytest.approx(json.loads(out)["probes"]["evaluated"], rel=0.05)


def test_a_failed_check_is_a_warning_in_plain_words(tmp_path, capsys, monkeypatch):
    words = probe_words(tmp_path, "--bits", "2", "--methods", "rtn", "--lambdas", "1e-7,60", "--json")
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 0, err
    found = json.loads(out)
    (check,) = [check for check in found["health"] if check["passed"] is False]
    assert check["name"] == "float resolution"
    assert "landscape: warning: Weights in float32 are too coarse" in " ".join(err.split())
    page = Path(found["page"]).read_text()
    assert page.index("This run is not sound") < page.index(check["words"]) < page.index("<figure")


def test_a_table_for_people(tmp_path, capsys, monkeypatch):
    code, out, _ = run(capsys, monkeypatch, *probe_words(tmp_path, "--bits", "2", "--methods", "rtn"))
    assert code == 0
    assert "rtn-int2-exact" in out
    assert re.search(r"R (= \d|is more than)", out)
    assert "next   landscape probe" in out
    assert "evaluated" in out


def test_a_killed_run_resumes_to_the_identical_result(tmp_path, capsys, monkeypatch):
    words = probe_words(tmp_path / "killed", "--bits", "2", "--directions", "6", "--json")
    monkeypatch.setattr("landscape.probing.runner.COMMIT_SECONDS", 0.0)
    script = "import sys, landscape.run; landscape.run.COMMIT_SECONDS = 0.0\nfrom landscape.cli import main; main()\n"
    child = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    shards = tmp_path / "killed" / "store"
    deadline = time.monotonic() + 120
    while len(list(shards.rglob("probes/*.h5"))) < 25 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 0, err
    resumed = json.loads(out)
    assert resumed["probes"]["cached"] >= 20

    code, out, _ = run(
        capsys, monkeypatch, *probe_words(tmp_path / "whole", "--bits", "2", "--directions", "6", "--json")
    )
    assert stable(resumed) == stable(json.loads(out))


USAGE = [
    (["--bits", "9"], "bits from 2 to 8 in --bits, got 9"),
    (["--bits", "1"], "bits from 2 to 8 in --bits, got 1"),
    (["--bits", "four"], "whole numbers in --bits, got 'four'"),
    (
        ["--methods", "rtm"],
        "expected methods from rtn, gptq, awq, signround, qaft, qaft-lsq, qaft-from-gptq, got 'rtm'",
    ),
    (["--granularity", "row"], "expected granularity tensor, channel or group:N, got 'row'"),
    (["--no-symmetric"], "expected scale='absmax' for an asymmetric grid"),
    (["--gptq-inputs", "float"], "expected inputs to be one of quantized, fp, got 'float'"),
    (["--gptq-inputs", "fp", "--true-sequential"], "expected inputs='quantized' with true_sequential"),
    (["--point", "q4.gguf"], "expected NAME=PATH in --point, got 'q4.gguf'"),
    (["--point", "a=x", "--point", "a=y"], "expected a name of its own for every point, got 'a' more than once"),
    (["--point", "a=x", "--unfold-gauge", "flat"], "expected a gauge nearest or stored, got 'flat'"),
    (["--point", "w=x"], "expected a name of its own for every point, got 'w' more than once"),
    (
        ["--plane", "--methods", "rtn,qaft"],
        "expected gptq and qaft among --methods with --plane, which lies through both, got rtn, qaft",
    ),
    (["--scale", "minmax"], "expected one of exact, histogram, histogram-torch, absmax"),
    (["--preset", "huge"], "expected one of quick, standard, paper"),
    (["--lambdas", "0,1"], "distances above 0"),
    (["--dtype", "int8"], "float32"),
    (["--model", "opt-125"], "opt-125m"),
    (["--data", "tale"], "tales"),
]


@pytest.mark.parametrize(("words", "expected"), USAGE, ids=lambda x: "_".join(x) if isinstance(x, list) else "")
def test_a_wrong_request_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, words, expected):
    code, out, err = run(capsys, monkeypatch, *probe_words(tmp_path), *words)
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert expected in line
    assert "Traceback" not in err


def test_a_page_that_cannot_be_written_is_not_worked_for(tmp_path, capsys, monkeypatch):
    (tmp_path / "report").write_text("a file where the folder should be")
    code, out, err = run(capsys, monkeypatch, *probe_words(tmp_path, "--model", "no/such/model"))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()  # nothing was begun
    assert line.endswith(
        f"expected a folder to write to as --output, got '{tmp_path / 'report'}', which is a file; choose another"
    )


def test_a_point_of_another_tool_lies_where_it_was_measured_before(tmp_path, capsys, monkeypatch):
    """What another tool made is here what this one wrote: the vector, and so every number of it, must be the same."""
    export = tmp_path / "q3"
    words = ["quantize", "--bits", "3", "--method", "rtn", "--export", export, "--store", tmp_path / "store"]
    assert run(capsys, monkeypatch, *words)[0] == 0
    words = probe_words(tmp_path, "--bits", "3", "--methods", "rtn", "--point", f"theirs={export}", "--json")
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 0, err
    found = json.loads(out)
    ours, theirs = found["points"]
    assert (theirs["name"], theirs["bits"]) == ("theirs", None)
    assert all(theirs[key] == ours[key] for key in ("distance", "nll", "location", "loss", "rho"))
    assert {(s["a"], s["b"]) for s in found["segments"]} == {("w", "rtn-int3-exact"), ("w", "theirs")}
    page = Path(found["page"]).read_text()
    assert "point theirs" in page  # how it was measured
    assert str(tmp_path) not in page


def test_awq_as_its_tool_writes_it_lies_as_near_as_its_rounding(tmp_path, capsys, monkeypatch):
    """The command of README: scales are in the norms and biases of the folder, and the point is in w's coordinates."""
    checkpoint = load_checkpoint("opt-nano")
    pairs = [("self_attn.v_proj", "self_attn.out_proj"), ("fc1", "fc2")]
    folding.write(tmp_path / "awq", checkpoint, "awq", lambda m: folding.fold(m, folding.OPT, pairs))
    words = ["--bits", "4", "--methods", "rtn", "--granularity", "group:8", "--scale", "absmax", "--json"]
    code, out, err = run(capsys, monkeypatch, *probe_words(tmp_path, *words, "--point", f"awq={tmp_path / 'awq'}"))
    assert code == 0, err
    rtn, awq = json.loads(out)["points"]
    assert awq["distance"] < 1.5 * rtn["distance"]


def test_a_point_of_another_model_is_one_line(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "gpt2"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    line = failure(capsys, monkeypatch, *probe_words(tmp_path, "--methods", "rtn", "--point", f"other={folder}"))
    assert "expected a model of type opt" in line


def test_grids_and_options_of_gptq_reach_the_points(tmp_path, capsys, monkeypatch):
    words = ["--bits", "3", "--methods", "gptq", "--scale", "absmax", "--granularity", "tensor,group:32", "--json"]
    code, out, err = run(capsys, monkeypatch, *probe_words(tmp_path, *words))
    assert code == 0, err
    plain = {p["name"]: p for p in json.loads(out)["points"]}
    assert {p["grid"] for p in plain.values()} == {"absmax", "absmax-per-group32"}
    coarse, fine = plain["gptq-int3-absmax"], plain["gptq-int3-absmax-per-group32"]
    assert fine["distance"] < coarse["distance"]
    code, out, err = run(capsys, monkeypatch, *probe_words(tmp_path, *words, "--act-order", "--gptq-inputs", "fp"))
    assert code == 0, err
    assert "make gptq-int3-absmax" in err  # other options make other points
    other = {p["name"]: p for p in json.loads(out)["points"]}
    assert all(other[name]["distance"] != plain[name]["distance"] for name in plain)
    page = Path(json.loads(out)["page"]).read_text()
    assert all((f"GPTQ {name}" in page) == changed for name, changed in (("act_order", True), ("block_size", False)))


def test_no_word_at_all_is_answered_with_help_and_exit_code_2(capsys, monkeypatch):
    code, out, err = run(capsys, monkeypatch)
    assert (code, err) == (2, "")
    assert "probe" in out
    assert run(capsys, monkeypatch, "--help")[0] == 0


@pytest.mark.parametrize(
    "words", [["--model", "./nowhere"], ["--data", "nowhere"], ["--point", "x=nowhere"]], ids=lambda x: x[0]
)
@pytest.mark.parametrize("there", [True, False], ids=["empty", "nothing"])
def test_a_path_with_nothing_of_the_kind_is_exit_code_2(tmp_path, capsys, monkeypatch, words, there):
    if there:
        (tmp_path / "empty").mkdir()
        words = [words[0], f"{'x=' * (words[0] == '--point')}{tmp_path / 'empty'}"]
    code, out, err = run(capsys, monkeypatch, *probe_words(tmp_path, "--methods", "rtn", "--data", "tales"), *words)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line.startswith("landscape: error: ")
    assert "expected" in line


def failure(capsys, monkeypatch, *words):
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if "error" in line]
    return line


def test_a_corpus_shorter_than_a_window(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "text"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_text("Once upon a time.")
    line = failure(capsys, monkeypatch, *probe_words(tmp_path, "--data", folder))
    assert "--seq-len" in line


def test_a_corrupt_checkpoint(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    source = ROOT / "data/opt-nano"
    for file in source.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:1000])
    line = failure(capsys, monkeypatch, *probe_words(tmp_path, "--model", folder, "--data", "tales"))
    assert str(folder) in line


def test_a_store_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    blocked = tmp_path / "store"
    blocked.write_text("a file where a folder should be")
    line = failure(capsys, monkeypatch, *probe_words(tmp_path, "--methods", "rtn"))
    assert str(blocked) in line


def test_ctrl_c_is_one_line_and_keeps_what_was_done(tmp_path, capsys, monkeypatch, forwards):
    def interrupt(module, *_):
        if len(forwards) == 12:
            raise KeyboardInterrupt

    handle = torch.nn.modules.module.register_module_forward_hook(interrupt)
    try:
        line = failure(capsys, monkeypatch, *probe_words(tmp_path, "--methods", "rtn", "--bits", "2"))
    finally:
        handle.remove()
    assert "goes on from there" in line
    _, out, _ = run(capsys, monkeypatch, *probe_words(tmp_path, "--methods", "rtn", "--bits", "2", "--json"))
    assert json.loads(out)["probes"]["cached"] >= 8


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    from quant.errors import UsageError

    monkeypatch.setattr(sys, "argv", ["landscape", *map(str, probe_words(tmp_path, "--bits", "9", "--debug"))])
    with pytest.raises(UsageError):
        main()


def documented_commands(text):
    joined = text.replace("\\\n", " ")
    return re.findall(r"^\s*(landscape [a-z].*?)(?:\s+#.*)?$", joined, re.MULTILINE)


COMMANDS = [f"landscape/cli/{command.callback.__name__}.py" for command in app.registered_commands]


@pytest.mark.parametrize("source", ["README.md", *COMMANDS])
def test_every_documented_command_is_understood(source, monkeypatch):
    """Parsed by the real command line up to the point where work would begin."""
    import typer

    commands = documented_commands((ROOT / source).read_text())
    assert commands
    command = typer.main.get_command(app)
    for line in commands:
        words = line.split()[1:]
        context = command.make_context("landscape", list(words))
        name, sub, rest = command.resolve_command(context, list(words))
        sub.make_context(name, rest)


def test_an_offline_hub_name_names_the_alternatives(tmp_path, capsys, monkeypatch):
    if os.environ.get("LANDSCAPE_TEST_ONLINE"):
        pytest.skip("LANDSCAPE_TEST_ONLINE is set: the Hub may answer")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    line = failure(capsys, monkeypatch, *probe_words(tmp_path, "--model", "opt-125m"))
    assert all(word in line for word in ("smollm2-135m", "opt-nano", ".gguf"))
