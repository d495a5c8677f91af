"""Names from files begin no line of their own on a terminal."""

from __future__ import annotations

import io

import pytest

from landscape.cli.plain_console import PlainConsole
from landscape.report.table import Table


def shown(*printed: str | Table, width: int = 80, wrapped: bool = False) -> str:
    console = PlainConsole(file=io.StringIO(), width=width)
    for each in printed:
        if isinstance(each, Table):
            console.print_table(each, wrapped=wrapped)
        else:
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
    lines = [line.split() for line in shown(table).splitlines()]
    assert lines == [["bits", "per"], ["name", "weight"], ["a\\nb", "[red]", "1"]]


WIDE = Table(
    "caption",
    ("point", *(f"column\n{index}" for index in range(12)), "words"),
    tuple((f"gptq{row}/channel", *(f"{row}.{index:05}" for index in range(12)), "kept") for row in range(3)),
    frozenset({0, 13}),
)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("width", [24, 40, 79, 80, 120, 200])
def test_no_number_is_cut_on_a_narrow_terminal(width: int, wrapped: bool) -> None:
    printed = shown(WIDE, width=width, wrapped=wrapped)
    assert {cell for row in WIDE.rows for cell in row[1:-1]} <= set(printed.split())
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= width
    blocks = printed.count("gptq0/channel")  # each part of the table names its rows
    assert blocks == 1 if width == 200 else blocks > 1


def test_words_wrap_between_words_and_numbers_do_not() -> None:
    table = Table(
        "caption",
        ("way", "change", "why"),
        (("RTN", "+8.1 % (4.2 … 9.9)", "a reason of many words"),),
        frozenset({0, 2}),
    )
    lines = [line.split() for line in shown(table, width=36, wrapped=True).splitlines()]
    assert lines[1:] == [["RTN", "+8.1", "%", "(4.2", "…", "9.9)", "a", "reason", "of"], ["many", "words"]]


def test_a_name_wider_than_the_terminal_is_folded() -> None:
    table = Table("caption", ("point", "bits"), (("x" * 50, "4.25"),))
    assert shown(table, width=20).replace("\n", "").replace(" ", "").count("x") == 50
