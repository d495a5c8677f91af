"""What the command line tells of the presets is what they are."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer

from landscape.cli import app
from landscape.cli.options import NUMBERS
from landscape.session.presets import OPTIONS, Preset, told


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
def test_numbers_are_told_for_each_preset(numbers: tuple[str, ...], text: str) -> None:
    assert told(*numbers) == text


def test_every_number_has_an_option_and_its_help_tells_it() -> None:
    set_by = {number for numbers in OPTIONS.values() for number in numbers} | {"rates"}
    assert set_by == {field.name for field in fields(Preset)} - {"name"}
    command = typer.main.get_command(app).commands["probe"]  # type: ignore[attr-defined]
    help_of = {option.name: option.help for option in command.params if option.rich_help_panel == NUMBERS}
    assert set(help_of) == {*OPTIONS, "qaft_rates", "lambdas"}
    for option, numbers in OPTIONS.items():
        assert help_of[option].endswith(told(*numbers))
    assert help_of["qaft_rates"].endswith(told("rates"))
