"""The suggested command is the request that was met, changed in one thing."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from landscape.advice.advise import AdviceResult
from landscape.advice.choice import Choice, decide
from landscape.advice.request import AdviceRequest
from landscape.anatomy.request import AnatomyRequest
from landscape.cli.next_command import after_advice, after_anatomy, after_probe, after_quantize, after_radius
from landscape.estimators.intervals import Estimate
from landscape.estimators.loss_limit import Limit
from landscape.quantize import QuantizeRequest
from landscape.radius import RadiusRequest
from landscape.session.presets import PRESETS
from landscape.session.request import Request
from landscape.survey.request import SurveyRequest
from quant.scheme import QuantScheme
from tests import synthetic

OUT = Path("landscape-report")


def test_after_a_survey_the_same_experiment_is_suggested_with_more() -> None:
    found = synthetic.landscape()
    request = SurveyRequest(bits=(4,), methods=("rtn", "awq"), preset=PRESETS["standard"], store=Path("my store"))
    same = "landscape probe --model opt-nano --data tales --bits 4"
    rest = "--preset standard --store 'my store'    #"
    more = after_probe(request, found, False, OUT)
    assert more.startswith(f"{same} --directions 16 --methods rtn,awq {rest}")
    steep = after_probe(request, found, True, OUT)
    assert steep.startswith(f"{same} --methods rtn,awq --scale exact,absmax {rest}")


def test_a_survey_by_the_quick_preset_goes_on_to_more_windows_unless_these_were_set() -> None:
    found = synthetic.landscape()
    quick = replace(PRESETS["quick"], seq_len=64)
    assert "--preset standard --seq-len 64    #" in after_probe(SurveyRequest(preset=quick), found, False, OUT)
    set_here = after_probe(
        SurveyRequest(preset=replace(quick, train_windows=2, validation_windows=2)), found, False, OUT
    )
    assert "--directions 16 --windows 2 --seq-len 64    #" in set_here


def test_a_search_that_its_time_ended_goes_on(asked: Callable[..., Request]) -> None:
    words = ["--model", "some model", "--precision", "0.02", "--max-minutes", "1.5", "--pairs", "--store", "my store"]
    request = asked("radius", *words, "--seq-len", "64", "--split", "test", "--family", "profile", "--seed", "2")
    late: Any = SimpleNamespace(search=SimpleNamespace(ended="out of time"))
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
    found: Any = SimpleNamespace(subject=SimpleNamespace(seq_len=256), search=SimpleNamespace(ended="precise"))
    assert after_radius(request, found).startswith(
        "landscape probe --model 'some model' --data tales --bits 8,4,2 --pairs --seq-len 256 --seed 1    #"
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
    request = AnatomyRequest(
        method="gptq", bits=scheme.bits, scale=scheme.scale, granularity=scheme.granularity, symmetric=scheme.symmetric
    )
    assert after_anatomy(request, found, OUT).startswith(f"landscape {expected}")


@pytest.mark.parametrize("culprit", ["clip", "round"])
def test_after_an_anatomy_of_a_float_format_no_other_scale_and_no_plan_is_suggested(culprit: str) -> None:
    found: Any = SimpleNamespace(anatomy=SimpleNamespace(culprit=culprit), plan=None)
    told = after_anatomy(AnatomyRequest(bits="nvfp4"), found, OUT)
    assert told.startswith("landscape probe --model opt-nano --data tales --bits nvfp4    #")


def test_steep_points_of_float_formats_are_not_asked_for_with_another_scale() -> None:
    found = synthetic.landscape(bits=(4,))
    assert "--scale" not in after_probe(SurveyRequest(bits=("nvfp4", "fp8")), found, True, OUT)
    assert "--scale exact,absmax" in after_probe(SurveyRequest(bits=("nvfp4", 4)), found, True, OUT)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({8: ("rtn", 0.01), 4: ("rtn", 0.02), 3: ("gptq", 0.3), 2: ("qaft", 0.9)}, (4, "rtn")),
        ({8: ("rtn", 0.01), 4: ("gptq", 0.04), 3: ("qaft", 0.2)}, (4, "gptq")),
        ({3: ("gptq", 0.3), 2: ("qaft", 0.9)}, (3, "gptq")),
        ({4: ("qaft", 0.03)}, (4, "qaft")),
    ],
    ids=str,
)
def test_after_advice_the_point_of_fewest_bits_that_keeps_the_limit_is_suggested_else_the_nearest(
    verdicts: dict[int, tuple[str, float]], expected: tuple[int, str], asked: Callable[..., Request]
) -> None:
    limit = Limit.parse("nll+0.05")
    advice = []
    for bits, (way, rise) in verdicts.items():
        scheme, estimate = QuantScheme(bits, "absmax", "channel"), Estimate(rise, rise, rise)
        choice = Choice(way, scheme, float(bits), estimate, "measured")  # type: ignore[arg-type]
        advice.append(SimpleNamespace(verdict=decide([choice], limit)))
    request = AdviceRequest("a/model", data="tales", exclude=("lm_head",), seed=3)
    found: Any = SimpleNamespace(advice=advice, net=False)
    found.smallest = AdviceResult.smallest.fget(found)  # type: ignore[attr-defined]
    point = asked(*shlex.split(after_advice(request, found).partition("    #")[0])[1:])
    assert isinstance(point, QuantizeRequest)
    assert (point.bits, point.method) == expected
    assert point.export == Path("model-{1}-int{0}-absmax-per-channel".format(*expected))
    assert (point.scale, point.granularity, point.exclude, point.seed) == ("absmax", "channel", ("lm_head",), 3)
    assert point.gptq.act_order == (point.method == "gptq")
    assert point.preset.name == "standard"


@pytest.mark.parametrize(("method", "methods"), [("rtn", "rtn"), ("awq", "rtn,awq")])
def test_after_a_point_a_survey_of_it_beside_rtn_is_suggested(method: str, methods: str) -> None:
    request = QuantizeRequest(method=method, bits=3, granularity="channel", export=Path("out"), exclude=("a*",))
    line = after_quantize(request)
    assert line.startswith(
        f"landscape probe --model opt-nano --data tales --bits 3 --exclude 'a*' --methods {methods} "
        "--granularity channel    #"
    )


def test_the_numbers_of_an_anatomy_go_on_to_the_survey(asked: Callable[..., Request]) -> None:
    request = asked("anatomy", "--windows", "2", "--bits", "3", "--true-sequential", "--exclude", "a*", "--bos")
    assert isinstance(request, AnatomyRequest)
    found: Any = SimpleNamespace(anatomy=SimpleNamespace(culprit="clip"))
    survey = asked(*shlex.split(after_anatomy(request, found, OUT).partition("    #")[0])[1:])
    numbers = replace(PRESETS["quick"], train_windows=2, validation_windows=2)
    assert survey == SurveyRequest(
        "opt-nano", "tales", bits=(3,), scales=("exact", "absmax"), preset=numbers, gptq=request.gptq, exclude=("a*",),
        bos=True,
    )  # fmt: skip
