"""From a request back to the words that ask for it: what differs from the defaults, quoted for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from landscape.anatomy.request import AnatomyRequest
from landscape.radius import RadiusRequest
from landscape.session.point_specs import ExternalSpec
from landscape.session.presets import OPTIONS, PRESETS, Preset
from landscape.session.request import Request
from landscape.survey.request import SurveyRequest
from quant.external.gauge import GAUGES
from quant.methods.options import GPTQOptions

REPORT = Path("landscape-report")
"""Where pages go unasked."""

_RUN = {
    "revision": "--revision",
    "exclude": "--exclude",
    "seed": "--seed",
    "device": "--device",
    "dtype": "--dtype",
    "store": "--store",
    "data_revision": "--data-revision",
    "bos": "--bos",
}
_SURVEY = {
    "scales": "--scale",
    "granularities": "--granularity",
    "symmetric": "--symmetric",
    "methods": "--methods",
    "external": "--point",
    "directions": "--directions",
    "family": "--family",
    "pairs": "--pairs",
    "lambdas": "--lambdas",
    "plane": "--plane",
}
_ANATOMY = {
    "directions": "--directions",
    "groupings": "--groups",
    "layer_radii": "--layer-radii",
    "plan_bits": "--plan-bits",
}
_RADIUS = {
    "precision": "--precision",
    "minutes": "--max-minutes",
    "split": "--split",
    "seq_len": "--seq-len",
    "family": "--family",
    "pairs": "--pairs",
}
_GRID = {"scale": "--scale", "granularity": "--granularity", "symmetric": "--symmetric"}
_GPTQ = {
    "inputs": "--gptq-inputs",
    "true_sequential": "--true-sequential",
    "act_order": "--act-order",
    "rtn_candidate": "--rtn-candidate",
}


def probe_command(request: SurveyRequest, output: Path = REPORT) -> str:
    """The command line of a survey.

    Args:
        request: As the command line can ask for it.
        output: Folder for the page.
    """
    plain = SurveyRequest()
    words = ["landscape", "probe", *_subject(request), "--bits", _listed(request.bits)]
    words += [*_differing(_SURVEY, request, plain), *_numbers(request.preset, plain.preset)]
    return shlex.join([*words, *_differing(_GPTQ, request.gptq, GPTQOptions()), *_run(request, output)])


def anatomy_command(request: AnatomyRequest, output: Path = REPORT) -> str:
    """The command line of an anatomy; see ``probe_command``."""
    plain, (method, scheme) = AnatomyRequest(), (request.wanted.method, request.wanted.scheme)
    words = ["landscape", "anatomy", *_subject(request), "--bits", str(scheme.bits)]
    words += [] if method == plain.wanted.method else ["--method", method]
    words += [*_differing(_GRID, scheme, plain.wanted.scheme), *_differing(_ANATOMY, request, plain)]
    words += [] if request.limit == plain.limit else ["--limit", request.limit.text]
    words += [*_numbers(request.preset, plain.preset), *_differing(_GPTQ, request.gptq, GPTQOptions())]
    return shlex.join([*words, *_run(request, output)])


def radius_command(request: RadiusRequest) -> str:
    """The command line of a search for R; see ``probe_command``."""
    words = ["landscape", "radius", *_subject(request), *_differing(_RADIUS, request, RadiusRequest())]
    return shlex.join([*words, *_run(request)])


def in_preset(preset: Preset, name: str) -> Preset:
    """Another preset, with the numbers that the user set for themselves in this one."""
    own = {number: getattr(preset, number) for numbers in OPTIONS.values() for number in numbers}
    plain = PRESETS[preset.name]
    changes = {number: value for number, value in own.items() if value != getattr(plain, number)}
    if preset.rates != plain.rates:
        changes["rates"] = preset.rates
    return replace(PRESETS[name], **changes)


def _subject(request: Request) -> list[str]:
    """The model and the text, which are always named."""
    revision = ["--revision", request.revision] if request.revision else []
    return ["--model", request.model, *revision, "--data", request.corpus]


def _run(request: Request, output: Path = REPORT) -> Iterator[str]:
    yield from _differing(_RUN, request, Request())
    if output != REPORT:
        yield from ("--output", str(output))


def _numbers(preset: Preset, default: Preset) -> Iterator[str]:
    """The preset, and the numbers that are not its own."""
    plain = PRESETS[preset.name]
    if preset.name != default.name:
        yield from ("--preset", preset.name)
    for option, numbers in OPTIONS.items():
        values = [getattr(preset, number) for number in numbers]
        if values != [getattr(plain, number) for number in numbers]:
            yield from (f"--{option.replace('_', '-')}", str(values[0]))
    if preset.rates != plain.rates:
        yield from ("--qaft-rates", _listed(next(iter(preset.rates.values()))))


def _differing(options: Mapping[str, str], value: object, default: object) -> Iterator[str]:
    """The options of those fields that differ from the default."""
    for field, option in options.items():
        own = getattr(value, field)
        if own != getattr(default, field):
            yield from _option(option, own)


def _option(option: str, value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield option if value else option.replace("--", "--no-", 1)
    elif isinstance(value, tuple) and all(isinstance(entry, ExternalSpec) for entry in value):
        for point in value:
            yield from (option, f"{point.name}={point.path}")
        for gauge in sorted({point.gauge for point in value} - {GAUGES[0]}):  # one for all of them
            yield from ("--unfold-gauge", gauge)
    else:
        yield from (option, _listed(value) if isinstance(value, tuple) else str(value))


def _listed(values: tuple[object, ...]) -> str:
    return ",".join(map(str, values))
