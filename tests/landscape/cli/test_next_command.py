"""What is suggested is the request that was met, changed in one thing: the command line reads its own words back."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from landscape.anatomy.request import AnatomyRequest
from landscape.cli import main
from landscape.cli.command_line import anatomy_command, probe_command
from landscape.cli.next_command import after_anatomy, after_probe, after_radius
from landscape.radius import RadiusRequest
from landscape.session.point_specs import wanted_point
from landscape.session.presets import PRESETS
from landscape.session.request import Request
from landscape.survey.request import SurveyRequest
from quant.errors import UsageError
from quant.scheme import QuantScheme
from tests import synthetic

OUT = Path("landscape-report")
NUMBERS = [
    "--preset", "standard", "--windows", "3", "--test-windows", "5", "--seq-len", "64", "--calibration-windows", "9",
    "--qaft-examples", "6", "--qaft-epochs", "2", "--qaft-rates", "1e-4,2e-5",
]  # fmt: skip
RUN = ["--revision", "v2", "--seed", "3", "--device", "cuda:0", "--dtype", "bfloat16", "--store", "my store",
       "--data-revision", "v 1", "--bos"]  # fmt: skip
GPTQ = ["--gptq-inputs", "fp", "--act-order", "--rtn-candidate"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the command line makes of words; nothing is run."""
    requests: list[Request] = []

    def stop(request: Request, progress: object) -> None:
        requests.append(request)
        raise UsageError("stopped")

    monkeypatch.setattr("landscape.survey.probe.probe", stop)
    monkeypatch.setattr("landscape.anatomy.dissect.dissect", stop)
    monkeypatch.setattr("landscape.radius.measure_radius", stop)

    def parse(*words: str) -> Request:
        monkeypatch.setattr(sys, "argv", ["landscape", *words])
        with pytest.raises(SystemExit):
            main()
        return requests.pop()

    return parse


PROBES = [
    [],
    ["--bits", "3,2", "--methods", "rtn,gptq,qaft-lsq", "--scale", "exact,absmax", "--true-sequential", "--pairs"],
    ["--scale", "absmax", "--granularity", "tensor,group:32", "--no-symmetric", "--plane", *GPTQ],
    ["--model", "a model", "--data", "self", "--directions", "5", "--family", "layer:block=1", *NUMBERS, *RUN],
    ["--point", "a=x", "--point", "c=d", "--unfold-gauge", "stored"],
    ["--point", "a b=x y/q.gguf", "--point", "c=d", "--lambdas", "1.5,2", "--lambda-count", "7"],
    ["--alphas", "4", "--refinements", "0", "--windows", "128", "--preset", "paper"],
]
ANATOMIES = [
    [],
    ["--bits", "3", "--method", "gptq", "--scale", "absmax", "--granularity", "channel", "--no-symmetric", *GPTQ],
    ["--groups", "block,tensor", "--no-layer-radii", "--directions", "2", *NUMBERS, *RUN],
    ["--layer-radii", "--plan-bits", "8,4", "--limit", "nll+0.05", "--model", "a model", "--true-sequential"],
]


@pytest.mark.parametrize("words", PROBES, ids=" ".join)
def test_a_survey_is_read_back_from_its_command_line(asked: Any, words: list[str]) -> None:
    request = asked("probe", *words)
    written = shlex.split(probe_command(request, Path("my pages")))
    assert asked(*written[1:]) == replace(request, data=request.corpus)
    assert written[-2:] == ["--output", "my pages"]


@pytest.mark.parametrize("words", ANATOMIES, ids=" ".join)
def test_an_anatomy_is_read_back_from_its_command_line(asked: Any, words: list[str]) -> None:
    request = asked("anatomy", *words)
    written = shlex.split(anatomy_command(request))
    assert asked(*written[1:]) == replace(request, data=request.corpus)


def test_defaults_are_not_written() -> None:
    assert probe_command(SurveyRequest()) == "landscape probe --model opt-nano --data tales --bits 8,4,2"
    assert anatomy_command(AnatomyRequest()) == "landscape anatomy --model opt-nano --data tales --bits 8"


