"""What typer refuses is one line like every other error, and names what came."""

from __future__ import annotations

import sys

import pytest

from landscape.cli import main

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
def test_a_refused_word_is_one_line_and_exit_code_2(
    words: list[str], line: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["landscape", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"landscape: error: {line}\n")
