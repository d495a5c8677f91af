"""Read the options of a study from a TOML file: ``landscape study FILE.toml`` becomes the words of a command line.

    name = "small models"
    models = ["opt-nano", "smollm2-135m"]
    data = ["tales", "path/to/wikitext-2"]
    bits = [8, 4, 3]
    preset = "standard"
    directions = 8
    symmetric = true

A key is the name of an option without its dashes, with ``-`` or ``_`` between words; a list is joined by commas; true
and false are a switch and its negative. A path is read as the command line would read it: from the current folder.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from quant.errors import UsageError

_SUFFIX = ".toml"


def expanded(words: Sequence[str]) -> list[str]:
    """Put the options of a file in place of its name, before those of the command line, which override them.

    Args:
        words: The words of a command line; those that name no file of a study stay as they are.

    Raises:
        UsageError: if the file is not there, is no TOML, or holds a value that is no option's.
    """
    if len(words) < 2 or words[0] != "study" or not words[1].endswith(_SUFFIX):
        return list(words)
    path = Path(words[1])
    return [words[0], *_options(path), *words[2:]]


def _options(path: Path) -> Iterator[str]:
    table = _table(path)
    yield from ("--name", str(table.pop("name", path.stem)))
    for key, value in table.items():
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            yield flag if value else flag.replace("--", "--no-", 1)
        else:
            yield from (flag, _word(path, key, value))


def _table(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"expected a study in {str(path)!r}, cannot read it: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"expected TOML in {str(path)!r}, got: {error}") from error


def _word(path: Path, key: str, value: object) -> str:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, str | int | float):
            raise UsageError(
                f"expected text, numbers, true, false or a list of these as {key} in {str(path)!r}, got {entry!r}"
            )
    return ",".join(map(str, entries))
