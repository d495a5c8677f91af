"""Ask for what cannot be: bad values of every option, bad files of every kind, bad commands."""

from __future__ import annotations

import json
import os
import random
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.torture.bad_files import BadFile, bad_files
from tests.torture.contexts import Context, Round
from tests.torture.forks import Outcome, Settings, run
from tests.torture.verdict import Verdict, judge

_ANY = "--model {m.llama} --data {m.words} --seq-len 12 --json"
_NUMBERS = (
    "--directions 2 --windows 2 --test-windows 1 --lambda-count 4 --alphas 2 --refinements 0 --calibration-windows 2 "
    "--qaft-examples 3 --qaft-rates 1e-4"
)
_COMMANDS = {
    "probe": f"{_ANY} {_NUMBERS} --bits 2 --methods rtn",
    "radius": f"{_ANY} --precision 0.9 --max-minutes 0.02",
    "curvature": f"{_ANY} --precision 0.9 --directions 2 --windows 2 --no-top",
    "anatomy": f"{_ANY} --directions 2 --windows 2 --test-windows 1 --bits 2 --groups type --no-layer-radii",
    "advise": f"{_ANY} --bits 8 --windows 2 --no-radius",
    "quantize": f"{_ANY} --bits 2 --method rtn --export out",
    "study": f"--models {{m.llama}} --data {{m.words}} --seq-len 12 --json {_NUMBERS} --bits 2 --methods rtn",
}
"""The shortest request of each command; the bad value comes after it, and the last value of an option counts."""
_INT = ("-1", "0", "1.5", "x", "", "1e3", "9" * 10, "9" * 19, "9" * 5000, "nan", "٣", "1_0", "0x10", "-0", "+2", "²")
_FLOAT = ("-1", "0", "-0.0", "nan", "inf", "-inf", "1e400", "1e-400", "", "x", "1,5", "1_0", "0x1p3", "9" * 400, "٣")
_TEXT = (
    "", " ", ",", "x,,y", "é", "\u202ex", "\x1b[31mx", "a" * 5000, "-", "--", "--json", "../..", "/", "/dev/null", "0",
    "nan", "None", "[red]x[/red]", "[/]", "{}", "%s", "~no-such-user/x", "hf:", "hf:../..", "a\nb", "\udcff", "x=y",
    "99999999999999999999", "-1", "1:2:3", "group:0", "group:-1", "group:x", "layer:", "layer:block=99", "1e999", "2,2",
    "/dev/zero", "ppl+", "ppl+-5%", "nll+nan", "0bpw", "1/0", "0/1", "9/8", "**", "[", "C:\\x", "\t", "\u2028", "=",
)  # fmt: skip
_PATHS = (
    "", ".", "/dev/null", "/dev/null/x", "/dev/full", "/proc/x", "/sys/x", "a" * 300, "/".join(["a" * 200] * 30),
    "\udcff",
    "-", "~no-such-user/x", "file", "file/x", "pipe", "loop", "a\nb", "\x1b[31m", "nowhere/../nowhere/../file",
)  # fmt: skip
_WHOLE = (
    "no-such", "prob", "--no-such", "-x", "probe extra", "probe --no-such", "probe --bits", "probe --bits=", "quantize",
    "quantize --export", "plot", "plot no-such", "plot a b", "plot ''", "plot /", "plot /dev/null", "report",
    "report .",
    "report no-such", "export", "export no-such", "export file", "export file -o out.h5", "export file --surfaces file",
    "cache", "cache no-such", "cache gc", "cache gc --keep", "cache gc --keep x", "cache gc --keep -1GB",
    "cache gc --keep nan",
    "cache gc --keep 1e999GB", "cache gc --keep ''", "cache gc --older-than x", "cache gc --older-than -1d",
    "cache gc --older-than 1e9d", "cache gc --older-than 9999999999999999d", "cache verify no-such",
    "cache verify ../..",
    "cache verify ''", "cache ls no-such", "cache ls --store file", "cache gc --keep 1GB --store /dev/null",
    "cache verify --store pipe", "cache ls --store loop", "cache verify --store file --json", "study no-such.toml",
    "study pipe.toml", "study .toml", "study folder.toml", "study --models ''", "study --models ,", "study -m x -m y",
    "probe --bits 2 --bits 3 --bits x", "probe -b", "probe -b -b", "probe -- --bits 2", "probe --quiet --verbose",
    "probe --shard 1/2 --dry-run --csv x", "--version extra", "--help no-such", "probe --help --bits x", "-h -h",
    "probe @file", "probe --debug=1", "probe --json=no", "probe --point a", "probe --point =", "probe --point a=",
    "probe --point =file", "probe --point w=file", "probe --point a=file --point a=file", "probe --point a=pipe",
    "probe --point a=/dev/zero", "probe --model /dev/zero", "probe --data /dev/zero", "probe --model pipe",
    "probe --data pipe",
    "probe --model loop", "probe --data loop", "probe --model file", "probe --data folder.toml", "plot pipe",
    "plot loop",
    "plot folder.toml", "report pipe", "export pipe -o x.h5", "plot /dev/zero", "export /dev/zero -o x.h5",
)  # fmt: skip


