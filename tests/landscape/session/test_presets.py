"""What the command line says of the presets is what they are."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer

from landscape.cli import app
from landscape.session.presets import NUMBERS, Preset, in_presets
from landscape.session.request import PANEL_NUMBERS


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (("train_windows", "validation_windows"), "[quick 4, standard 16, paper 128/all]"),
        (("validation_windows",), "[quick 4, standard 16, paper all]"),
        (("seq_len",), "[quick 512, standard 512, paper the model's]"),
        (("qaft_epochs",), "[quick 1, standard 1, paper 8]"),
        (("rates",), "[quick 1, standard 2, paper 4]"),
    ],
)
def test_numbers_are_given_for_each_preset(numbers: tuple[str, ...], text: str) -> None:
    assert in_presets(*numbers) == text


def test_every_number_has_an_option_and_its_help_says_what_presets_have() -> None:
    set_by = {field for number in NUMBERS.values() for field in number.fields} | {"rates"}
    assert set_by == {field.name for field in fields(Preset)} - {"name"}
    command = typer.main.get_command(app).commands["probe"]  # type: ignore[attr-defined]
    help_of = {option.opts[0]: option.help for option in command.params if option.rich_help_panel == PANEL_NUMBERS}
    numbers = {number.flag: number.fields for key, number in NUMBERS.items() if key != "validation_windows"}
    assert set(help_of) == {*numbers, "--qaft-rates"}
    for flag, set_fields in numbers.items():
        assert help_of[flag].endswith(in_presets(*set_fields))
    assert help_of["--qaft-rates"].endswith(in_presets("rates"))


def test_where_the_training_split_is_not_probed_the_help_of_windows_is_about_validation_windows_alone() -> None:
    for name in ("anatomy",):
        command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        (windows,) = (option for option in command.params if option.opts == ["--windows"])
        assert windows.help.endswith(in_presets("validation_windows"))
