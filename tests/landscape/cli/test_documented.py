"""Every command in a page and in a help text is understood."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from landscape.cli import app
from landscape.cli.commands import COMMANDS
from landscape.cli.study_file import expanded
from tests.conftest import ROOT


def documented_commands(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    return re.findall(r"^\s*(landscape [a-z].*?)(?:\s+#.*)?$", joined, re.MULTILINE)


PAGES = ("README.md", "landscape/README.md", "landscape/MACHINES.md")


@pytest.mark.parametrize("source", [*PAGES, *(command.name for command in COMMANDS)])
def test_every_documented_command_is_understood(source: str) -> None:
    """Parsed by the real command line up to the point where work would begin."""
    if source.endswith(".md"):
        text = (ROOT / source).read_text()
    else:
        (text,) = (command.help for command in COMMANDS if command.name == source)
    commands = documented_commands(text)
    assert commands
    command = typer.main.get_command(app)
    for line in commands:
        words = _words(shlex.split(line)[1:])
        context = command.make_context("landscape", list(words))
        name, sub, rest = command.resolve_command(context, list(words))
        sub.make_context(name, rest)


def _words(words: list[str]) -> list[str]:
    """Read the file of a study as ``main`` does; a name that only stands for a reader's own file has no options."""
    if words[:1] == ["study"] and words[1].endswith(".toml") and not (ROOT / words[1]).exists():
        assert words[1] == "my-study.toml"
        return ["study", *words[2:]]
    return expanded(words)


def test_every_command_has_an_example_of_its_own() -> None:
    for command in COMMANDS:
        assert all(example.startswith(f"landscape {command.name}") for example in command.examples)
        assert documented_commands(command.help) == list(command.examples)
