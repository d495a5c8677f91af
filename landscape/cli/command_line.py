"""Write the command line that asks for a request: what differs from the defaults, quoted for a shell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.cli.commands import COMMANDS, REPORT
from landscape.cli.request_options import request_options
from landscape.cli.run import OUTPUT
from landscape.session.presets import NUMBERS, PRESETS, Preset
from landscape.session.request import Request
from landscape.study.request import StudyRequest
from quant.printable import shell_command

if TYPE_CHECKING:
    from landscape.study.result import StudyResult

_ALWAYS = ("model", "models", "data", "bits")
"""Fields that are named even where they are the default, first of all: a reader sees at once what it is about."""


def command_line(request: Request, output: Path = REPORT) -> str:
    """Write the command line of a request.

    Args:
        request: Any request, as the command line can ask for it.
        output: Folder for the page, if the command writes one.
    """
    (command,) = (each for each in COMMANDS if each.request is type(request))
    words = ["landscape", command.name, *_field_words(request)]
    if command.writes_page and output != REPORT:
        words += OUTPUT.words(output)
    return shell_command(words)


def with_commands(request: StudyRequest, study: StudyResult) -> StudyResult:
    """Return a study with the command lines that measure the whole and each model."""
    own = {survey.model: command_line(survey) for survey in request.surveys}
    models = tuple(replace(model, command=own[model.name]) for model in study.models)
    return replace(study, models=models, command=command_line(request))


def _field_words(request: Request) -> Iterator[str]:
    options, plain = request_options(type(request)), type(request)()
    for field in _ALWAYS:
        if field in options:
            value = request.corpus if field == "data" else getattr(request, field)
            yield from options[field].write(value, default=None)
    for field in options:
        if field not in _ALWAYS:
            yield from options[field].write(getattr(request, field), getattr(plain, field))


def in_preset(preset: Preset, name: str) -> Preset:
    """Return another preset, with the numbers that the user set in this one."""
    own = {number: getattr(preset, number) for row in NUMBERS.values() for number in row.fields}
    plain = PRESETS[preset.name]
    changes = {number: value for number, value in own.items() if value != getattr(plain, number)}
    if preset.rates != plain.rates:
        changes["rates"] = preset.rates
    return replace(PRESETS[name], **changes)
