"""A request that cannot be met is one line on stderr and an exit code: 2 for usage, 1 for what fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import typer

from landscape.cli import main
from landscape.cli.errors import exit_on_error
from quant.errors import UsageError
from tests.conftest import ROOT
from tests.landscape.cli.asking import probe_words

USAGE = [
    (["--bits", "9"], "bits from 2 to 8, or a float format from nvfp4, mxfp4, fp8, got '9' in --bits"),
    (["--bits", "4,1"], "bits from 2 to 8, or a float format from nvfp4, mxfp4, fp8, got '1' in --bits"),
    (["--bits", "four"], "or a float format from nvfp4, mxfp4, fp8, got 'four' in --bits"),
    (["--bits", ","], "expected at least one width in --bits, got ','"),
    (
        ["--bits", "nvfp4,fp8", "--scale", "absmax"],
        "expected an integer width among --bits with --scale, got nvfp4, fp8, whose scales are given",
    ),
    (["--bits", "fp8", "--granularity", "group:32"], "expected an integer width among --bits with --granularity"),
    (
        ["--bits", "4,nvfp4", "--methods", "rtn,awq"],
        "expected methods from rtn, gptq, qaft, qaft-from-gptq for nvfp4, got awq; run awq apart, with integer --bits",
    ),
    (["--bits", "4,mxfp4", "--methods", "qaft-lsq"], "for mxfp4, got qaft-lsq"),
    (
        ["--methods", "rtm"],
        "expected methods from rtn, gptq, awq, signround, qaft, qaft-lsq, qaft-from-gptq, w_ft, got 'rtm'",
    ),
    (["--granularity", "row"], "expected granularity tensor, channel or group:N, got 'row'"),
    (["--no-symmetric"], "expected the scale absmax (--scale) for an asymmetric grid"),
    (["--gptq-inputs", "float"], "expected inputs (--gptq-inputs) from quantized, fp, got 'float'"),
    (
        ["--gptq-inputs", "fp", "--true-sequential"],
        "expected quantized inputs with true_sequential (--gptq-inputs quantized), got fp",
    ),
    (["--point", "q4.gguf"], "expected NAME=PATH in --point, got 'q4.gguf'"),
    (["--point", "a=x", "--point", "a=y"], "expected a name of its own for every point, got 'a' more than once"),
    (["--point", "a=x", "--unfold-gauge", "flat"], "expected nearest or stored as gauge (--unfold-gauge), got 'flat'"),
    (["--point", "w=x"], "expected a name of its own for every point, got 'w' more than once"),
    (
        ["--plane", "--methods", "rtn,qaft"],
        "expected gptq and qaft among --methods with --plane, which lies through both, got rtn, qaft",
    ),
    (["--scale", "minmax"], "expected one of exact, histogram, histogram-torch, absmax, mse"),
    (["--preset", "huge"], "expected one of quick, standard, paper"),
    (["--lambdas", "0,1"], "distances above 0"),
    (["--lambdas", "1,nan"], "expected finite numbers in --lambdas, got '1,nan'"),
    (["--lambdas", "inf"], "expected finite numbers in --lambdas, got 'inf'"),
    (["--lambdas", "1e39"], "expected distances from 1e-12 to 1e+12 as --lambdas, got 1e+39; leave it out"),
    (["--lambdas", "1e-300"], "expected distances from 1e-12 to 1e+12 as --lambdas, got 1e-300"),
    (["--qaft-rates", "nan"], "expected finite numbers in --qaft-rates, got 'nan'"),
    (["--qaft-rates", "1e30"], "expected learning rates from 0 to 1000 as --qaft-rates, got (1e+30,)"),
    (["--engine", "ray", "--ray-gpus", "nan"], "expected 0 to 1024 GPUs per actor as --ray-gpus, got nan"),
    (["--device", f"cuda:{10**20}"], f"expected a CUDA device for 'cuda:{10**20}', this PyTorch sees "),
    (["--device", f"cuda:{'9' * 5000}"], "expected a CUDA device for 'cuda:999"),
    (["--granularity", f"group:{10**30}"], "expected groups of at most 999999999 inputs, got group:1000"),
    (["--granularity", f"group:{'9' * 5000}"], "expected groups of at most 999999999 inputs, got group:999"),
    (["--bits", "9" * 5000], "or a float format from nvfp4, mxfp4, fp8, got '999"),
    (["--shard", f"1/{'9' * 5000}"], "expected --shard such as 1/8"),
    (["--store", "a" * 5000], "expected a path as --store, got 'aaa"),
    (["--dtype", "int8"], "float32"),
    (["--model", "opt-125"], "opt-125m"),
    (["--data", "tale"], "tales"),
]


@pytest.mark.parametrize(("words", "expected"), USAGE, ids=lambda x: "_".join(x)[:80] if isinstance(x, list) else "")
def test_a_wrong_request_is_one_line_and_exit_code_2(run, tmp_path, words, expected):
    code, out, err = run(*probe_words(tmp_path), *words)
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert expected in line
    assert "Traceback" not in err


OTHERS = [
    (["advise", "--limit", f"ppl+{'9' * 400}%"], "expected at most 1000000000 as the rise of a limit"),
    (["advise", "--limit", f"nll+{'9' * 5000}"], "expected at most 1000000000 as the rise of a limit"),
    (["advise", "--confidence", "nan"], "expected a --confidence above 0.5 and below 1"),
    (["anatomy", "--plan-bits", "8", "--size", f"{'9' * 400}bpw"], "above 0 and at most 64, got '999"),
    (["radius", "--max-minutes", "inf"], "expected more than 0 minutes, and a finite number, got inf"),
    (["radius", "--precision", "nan"], "expected a precision between 0 and 1"),
    (["study", f"{'a' * 5000}.toml"], "expected a path as the file of a study, got 'aaa"),
]


@pytest.mark.parametrize(("words", "expected"), OTHERS, ids=lambda x: "_".join(x)[:80] if isinstance(x, list) else "")
def test_a_number_or_a_path_beyond_all_bounds_is_refused(run, words, expected):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert expected in line


def test_a_file_that_the_system_refuses_is_no_fault_of_ours(capsys):
    with pytest.raises(typer.Exit), exit_on_error(debug=False):
        Path("a" * 5000).stat()
    said = capsys.readouterr().err
    assert "File name too long; check the path and the disk" in said
    assert "unexpected" not in said


def test_a_page_that_cannot_be_written_is_not_worked_for(run, tmp_path):
    (tmp_path / "report").write_text("a file where the folder should be")
    code, out, err = run(*probe_words(tmp_path, "--model", "no/such/model"))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()  # nothing was begun
    assert line.endswith(
        f"expected a folder to write to as --output, got '{tmp_path / 'report'}', which is a file; choose another"
    )


def test_no_word_at_all_is_answered_with_help_and_exit_code_2(run):
    code, out, err = run()
    assert (code, err) == (2, "")
    assert "probe" in out
    assert run("--help")[0] == 0


@pytest.mark.parametrize(
    "words", [["--model", "./nowhere"], ["--data", "nowhere"], ["--point", "x=nowhere"]], ids=lambda x: x[0]
)
@pytest.mark.parametrize("there", [True, False], ids=["empty", "nothing"])
def test_a_path_with_nothing_of_the_kind_is_exit_code_2(run, tmp_path, words, there):
    if there:
        (tmp_path / "empty").mkdir()
        words = [words[0], f"{'x=' * (words[0] == '--point')}{tmp_path / 'empty'}"]
    code, out, err = run(*probe_words(tmp_path, "--methods", "rtn", "--data", "tales"), *words)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line.startswith("landscape: error: ")
    assert "expected" in line


def test_a_corpus_shorter_than_a_window(failure, tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_text("Once upon a time.")
    line = failure(*probe_words(tmp_path, "--data", folder))
    assert "--seq-len" in line


def test_a_corrupt_checkpoint(failure, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    source = ROOT / "data/opt-nano"
    for file in source.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:1000])
    line = failure(*probe_words(tmp_path, "--model", folder, "--data", "tales"))
    assert str(folder) in line


def test_a_store_that_cannot_be_written(failure, tmp_path):
    blocked = tmp_path / "store"
    blocked.write_text("a file where a folder should be")
    line = failure(*probe_words(tmp_path, "--methods", "rtn"))
    assert str(blocked) in line


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["landscape", *map(str, probe_words(tmp_path, "--bits", "9", "--debug"))])
    with pytest.raises(UsageError):
        main()


def test_an_offline_hub_name_names_the_alternatives(failure, tmp_path, monkeypatch):
    if os.environ.get("LANDSCAPE_TEST_ONLINE"):
        pytest.skip("LANDSCAPE_TEST_ONLINE is set: the Hub may answer")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    line = failure(*probe_words(tmp_path, "--model", "opt-125m"))
    assert all(word in line for word in ("smollm2-135m", "opt-nano", ".gguf"))
