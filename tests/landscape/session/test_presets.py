"""Check that the help of the command line shows the numbers of the presets."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer

from landscape.cli import app
from landscape.session.presets import NUMBERS, Preset, in_presets
from landscape.session.request import NUMBERS as HEADING


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (("train_windows", "validation_windows"), "[quick 4, standard 16, paper 128/all]"),
        (("validation_windows",), "[quick 4, standard 16, paper all]"),
        (("seq_len",), "[quick 256, standard 512, paper the model's]"),
        (("qaft_epochs",), "[quick 1, standard 1, paper 8]"),
        (("rates",), "[quick 1, standard 2, paper 4]"),
    ],
)
def test_numbers_are_shown_for_each_preset(numbers: tuple[str, ...], text: str) -> None:
    assert in_presets(*numbers) == text


def test_every_number_has_an_option_and_its_help_shows_it() -> None:
    command = typer.main.get_command(app).commands["probe"]  # type: ignore[attr-defined]
    help_of = {option.opts[0]: option.help for option in command.params if option.rich_help_panel == HEADING}
    shown = [NUMBERS[key] for key in NUMBERS if key != "validation_windows"]  # which --windows sets here
    assert set(help_of) == {*(number.flag for number in shown), "--qaft-rates", "--lambdas"}
    assert {name for number in shown for name in number.fields} | {"rates"} == {f.name for f in fields(Preset)} - {"name"}
    for number in shown:
        assert help_of[number.flag].endswith(in_presets(*number.fields))
    assert help_of["--qaft-rates"].endswith(in_presets("rates"))
