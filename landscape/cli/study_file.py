"""Read the options of a study from a TOML file: ``landscape study FILE.toml`` becomes the words of a command line.

    name = "small models"
    models = ["opt-nano", "smollm2-135m"]
    data = ["tales", "path/to/wikitext-2"]
    bits = [8, 4, 3]
    preset = "standard"
    directions = 8
    symmetric = true

A key is the name of an option without its dashes, with ``-`` or ``_`` between words; a list is joined by commas; true
and false turn a switch on and off. A path is read as the command line would read it: from the current folder.
"""

from __future__ import annotations

import codecs
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from landscape.cli.command_option import CommandOption
from quant.errors import UsageError, first_line
from quant.files.json_text import json_kind
from quant.files.odd_files import is_odd, odd_kind
from quant.files.system_errors import reason
from quant.files.user_path import user_path

_SUFFIX = ".toml"
_KEY = re.compile("[A-Za-z][A-Za-z0-9_-]*")
_LARGEST = 2**16
"""Bytes of a file; those in use have less than one in sixty of that."""
_DOTS = 8
"""Dots of a key that is read as TOML; Python's reader takes a minute for thousands, and no option has any."""
_QUOTED = re.compile(
    r"""
      \"{3} (?: \\. | [^\\] )*? (?: \"{3,5} | \\?\Z )
    | '{3} .*? (?: '{3,5} | \Z )
    | \" (?: \\[^\n] | [^\"\\\n] )* \"?
    | ' [^'\n]* '?
    | (?P<comment> \# [^\n]* )
    """,
    re.VERBOSE | re.DOTALL,
)
"""A string or a comment of TOML, to its end or to where it should have ended."""
_OTHER = re.compile(r"[^\w\-. \t]+")


def expanded(words: Sequence[str]) -> list[str]:
    """Put the options of a file before those of the command line, which override them.

    Args:
        words: The words of a command line; those without the file of a study, a word that ends in .toml and is no value
            of an option, stay as they are.

    Raises:
        UsageError: if the file is not there, is no TOML, or holds a value that is no option's.
    """
    if not words or words[0] != "study":
        return list(words)
    places = [i for i, (before, word) in enumerate(pairwise(words), 1) if _is_file(before, word)]
    if not places:
        return list(words)
    return [words[0], *_options(Path(words[places[0]])), *words[1 : places[0]], *words[places[0] + 1 :]]


def _is_file(before: str, word: str) -> bool:
    """Return whether a word names the file: no option, and not the value of one."""
    takes_value = before.startswith("-") and "=" not in before and before not in _switches()
    return word.endswith(_SUFFIX) and not word.startswith("-") and not takes_value


def _study_options() -> list[CommandOption]:
    from landscape.cli.commands import COMMANDS
    from landscape.cli.run import command_options

    (study,) = (command for command in COMMANDS if command.name == "study")
    return command_options(study)


@cache
def _switches() -> dict[str, bool]:
    """Return the flags of the switches of a study, those that turn one off included, with their defaults."""
    found = {option.flag: bool(option.default) for option in _study_options() if option.kind is bool}
    negative = {flag.replace("--", "--no-", 1): default for flag, default in found.items() if default}
    return {**found, **negative}


def _options(path: Path) -> Iterator[str]:
    table = _table(path)
    yield from ("--name", _word(path, "name", table.pop("name", path.stem)))
    for key, value in table.items():
        if not _KEY.fullmatch(key):
            raise UsageError(
                f"expected names of options in {str(path)!r}, got {key[:40]!r}; see landscape study --help"
            )
        flag = f"--{key.replace('_', '-')}"
        _check_kind(path, key, flag, value)
        if isinstance(value, bool):
            if value:
                yield flag
            elif _switches().get(flag, True):  # a switch that is off by default has no negative
                yield flag.replace("--", "--no-", 1)
        else:
            yield from (flag, _word(path, key, value))


def _check_kind(path: Path, key: str, flag: str, value: object) -> None:
    """Check that a switch is turned on or off and that another option has a value: words would shift otherwise.

    Raises:
        UsageError: if not.
    """
    if flag in _switches() and not isinstance(value, bool):
        raise UsageError(f"expected true or false as {key} in {str(path)!r}, got {_shown(value)}")
    takes_value = any(option.flag == flag and option.kind is not bool for option in _study_options())
    if takes_value and isinstance(value, bool):
        raise UsageError(f"expected a value as {key} in {str(path)!r}, got {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, bool | list | dict):  # may be nested without end
        return json_kind(value)
    return "an integer without end" if _is_endless(value) else str(value)[:80]


def _is_endless(value: object) -> bool:
    """Return True for an integer that is no float; Python writes none of thousands of digits."""
    return isinstance(value, int) and value.bit_length() > sys.float_info.max_exp


def _table(path: Path) -> dict[str, object]:
    user_path(path, "the file of a study")
    if is_odd(path):  # a pipe would be waited for
        raise UsageError(f"expected a file with a study in {str(path)!r}, found {odd_kind(path)}; name a file of TOML")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"expected a study in {str(path)!r}, cannot read it: {reason(error, path)}") from error
    if len(content) > _LARGEST:
        raise UsageError(f"expected at most {_LARGEST >> 10} KiB of TOML in {str(path)!r}, found more")
    if content.startswith(codecs.BOM_UTF8):
        raise UsageError(f"expected TOML in {str(path)!r}, got a byte order mark at its head; save it as UTF-8 without")
    try:
        text = content.decode()
        _check_keys(path, text)
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of integers with thousands of digits
        raise UsageError(f"expected TOML in {str(path)!r}, got: {first_line(error)}") from error


def _check_keys(path: Path, text: str) -> None:
    """Check that no key has many dots; outside of strings and comments, nothing else has more than one.

    Raises:
        UsageError: if one has.
    """
    bare = _QUOTED.sub(lambda found: "" if found["comment"] else "_", text)
    key = next((run.strip() for run in _OTHER.split(bare) if run.count(".") > _DOTS), None)
    if key is not None:
        raise UsageError(
            f"expected names of options in {str(path)!r}, got a key with {key.count('.')} dots, {key[:40]!r}; see "
            "landscape study --help"
        )


def _word(path: Path, key: str, value: object) -> str:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, str | int | float) or _is_endless(entry):
            raise UsageError(
                f"expected text, numbers, true, false or a list of these as {key} in {str(path)!r}, got {_shown(entry)}"
            )
        if "\0" in str(entry):
            raise UsageError(f"expected text as {key} in {str(path)!r}, got {entry!r}, with the character NUL")
    return ",".join(map(str, entries))
