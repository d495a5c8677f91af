"""The keys of a TOML file are options of ``landscape study``; those of the command line override them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from landscape.cli.study_file import expanded
from landscape.study.request import StudyRequest
from quant.errors import UsageError
from tests.landscape.cli.asking import Run

FILE = """
models = ["opt-nano", "a model"]
data = ["tales", "my texts"]
bits = [4, 2]
seq-len = 64
qaft_rates = [1e-4, 0.001]
symmetric = false
scale = "absmax"
plane = true
methods = ["rtn", "gptq", "qaft"]
"""

MANY = 2**16
_HOSTILE = {
    "dots": "a." * MANY,
    "dots in brackets": f"[{'a.' * MANY}",
    "dots in braces": f"x = {{{'a.' * MANY}",
    "quoted dots": "'a'." * MANY,
    "spaced dots": "a .\t" * MANY,
    "one word": "a" * MANY,
    "quotes": '"' * MANY,
    "escaped quotes": '\\"""\n' * MANY,
    "open strings": '"""\n\\' * MANY,
    "open literals": "'''a\n" * MANY,
    "backslashes": '"' + "\\" * MANY,
    "brackets": "x = " + "[" * MANY,
    "braces": "x = " + "{a=" * MANY,
    "tables": "".join(f"[a{i}.b.c.d.e]\n" for i in range(MANY // 16)),
    "arrays of tables": "[[a]]\n" * MANY,
    "short keys": "".join(f"a.b.c.d.e.f.g.h.k{i:x}=1\n" for i in range(MANY // 16)),
    "digits": "x = " + "1" * MANY,
    "dates": "x = 2024-01-01T00:00:00." + "1" * MANY,
}
"""Texts on which a reader may take long."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "small ones.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_a_file_asks_for_what_the_same_options_ask_for(asked: Callable[..., StudyRequest], study: Path) -> None:
    words = [
        "--name", "small ones", "--models", "opt-nano,a model", "--data", "tales,my texts", "--bits", "4,2",
        "--seq-len", "64", "--qaft-rates", "1e-4,1e-3", "--no-symmetric", "--scale", "absmax", "--plane",
    ]  # fmt: skip
    assert asked("study", str(study)) == asked("study", *words)


def test_a_file_may_name_float_formats(asked: Callable[..., StudyRequest], tmp_path: Path) -> None:
    path = tmp_path / "floats.toml"
    path.write_text('bits = [4, "nvfp4", "fp8"]\nmethods = ["rtn", "gptq"]\n')
    request = asked("study", str(path))
    assert request.bits == (4, "nvfp4", "fp8")
    assert {spec.name for spec in request.specs} == {
        f"{method}-{grid}" for method in ("rtn", "gptq") for grid in ("int4-exact", "nvfp4", "fp8")
    }


def test_the_command_line_overrides_the_file(asked: Callable[..., StudyRequest], study: Path) -> None:
    request = asked("study", str(study), "--bits", "3", "--name", "mine", "--dry-run")
    assert (request.bits, request.name, request.dry_run, request.scales) == ((3,), "mine", True, ("absmax",))


def test_a_switch_that_is_off_by_default_is_turned_off_by_leaving_it_out(
    asked: Callable[..., StudyRequest], tmp_path: Path
) -> None:
    path = tmp_path / "off.toml"
    lines = ("plane = false", "pairs = false", "layers = false", "symmetric = true", "dry-run = false")
    path.write_text("\n".join(lines), encoding="utf-8")
    request = asked("study", "--bits", "3", "--layers", str(path))
    assert (request.plane, request.pairs, request.dry_run, request.symmetric) == (False, False, False, True)
    assert request.layers  # of the command line, which overrides the file wherever that stands
    assert not asked("study", str(path)).layers


def test_dots_in_strings_comments_and_numbers_are_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "dotted.toml"
    dots = "a." * 20
    lines = (
        f"# {dots} it's \"",
        f'name = "{dots}\\"{dots}"  # {dots}',
        f"models = ['{dots}#\\', 'opt-nano']",
        f'data = ["""\n{dots}\\"""{dots}"""]',
        f"lambdas = [{', '.join(f'{i}.5' for i in range(1, 20))}]",
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    words = expanded(["study", str(path)])
    found = dict(zip(words[1::2], words[2::2], strict=True))
    assert found["--name"] == f'{dots}"{dots}'
    assert found["--models"] == f"{dots}#\\,opt-nano"
    assert found["--data"] == f'{dots}"""{dots}'
    assert found["--lambdas"].startswith("1.5,2.5")


@pytest.mark.parametrize("text", _HOSTILE.values(), ids=_HOSTILE)
def test_no_file_takes_long_to_refuse(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text[: 2**16], encoding="utf-8")
    started = time.process_time()
    with pytest.raises(UsageError):
        expanded(["study", str(path)])
    assert time.process_time() - started < 2


def test_words_without_a_file_stay_as_they_are() -> None:
    for words in ([], ["study"], ["study", "--models", "x.toml"], ["study", "--csv", "x.toml"], ["probe", "x.toml"]):
        assert expanded(words) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models = [", "expected TOML in"),
        ("[bits]\nfour = 4", "a list of these as bits"),
        ("bits = [[4]]", "a list of these as bits"),
        (f"bits = [{'.'.join(['{a'] + ['a'] * 2000)} = 1{'}'}]", "got a key with 2000 dots"),
        (f"bits.{'.'.join('a' * 2000)} = 1", "got a key with 2000 dots"),
        (f"{'a . ' * 30_000}b = 1", "expected at most 64 KiB of TOML"),
        (f"{'a.' * 30_000}b = 1", "got a key with 30000 dots"),
        (f"[[{'a.' * 9}b]]", "got a key with 9 dots"),
        ("\"'\" . 'a\".b' . " * 5 + "b = 1", "got a key with 10 dots"),
        (f'bits = [""" \\""" """"", {{{"a." * 9}a = 1}}]', "got a key with 9 dots"),
        (f'bits = [""" \\""" """", {{{"a." * 9}a = 1}}]', "got a key with 9 dots"),
        (f"{'a.' * 8}b = 1", "expected text, numbers, true, false or a list of these as a in"),
        (f'x = """{"x." * 20}', "expected TOML in"),
        ("\ufeffbits = 4", "got a byte order mark at its head"),
        (f"bits = 0x{'f' * 5000}", "a list of these as bits in"),
        (f"symmetric = 0x{'f' * 5000}", "expected true or false as symmetric in"),
        (f"name = 0x{'f' * 5000}", "a list of these as name in"),
        ("name = {a = 1}", "a list of these as name in"),
        ("symmetric = 1", "expected true or false as symmetric in"),
        ("plane = [true]", "expected true or false as plane in"),
        ('no-layers = "yes"', "expected true or false as no-layers in"),
        ("bits = true", "expected a value as bits in"),
        ("seq_len = false", "expected a value as seq_len in"),
        ("bits = [true]", "a list of these as bits"),
        ("bits = 2024-01-01", "a list of these as bits"),
        ('"" = 1', "expected names of options in"),
        ('"-m" = "opt-nano"', "expected names of options in"),
        ('"a b" = 1', "expected names of options in"),
        (None, "cannot read it: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_words(tmp_path: Path, run: Run, text: str | None, words: str) -> None:
    path = tmp_path / "study.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        expanded(["study", str(path)])
    code, out, err = run("study", path)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "a pipe"), (os.mkdir, "a folder")])
def test_what_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], kind: str
) -> None:
    def waits(path: Path, mode: str) -> None:
        raise AssertionError(f"to open {path} would wait for a writer")

    path = tmp_path / "study.toml"
    make(path)
    monkeypatch.setattr(Path, "open", waits)
    with pytest.raises(UsageError, match=f"expected a file with a study in .*, found {kind}"):
        expanded(["study", str(path)])


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"bits = 4\xc7")
    with pytest.raises(UsageError, match=r"expected TOML in .*, got: byte 8 = 0xc7, which is not UTF-8"):
        expanded(["study", str(path)])


def test_a_key_that_is_no_option_is_refused_by_its_name(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "study.toml"
    path.write_text("bitss = 4", encoding="utf-8")
    code, _, err = run("study", path)
    assert code == 2
    assert "--bitss" in err
    assert "did you mean" in err