@cache
def bad_inputs() -> tuple[tuple[str, str | BadFile], ...]:
    """List all bad inputs, with a name each: the values of options, whole command lines, bad files."""
    options = [(f"{words[0]} {words[-2]} {_short(words[-1])}", shlex.join(words)) for words in _option_values()]
    whole = [(words, words) for words in _WHOLE]
    files = [(bad.name, bad) for bad in bad_files()]
    return (*options, *whole, *files)


def _option_values() -> Iterator[list[str]]:
    from landscape.cli.commands import COMMANDS
    from landscape.cli.run import command_options

    for command in COMMANDS:
        for option in command_options(command):
            for value in _values(option.kind):
                yield [command.name, *shlex.split(_COMMANDS[command.name]), option.flag, value]


def _short(value: str) -> str:
    return repr(value) if len(value) < 100 else f"{value[:20]!r} … ({len(value)} characters)"


def _values(kind: Any) -> tuple[str, ...]:
    if kind is bool:  # switches; one of them opens a browser
        return ()
    return {int: _INT, float: _FLOAT, Path: _PATHS}.get(kind, _TEXT)


def drawn(seed: int) -> list[tuple[str, str | BadFile]]:
    """Return all bad inputs in the order of a seed: values of options, and all the others, in turns."""
    inputs = list(bad_inputs())
    random.Random(f"{seed}/words").shuffle(inputs)
    known = {name for name, words in inputs if isinstance(words, BadFile) or words in _WHOLE}
    values, others = ([each for each in inputs if (each[0] in known) is other] for other in (False, True))
    return [each for pair in zip(values, others, strict=False) for each in pair] + values[len(others) :]


@cache
def _order(seed: int) -> list[tuple[str, str | BadFile]]:
    return drawn(seed)


def attempt(context: Context, number: int) -> Verdict:
    """Ask for one bad input."""
    name, bad = _order(context.seed)[number]
    with context.folder("words", number) as folder:
        _surroundings(folder)
        if isinstance(bad, BadFile):
            bad.make(context.materials, folder / "bad")
            text = bad.words.replace("{bad}", "bad")
        else:
            text = bad
        words = [word.replace("\x00", "") for word in shlex.split(_placed(text, context))]
        outcome = run(words, Settings(folder, Path("cache")))
        verdict = judge(outcome)
        if verdict.kind == "well" and "--json" in words and "--help" not in words and (fault := _no_json(outcome)):
            verdict = replace(verdict, kind="unexpected", words=fault)
        return verdict.of(name)


def _placed(text: str, context: Context) -> str:
    """Fill in the places of models and texts, and leave other braces as they are."""
    for name in ("llama", "words", "gguf"):
        text = text.replace(f"{{m.{name}}}", str(getattr(context.materials, name)))
    return text


def _no_json(outcome: Outcome) -> str:
    """Say why an output is no strict JSON; empty if it is."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        json.loads(outcome.out, parse_constant=refuse)
    except ValueError as error:
        return f"no JSON: {error}"
    return ""


def _surroundings(folder: Path) -> None:
    """Make what the words name: a file, a pipe, a link to itself, a folder."""
    (folder / "file").write_text("hello", encoding="utf-8")
    for name in ("pipe", "pipe.toml"):
        os.mkfifo(folder / name)
    (folder / "loop").symlink_to("loop")
    (folder / "folder.toml").mkdir()


ROUND = Round("words", 600, attempt, "bad values of every option, bad files, bad commands")
