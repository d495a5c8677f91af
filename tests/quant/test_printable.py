from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from quant.printable import printable, shell_command, utf8


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold] text", "plain [bold] text"),
        ("‖Δw‖ = 0.5 ± 0.1 größer 模型", "‖Δw‖ = 0.5 ± 0.1 größer 模型"),
        ("a\x1b[31mred\x07", "a\\x1b[31mred\\x07"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("over\rwritten\x08\x7f", "over\\rwritten\\x08\\x7f"),
        ("\x9b31m C1", "\\x9b31m C1"),
        ("right \u202e to left \u2066", "right \\u202e to left \\u2066"),
        ("\udc9b of a file name", "\\udc9b of a file name"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_any_name_can_be_written_to_a_file() -> None:
    assert utf8("größer \udcff") == "größer ".encode() + b"\\udcff"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash to read the words")
@pytest.mark.parametrize(
    "word",
    [
        "two\nlines",
        "a\ttab",
        "it's \x1b[31m\\red",
        "\x9b31m größer 模型",
        "\u202eright",
        "\udc9b of a name",
        "plain",
        "a b'c",
        "",
    ],
)
def test_a_shell_reads_a_command_as_it_was_and_a_terminal_sees_one_line(word: str) -> None:
    command = shell_command(["printf", "%s", word])
    assert printable(command) == command
    assert len(command.splitlines()) == 1
    assert "\t" not in command
    assert subprocess.run(["bash", "-c", command], capture_output=True).stdout == os.fsencode(word)
