"""Read values from the words of a command, and write them back as words."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from landscape.anatomy.size_limit import SizeLimit
from landscape.estimators.loss_limit import Limit
from landscape.session.work_shard import WorkShard
from quant.errors import UsageError
from quant.scheme import MAX_BITS, MIN_BITS, Width, read_width

T = TypeVar("T")


@dataclass(frozen=True)
class ValueType:
    """The way to read values of one type from the command line, and to write them to it."""

    parsed: Any
    """The type that typer makes of the word, and checks."""
    read: Callable[[Any, str], Any]
    """Makes the value from that of typer and from the flag, which errors name."""
    write: Callable[[Any], str]
    """Makes a word of the value."""


def value_type(hint: Any) -> ValueType:
    """Return the way to read and write values of a type; None is an option that is left out.

    Args:
        hint: bool, int, float, str, Path, Literal, Limit, SizeLimit, WorkShard, Width, or a tuple of strings, of bit
            widths (integers), of widths or of floats.
    """
    if hint == Width:
        return ValueType(str, lambda text, flag: width(text, flag), str)
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    if get_origin(hint) is tuple:
        readers = {int: bit_widths, Width: widths, float: floats}
        return ValueType(str, readers.get(get_args(hint)[0], _words), join_words)
    if hint is WorkShard:
        return ValueType(str, lambda text, flag: WorkShard.parse(text), str)
    if hint in (Limit, SizeLimit):
        return ValueType(str, lambda text, flag: hint.parse(text), lambda limit: limit.text)
    parsed = str if get_origin(hint) is Literal else hint  # the request or its part checks the word
    return ValueType(parsed, lambda value, flag: value, str)


def split_words(text: str) -> tuple[str, ...]:
    """Split a comma-separated list; each entry stays once."""
    return tuple(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def join_words(values: tuple[object, ...]) -> str:
    """Join a list with commas."""
    return ",".join(map(str, values))


def width(text: str, flag: str) -> Width:
    """Read a bit width or the name of a float format.

    Raises:
        UsageError: naming the option, if it is neither.
    """
    try:
        return read_width(text)
    except UsageError as error:
        raise UsageError(f"{error} in {flag}") from None


def widths(text: str, flag: str) -> tuple[Width, ...]:
    """Read a comma-separated list of bit widths and names of float formats.

    Raises:
        UsageError: naming the option, if it is not one.
    """
    found = tuple(width(word, flag) for word in split_words(text))
    if not found:
        raise UsageError(f"expected at least one width in {flag}, got {text!r}")
    return found


def bit_widths(text: str, flag: str) -> tuple[int, ...]:
    """Read a comma-separated list of bit widths.

    Raises:
        UsageError: naming the option, if it is not one.
    """
    widths = _read_numbers(text, flag, int, "whole numbers")
    for bits in widths:
        if not MIN_BITS <= bits <= MAX_BITS:
            raise UsageError(f"expected bits from {MIN_BITS} to {MAX_BITS} in {flag}, got {bits}")
    return widths


def floats(text: str, flag: str) -> tuple[float, ...]:
    """Read a comma-separated list of numbers.

    Raises:
        UsageError: naming the option, if it is not one.
    """
    values = _read_numbers(text, flag, float, "numbers")
    if not all(map(math.isfinite, values)):
        raise UsageError(f"expected finite numbers in {flag}, got {text[:80]!r}")
    return values


def _words(text: str, flag: str) -> tuple[str, ...]:
    return split_words(text)


def _read_numbers(text: str, flag: str, kind: Callable[[str], T], what: str) -> tuple[T, ...]:
    try:
        values = tuple(kind(word) for word in split_words(text))
    except ValueError:
        raise UsageError(f"expected comma-separated {what} in {flag}, got {text[:80]!r}") from None
    if not values:
        raise UsageError(f"expected at least one number in {flag}, got {text!r}")
    return values
