"""What goes wrong inside a command is one line that helps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import typer

from landscape.cli.failures import reported


def raised(error: BaseException) -> Callable[[], object]:
    def work() -> None:
        raise error

    return work


def said(work: Callable[[], object], capsys: pytest.CaptureFixture) -> str:
    """The line that a command prints whose work fails."""
    with pytest.raises(typer.Exit) as end, reported(debug=False):
        work()
    assert end.value.exit_code == 1
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


def test_an_interrupt_promises_what_is_kept_and_no_more(capsys: pytest.CaptureFixture) -> None:
    line = said(raised(KeyboardInterrupt()), capsys)
    assert "goes on from there" in line
    assert "a point that was half made begins anew, QAFT after its last epoch" in line
