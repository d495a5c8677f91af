"""The options of a command are the fields of its request, and their docstrings its help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer

from landscape.cli import app
from landscape.cli.commands import COMMANDS, Command
from landscape.cli.field_help import field_help
from landscape.cli.request_options import request_options
from landscape.cli.run import command_function, command_options
from landscape.radius import RadiusRequest
from landscape.session.request import Request, option

COMMAND = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


@dataclass(frozen=True, kw_only=True)
class LongerRequest(RadiusRequest):
    """A request with more fields than any command has."""

    patience: int = option("--patience", "-P", default=3, least=1)
    """Rounds without a gain
    after which the search ends."""
    words: tuple[str, ...] = ()
    """Words, comma-separated."""
    spoken: bool = True
    """Say *nothing*."""
    share: float | None = option(default=None, unset="all of it")
    """Share of the windows."""


def meet(request: LongerRequest, progress: object) -> LongerRequest:
    return request


@pytest.fixture
def longer() -> tuple[typer.Typer, list[LongerRequest]]:
    """A command with that request, and the requests that its verb got."""
    got: list[LongerRequest] = []
    shown = lambda request, result, output: got.append(result)  # noqa: E731
    command = Command("longer", LongerRequest, f"{__name__}:meet", shown, "Look longer.", ())
    longer = typer.Typer(rich_markup_mode="markdown")
    longer.command()(command_function(command))
    return longer, got


def test_one_more_field_is_one_more_option_with_its_help_and_its_value(
    longer: tuple[typer.Typer, list[LongerRequest]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    app, got = longer
    monkeypatch.setenv("COLUMNS", "200")
    app(["--help"], standalone_mode=False)
    text = capsys.readouterr().out
    patience = r"--patience +-P +<int range> \[x>=1\] +Rounds without a gain after which the search ends\."
    assert re.search(patience, text)
    assert re.search(r"--words +<str> +Words, comma-separated\.", text)
    assert re.search(r"--spoken +--no-spoken +<bool> +Say \*nothing\*\.", text)
    assert re.search(r"--share +<float> +Share of the windows\.  \[default: all of it\]", text)
    app([], standalone_mode=False)
    app(["-P", "7", "--words", "b, a,b", "--no-spoken", "--share", "0.5", "--seed", "2"], standalone_mode=False)
    assert got == [LongerRequest(), LongerRequest(patience=7, words=("b", "a"), spoken=False, share=0.5, seed=2)]


@COMMAND
def test_every_option_has_a_flag_of_its_own_and_help(command: Command) -> None:
    options = command_options(command)
    flags = [flag for each in options for flag in each.flags]
    assert len(set(flags)) == len(flags)
    for each in options:
        assert each.help.count("\n") == 0
        assert len(each.help) > 10, each.flag


@COMMAND
def test_every_field_that_is_shown_is_asked_for(command: Command) -> None:
    hidden = {field.name for field in fields(command.request)} - set(request_options(command.request))
    assert hidden == {"advise": {"gptq"}, "study": {"model", "data", "external", "lambdas"}}.get(command.name, set())


@COMMAND
def test_no_word_asks_for_the_default_request(command: Command, asked: Callable[..., Request]) -> None:
    needed: dict[str, Any] = {"export": Path("x")} if command.name == "quantize" else {}
    words = [f"--{name}={value}" for name, value in needed.items()]
    assert asked(command.name, *words) == command.request(**needed)


@COMMAND
def test_the_options_are_those_that_users_have(command: Command) -> None:
    """Their flags, by hand: none gets lost, renamed or added unseen."""
    run = "seed device device-map dtype matmul-precision store data-revision bos"
    run += "" if command.name == "quantize" else " batch engine ray-address ray-workers ray-gpus"
    gptq = "gptq-inputs true-sequential act-order rtn-candidate"
    making = "calibration-windows qaft-examples qaft-epochs qaft-rates"
    point = "bits b method scale granularity symmetric no-symmetric"
    survey = (
        f"bits b directions d family loss pairs methods scale granularity symmetric no-symmetric plane layers preset "
        f"windows test-windows seq-len lambda-count alphas refinements {making} {gptq} shard output open csv"
    )
    expected = {
        "advise": "bits b limit l confidence net scale granularity no-radius radius explain preset windows seq-len "
        "output open dry-run",
        "probe": f"{survey} point unfold-gauge lambdas dry-run",
        "study": f"{survey} figures no-layers name dry-run",
        "radius": "precision p max-minutes split seq-len family pairs",
        "curvature": "directions d windows top no-top precision p split seq-len",
        "anatomy": f"{point} directions d groups layer-radii no-layer-radii plan-bits size fused "
        f"no-fused limit l preset windows "
        f"test-windows seq-len {making} {gptq} output open dry-run",
        "quantize": f"export o {point} preset seq-len {making} {gptq}",
    }[command.name]
    model = "models" if command.name == "study" else "model"
    asking = "" if command.name in ("radius", "curvature") else "yes y"
    names = f"{expected} {model} m exclude revision data {run} json {asking} quiet q verbose v debug help".split()
    parsed = typer.main.get_command(app).commands[command.name]  # type: ignore[attr-defined]
    context = typer.Context(parsed)
    found = [name for each in parsed.get_params(context) for name in (*each.opts, *each.secondary_opts)]
    assert sorted(name.lstrip("-") for name in found) == sorted(names)


@pytest.mark.parametrize("name", ["probe", "anatomy"])
def test_windows_sets_those_of_training_and_validation(name: str, asked: Callable[..., Request]) -> None:
    """As it always did: the training windows of a run are part of what ``self`` samples, also where none is probed."""
    preset = asked(name, "--windows", "3").preset  # type: ignore[attr-defined]
    assert (preset.train_windows, preset.validation_windows) == (3, 3)


def test_a_docstring_is_taken_from_the_class_that_says_it_last() -> None:
    text = field_help(LongerRequest)
    assert text["seed"] == field_help(Request)["seed"]
    assert text["patience"] == "Rounds without a gain after which the search ends."
    assert inspect.getdoc(LongerRequest) not in text.values()
