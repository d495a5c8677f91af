"""The command line of a request is read back as that request."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landscape.anatomy.request import AnatomyRequest
from landscape.cli.command_line import command_line
from landscape.cli.commands import COMMANDS
from landscape.session.request import Request
from landscape.study.request import StudyRequest
from landscape.survey.request import SurveyRequest
from tests.landscape.cli.requests import requests

Asked = Callable[..., Request]
NUMBERS = [
    "--preset", "standard", "--windows", "3", "--test-windows", "5", "--seq-len", "64", "--calibration-windows", "9",
    "--qaft-examples", "6", "--qaft-epochs", "2", "--qaft-rates", "1e-4,2e-5",
]  # fmt: skip
RUN = ["--revision", "v2", "--seed", "3", "--device", "cuda:0", "--dtype", "bfloat16", "--store", "my store",
       "--matmul-precision", "high", "--device-map", "auto", "--data-revision", "v 1", "--bos"]  # fmt: skip
GPTQ = ["--gptq-inputs", "fp", "--act-order", "--rtn-candidate"]

PROBES = [
    [],
    ["--bits", "3,2", "--methods", "rtn,gptq,qaft-lsq", "--scale", "exact,absmax", "--true-sequential", "--pairs"],
    ["--scale", "absmax", "--granularity", "tensor,group:32", "--no-symmetric", "--plane", *GPTQ],
    ["--model", "a model", "--data", "self", "--directions", "5", "--family", "layer:block=1", *NUMBERS, *RUN],
    ["--point", "a=x", "--point", "c=d", "--unfold-gauge", "stored"],
    ["--point", "a b=x y/q.gguf", "--point", "c=d", "--lambdas", "1.5,2", "--lambda-count", "7"],
    ["--alphas", "4", "--refinements", "0", "--windows", "128", "--preset", "paper"],
    ["--shard", "2/3", "--engine", "ray", "--ray-address", "head:6379", "--ray-workers", "4", "--ray-gpus", "0.5"],
]
ANATOMIES = [
    [],
    ["--bits", "3", "--method", "gptq", "--scale", "absmax", "--granularity", "channel", "--no-symmetric", *GPTQ],
    ["--groups", "block,tensor", "--no-layer-radii", "--directions", "2", *NUMBERS, *RUN],
    ["--plan-bits", "8,4,3", "--size", "4.25bpw", "--no-fused"],
    ["--layer-radii", "--plan-bits", "8,4", "--limit", "nll+0.05", "--model", "a model", "--true-sequential"],
]
OTHERS = [
    ["advise", "--limit", "ppl+3%", "--bits", "4", "--scale", "absmax,exact", "--windows", "2", *RUN],
    ["advise", "--net", "--no-radius", "--explain", "--confidence", "0.95", "--granularity", "group,channel", *RUN],
    ["curvature", "--no-top", "--windows", "2", "-d", "3", "--split", "test", "--seq-len", "64", "-p", "0.125"],
    ["radius", "--family", "filter", "--pairs", "--max-minutes", "2", "--exclude", "*.experts.0.*,q_proj", *RUN],
    ["study", "--models", "a,b c", "--data", "x,y z", "--name", "n m", "--bits", "3", "--dry-run", *NUMBERS, *GPTQ],
    ["study", "--scale", "absmax", "--shard", "1/2", "--plane"],
    ["quantize", "--export", "my point", "--method", "qaft", "--qaft-rates", "1e-4,2e-5", *GPTQ],
]


@pytest.mark.parametrize(
    "words",
    [*(["probe", *words] for words in PROBES), *(["anatomy", *words] for words in ANATOMIES), *OTHERS],
    ids=" ".join,
)
def test_a_request_is_read_back_from_its_command_line(asked: Asked, words: list[str]) -> None:
    request = asked(*words)
    written = shlex.split(command_line(request))
    assert written[:2] == ["landscape", words[0]]
    assert asked(*written[1:]) == _with_its_text(request)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash to read the words")
@pytest.mark.parametrize("kind", [command.request for command in COMMANDS], ids=lambda kind: kind.__name__)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_request_is_read_back_from_its_command_line(kind: type[Request], asked: Asked, data: st.DataObject) -> None:
    request = data.draw(requests(kind))
    written = shell_words(command_line(request))
    assert asked(*written[1:]) == _with_its_text(request)


def shell_words(command: str) -> list[str]:
    """The words of a command as bash reads them."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def _with_its_text(request: Request) -> Request:
    """Name the text of a request; a study has several, or leaves them to its models."""
    return request if isinstance(request, StudyRequest) else replace(request, data=request.corpus)


def test_defaults_are_not_written() -> None:
    assert command_line(SurveyRequest()) == "landscape probe --model opt-nano --data tales --bits 8,4,2"
    assert command_line(AnatomyRequest()) == "landscape anatomy --model opt-nano --data tales --bits 8"


def test_the_folder_of_the_page_is_written_last() -> None:
    assert shlex.split(command_line(SurveyRequest(seed=1), Path("my pages")))[-4:] == [
        "--seed", "1", "--output", "my pages",
    ]  # fmt: skip
