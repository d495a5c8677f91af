"""Read JSON that anyone may have written: every way in which it fails becomes one sentence.

Python's reader raises four kinds of errors, and reads more than JSON: NaN, numbers that overflow to infinity, integers
of any length, and two values under one name, of which it keeps the last.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from quant.errors import ToolkitError, first_line
from quant.files.odd_files import is_odd, odd_kind
from quant.printable import printable

DEEPEST = 100
"""Levels of lists and objects inside each other; files in use have at most about ten."""
LONGEST = 300
"""Digits of an integer, so that it is also a float; the largest in use, of a tokenizer without a limit, has 31."""
LARGEST = 2**25
"""Bytes of a file that is read as a whole: as empty lists they take a gigabyte. The largest in use, the index of the
weights of a model of 671 billion, has nine million."""


class _FaultError(ValueError):
    """Carry the fault of a text, in words that follow on "got"."""


def parse_json(
    text: str | bytes,
    source: object,
    error: type[ToolkitError],
    remedy: str = "",
    *,
    nonfinite: bool = False,
    repeated: bool = False,
) -> Any:
    """Parse a text as JSON.

    Args:
        text: The text; bytes are UTF-8.
        source: The file that it is from, for the message.
        error: The class of the error to raise.
        remedy: Advice for the end of the message.
        nonfinite: Take NaN, Infinity and numbers beyond a float, which some tools write into their configurations.
        repeated: Take an object with two values of one name, of which the last counts.

    Raises:
        ToolkitError: of that class, if it is not JSON, or has an integer or a depth that no file in use has.
    """
    try:
        return _parsed(text, nonfinite, repeated)
    except (ValueError, RecursionError) as fault:
        raise error(
            f"expected JSON in {_shown(source)}, got {_described(fault)}{f'; {remedy}' if remedy else ''}"
        ) from fault


def parse_object(
    text: str | bytes,
    source: object,
    error: type[ToolkitError],
    remedy: str = "",
    *,
    nonfinite: bool = False,
    repeated: bool = False,
) -> dict[str, Any]:
    """Parse a text as a JSON object; see ``parse_json``.

    Raises:
        ToolkitError: of the given class, if it is none.
    """
    content = parse_json(text, source, error, remedy, nonfinite=nonfinite, repeated=repeated)
    if not isinstance(content, dict):
        end = f"; {remedy}" if remedy else ""
        raise error(f"expected a JSON object in {_shown(source)}, got {json_kind(content)}{end}")
    return content


def read_object(
    path: Path, error: type[ToolkitError], remedy: str = "", *, nonfinite: bool = False, repeated: bool = False
) -> dict[str, Any]:
    """Read a file as a JSON object; see ``parse_json``.

    Raises:
        ToolkitError: of the given class, if it cannot be read, is no file, is too large, or holds something else.
    """
    return parse_object(read_bytes(path, error, remedy), path, error, remedy, nonfinite=nonfinite, repeated=repeated)


def read_bytes(path: Path, error: type[ToolkitError], remedy: str = "", most: int = LARGEST) -> bytes:
    """Read a file of JSON, without its parsing.

    Args:
        path: The file.
        error: The class of the error to raise.
        remedy: Advice for the end of the message.
        most: Number of bytes it may have.

    Raises:
        ToolkitError: of that class, if it cannot be read, is no file, or is larger.
    """
    end = f"; {remedy}" if remedy else ""
    if is_odd(path):  # a pipe would be waited for
        raise error(f"expected JSON in {_shown(path)}, found {odd_kind(path)}{end}")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as problem:
        raise error(f"cannot read {_shown(path)}: {problem.strerror or problem}{end}") from problem
    if len(content) > most:
        raise error(f"expected at most {most >> 20} MiB of JSON in {_shown(path)}, found more{end}")
    return content


def json_kind(value: object) -> str:
    """Return the kind of a value in the words of JSON, for messages."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", str: "a text", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "an object")


def _parsed(text: str | bytes, nonfinite: bool, repeated: bool) -> Any:
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    value = json.loads(
        text,
        parse_int=_integer,
        parse_float=float if nonfinite else _finite,
        parse_constant=float if nonfinite else _refuse_constant,
        object_pairs_hook=None if repeated else _object,
    )
    depth, level = 0, [value]
    while level:
        depth += 1
        if depth > DEEPEST:
            raise RecursionError
        level = [inner for each in level for inner in _inside(each) if isinstance(inner, dict | list)]
    return value


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _integer(text: str) -> int:
    if len(text) > LONGEST:
        raise _FaultError(f"an integer of {len(text)} digits, where {LONGEST} are read")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _FaultError(f"the number {text[:40]}, which no float can hold")
    return value


def _refuse_constant(text: str) -> float:
    raise _FaultError(f"{text}, which is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        held = found.setdefault(name, value)
        if held is not value and repr(held) != repr(value):  # 1 and True are equal, and NaN is not equal to itself
            raise _FaultError(f"two values under the name {name[:80]!r}")
    return found


def _described(fault: ValueError | RecursionError) -> str:
    """Say what is wrong with a text."""
    if isinstance(fault, RecursionError):
        return f"lists or objects more than {DEEPEST} deep"
    if isinstance(fault, UnicodeDecodeError):
        return first_line(fault)
    if isinstance(fault, json.JSONDecodeError):
        if not fault.doc.strip():
            return "an empty text"
        if fault.doc.startswith("\ufeff"):
            return "a byte order mark at its head"
        return f"a fault in line {fault.lineno}, column {fault.colno}: {printable(fault.msg)}"
    return printable(str(fault))


def _shown(source: object) -> str:
    return printable(str(source))
