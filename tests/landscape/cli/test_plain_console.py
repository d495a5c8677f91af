"""Names from files begin no line of their own on a terminal."""

from __future__ import annotations

import io

import pytest

from landscape.cli.plain_console import PlainConsole, drawn
from landscape.report.table import Table


def shown(*printed: object) -> str:
    console = PlainConsole(file=io.StringIO(), width=80)
    for each in printed:
        console.print(each)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("a\nlandscape: error: forged", "a\\nlandscape: error: forged\n"),
        ("\nbelow an empty line", "\nbelow an empty line\n"),
        ("a\r\n\x1b[31mb [bold]c[/bold] :skull:", "a\\r\\n\\x1b[31mb [bold]c[/bold] :skull:\n"),
        ("", "\n"),
        ("\n", "\n\n"),
    ],
)
def test_a_line_is_one_line(line: str, text: str) -> None:
    assert shown(line) == text


def test_a_name_in_a_table_is_one_line() -> None:
    table = Table("caption", ("name", "bits per\nweight"), (("a\nb [red]", "1"),))
    lines = [line.split() for line in shown(drawn(table, wrapped=False)).splitlines()]
    assert lines == [["bits", "per"], ["name", "weight"], ["a\\nb", "[red]", "1"]]