def test_after_a_survey_the_same_experiment_is_suggested_with_more() -> None:
    found = synthetic.landscape()
    request = SurveyRequest(bits=(4,), methods=("rtn", "awq"), preset=PRESETS["standard"], store=Path("my store"))
    same = "landscape probe --model opt-nano --data tales --bits 4"
    rest = "--methods rtn,awq {}--preset standard --store 'my store'"
    assert after_probe(request, found, False, OUT).partition("    #")[0] == (
        f"{same} {rest.format('--directions 16 ')}"
    )
    steep = after_probe(request, found, True, OUT)
    assert steep.startswith(f"{same} --scale exact,absmax {rest.format('')}    #")


def test_a_survey_by_the_quick_preset_goes_on_to_more_windows_unless_these_were_set() -> None:
    found = synthetic.landscape()
    quick = replace(PRESETS["quick"], seq_len=64)
    assert "--preset standard --seq-len 64    #" in after_probe(SurveyRequest(preset=quick), found, False, OUT)
    set_here = after_probe(
        SurveyRequest(preset=replace(quick, train_windows=2, validation_windows=2)), found, False, OUT
    )
    assert "--directions 16 --windows 2 --seq-len 64    #" in set_here


def test_a_search_that_its_time_ended_goes_on(asked: Any) -> None:
    words = ["--model", "some model", "--precision", "0.02", "--max-minutes", "1.5", "--pairs", "--store", "my store"]
    request = asked("radius", *words, "--seq-len", "64", "--split", "test", "--family", "profile", "--seed", "2")
    late: Any = SimpleNamespace(found=SimpleNamespace(ended="out of time"))
    written = shlex.split(after_radius(request, late).partition("    #")[0])
    assert asked(*written[1:]) == replace(request, minutes=6.0, data=request.corpus)


def test_after_lambdas_that_end_before_r_they_are_left_to_the_sweep() -> None:
    found = synthetic.landscape()
    basin = replace(found.basin, radius=replace(found.basin.radius, value=None, high=math.inf))
    short = replace(found, basins={**found.basins, found.split: basin})
    told = after_probe(SurveyRequest(lambdas=(1.0, 2.0)), short, False, OUT)
    assert told == "landscape probe --model opt-nano --data tales --bits 8,4,2    # --lambdas ends before R"


def test_after_a_search_for_r_the_points_are_looked_for_on_windows_of_its_length() -> None:
    request = RadiusRequest("some model", data="tales", seed=1, pairs=True)
    found: Any = SimpleNamespace(seq_len=512, found=SimpleNamespace(ended="precise"))
    assert after_radius(request, found).startswith(
        "landscape probe --model 'some model' --data tales --bits 8,4,2 --pairs --seq-len 512 --seed 1    #"
    )


@pytest.mark.parametrize(
    ("scheme", "culprit", "expected"),
    [
        (QuantScheme(4), "clip", "probe --model opt-nano --data tales --bits 4 --scale exact,absmax    #"),
        (
            QuantScheme(4, "histogram", "channel"), "clip",
            "probe --model opt-nano --data tales --bits 4 --scale histogram,absmax --granularity channel    #",
        ),
        (
            QuantScheme(4, "absmax", "channel"), "clip",
            "anatomy --model opt-nano --data tales --bits 4 --method gptq --scale absmax --granularity channel "
            "--plan-bits 8,6,4,3    #",
        ),
        (
            QuantScheme(4), "round",
            "anatomy --model opt-nano --data tales --bits 4 --method gptq --plan-bits 8,6,4,3    #",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_after_an_anatomy_its_grid_and_method_stay(scheme: QuantScheme, culprit: str, expected: str) -> None:
    found: Any = SimpleNamespace(anatomy=SimpleNamespace(culprit=culprit), plan=None)
    request = AnatomyRequest(wanted=wanted_point("gptq", scheme))
    assert after_anatomy(request, found, OUT).startswith(f"landscape {expected}")
