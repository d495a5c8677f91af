"""Whatever goes wrong, in the words of a command or inside it, is one line that helps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tokenizers
import torch
import typer

from landscape.cli.errors import exit_on_error
from tests.landscape.cli.asking import Run


def raised(error: BaseException) -> Callable[[], object]:
    def work() -> None:
        raise error

    return work


def said(work: Callable[[], object], capsys: pytest.CaptureFixture, code: int = 1) -> str:
    """The line that a command prints whose work fails."""
    with pytest.raises(typer.Exit) as end, exit_on_error(debug=False):
        work()
    assert end.value.exit_code == code
    (line,) = capsys.readouterr().err.splitlines()
    return str(line)


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.empty(10**14),
        raised(MemoryError()),
        raised(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")),
    ],
    ids=["torch on the CPU", "Python", "an accelerator"],
)
def test_out_of_memory_is_told_as_that(work: Callable[[], object], capsys: pytest.CaptureFixture) -> None:
    line = said(work, capsys)
    assert "expected enough memory, ran out of it; try a smaller --seq-len" in line
    assert "unexpected" not in line


def test_another_error_of_torch_is_not_taken_for_it(capsys: pytest.CaptureFixture) -> None:
    assert "unexpected RuntimeError: shapes differ (--debug" in said(raised(RuntimeError("shapes differ")), capsys)


def test_a_panic_of_a_library_is_said_and_not_thrown(capsys: pytest.CaptureFixture) -> None:
    def panic() -> None:
        tokenizers.normalizers.Precompiled(b"\x04\0\0\0abcdxyz").normalize_str("hello world")

    with pytest.raises(typer.Exit) as end, exit_on_error(debug=False):
        panic()
    assert end.value.exit_code == 1
    assert "landscape: error: unexpected PanicException: " in capsys.readouterr().err


def test_an_interrupt_promises_what_is_kept_and_no_more(capsys: pytest.CaptureFixture) -> None:
    line = said(raised(KeyboardInterrupt()), capsys, code=130)
    assert "goes on from there" in line
    assert "an unfinished point restarts, QAFT from its last completed epoch" in line


REFUSED = [
    (["probe", "--directions", "0"], "expected at least 1 as --directions, got 0"),
    (["probe", "-d", "0"], "expected at least 1 as --directions, got 0"),
    (["advise", "--windows=1"], "expected at least 2 as --windows, got 1"),
    (["probe", "--seed", "1.5"], "expected a whole number as --seed, got '1.5'"),
    (["radius", "--precision", "abc"], "expected a number as --precision, got 'abc'"),
    (["probe", "--bitts", "4"], "expected an option of landscape probe, got --bitts; did you mean --bits or --bos?"),
    (["probe", "--nothing-like-it"], "expected an option of landscape probe, got --nothing-like-it; see landscape "
     "probe --help"),
    (["quantize"], "expected --export, which landscape quantize needs, got none; see landscape quantize --help"),
    (["probe", "--bits"], "option '--bits' requires an argument"),
    (["probe", "extra"], "got unexpected extra argument(s) (extra); see landscape probe --help"),
    (["prob"], "no such command 'prob'. Did you mean 'probe'?"),
    (["xyz"], "no such command 'xyz'; see landscape --help"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "line"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_a_refused_word_is_one_line_and_exit_code_2(words: list[str], line: str, run: Run) -> None:
    assert run(*words) == (2, "", f"landscape: error: {line}\n")
