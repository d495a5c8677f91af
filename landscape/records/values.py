"""Turn results into values of strict JSON and back by their type hints, exactly; no other room imports cattrs.

    dataclass                       {"field": …}
    tuple                           […]
    mapping with words as keys      {"key": …}
    mapping with other keys         [[key, value], …]
    array                           {"dtype": "float64", "shape": [2, 3], "values": […]}, row-major
    not a number, infinite          "NaN", "Infinity", "-Infinity"
    path                            its text
    object (settings of a run)      itself, or under a tag that says its type

A float returns to the bit: JSON's decimals are Python's shortest, which are read as the same float.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import cattrs
import numpy as np
from cattrs.gen import make_dict_structure_fn

from landscape.records.leaves import (
    MisfitError,
    bool_value,
    int_value,
    read_array,
    read_float,
    read_object,
    str_value,
    write_array,
    write_float,
    write_object,
)
from quant.errors import StoreError

T = TypeVar("T")
Write = Callable[[Any], Any]
Read = Callable[[Any, Any], Any]
Form = Callable[[cattrs.Converter, Any], tuple[Write, Read]]


def to_json_values(result: object) -> Any:
    """Return a result as dicts, lists, strings, numbers, booleans and None, without NaN and infinity.

    Args:
        result: A dataclass whose fields, down to the last, have hints of the types above.

    Raises:
        TypeError: if a value is not of the type of its hint.
    """
    return _converter().unstructure(result, type(result))


def from_json_values(values: Any, kind: type[T]) -> T:
    """Make a result of what ``to_json_values`` returned.

    Args:
        values: As read from JSON. A field that has a default may be missing: older files do not know it.
        kind: The type of the result.

    Raises:
        StoreError: in one line that names the place: if a field without a default is missing, a field is unknown, or a
            value is of another type.
    """
    try:
        return _converter().structure(values, kind)
    except Exception as error:  # cattrs raises groups of errors of any type
        first = cattrs.transform_error(error, format_exception=_reason)[0]
        raise StoreError(first.replace("@ $", "in result")) from error


def _reason(error: BaseException, kind: type | None) -> str:
    """Describe the error of one value."""
    if isinstance(error, KeyError):
        return f"expected the field {error.args[0]!r}, found none"
    if isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
        return f"found unknown fields: {', '.join(sorted(error.extra_fields))}"
    return str(error)


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    plain: tuple[tuple[type, Write, Read], ...] = (
        (bool, bool_value, bool_value),
        (int, int_value, int_value),
        (float, write_float, read_float),
        (str, str_value, str_value),
        (Path, str, lambda value, _: Path(str_value(value))),
    )
    for kind, write, read in plain:
        converter.register_unstructure_hook(kind, write)
        converter.register_structure_hook(kind, read)
    for holds, form in _FORMS:
        converter.register_unstructure_hook_factory(holds, partial(_half, converter, form, 0))
        converter.register_structure_hook_factory(holds, partial(_half, converter, form, 1))
    return converter


def _half(converter: cattrs.Converter, form: Form, half: int, hint: Any) -> Any:
    """Return the writer (0) or the reader (1) of a form."""
    return form(converter, hint)[half]


# ---- forms of hints: each gives the writer and the reader of its values ----------------------------------------------


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _is_optional(hint: Any) -> bool:
    return _is_union(hint) and len(get_args(hint)) == 2 and types.NoneType in get_args(hint)


def _is_literal(hint: Any) -> bool:
    """Return whether a hint is a ``Literal``, or a union of some."""
    return get_origin(hint) is Literal or (_is_union(hint) and all(map(_is_literal, get_args(hint))))


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _choices(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(choice for part in get_args(hint) for choice in _choices(part))


def _anything(converter: cattrs.Converter, hint: Any) -> tuple[Write, Read]:
    return write_object, read_object


def _array(converter: cattrs.Converter, hint: Any) -> tuple[Write, Read]:
    return write_array, lambda value, _: read_array(value, hint)


def _literal(converter: cattrs.Converter, hint: Any) -> tuple[Write, Read]:
    choices = _choices(hint)

    def check(value: Any, _: Any = None) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise MisfitError(f"one of {', '.join(map(str, choices))}", value)
        return value

    return check, check


def _optional(converter: cattrs.Converter, hint: Any) -> tuple[Write, Read]:
    (held,) = (part for part in get_args(hint) if part is not types.NoneType)
    return (
        lambda value: None if value is None else converter.unstructure(value, held),
        lambda value, _: None if value is None else converter.structure(value, held),
    )


def _mapping(converter: cattrs.Converter, hint: Any) -> tuple[Write, Read]:
    key, held = get_args(hint)
    words = key is str or (_is_literal(key) and all(isinstance(choice, str) for choice in _choices(key)))

    def write(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise MisfitError("a mapping", value)
        pairs = [[converter.unstructure(k, key), converter.unstructure(v, held)] for k, v in value.items()]
        return dict(pairs) if words else pairs

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, dict if words else list):
            raise MisfitError("an object" if words else "a list of pairs", value)
        pairs: Iterable[Any] = value.items() if isinstance(value, dict) else map(_pair, value)
        return {converter.structure(k, key): converter.structure(v, held) for k, v in pairs}

    return write, read


def _pair(value: Any) -> Iterable[Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise MisfitError("a key and a value", value)
    return value


def _tuple(converter: cattrs.Converter, hint: Any) -> tuple[Write, Read]:
    def parts(value: Any, kind: type) -> list[Any]:
        """Return the hint of each entry."""
        hints = get_args(hint)
        if not isinstance(value, kind):
            raise MisfitError(f"a {kind.__name__}", value)
        if len(hints) == 2 and hints[1] is Ellipsis:
            return [hints[0]] * len(value)  # type: ignore[arg-type]
        if len(hints) != len(value):  # type: ignore[arg-type]
            raise MisfitError(f"{len(hints)} values", value)
        return list(hints)

    return (
        lambda value: [converter.unstructure(v, part) for part, v in zip(parts(value, tuple), value, strict=True)],
        lambda value, _: tuple(converter.structure(v, part) for part, v in zip(parts(value, list), value, strict=True)),
    )


def _dataclass(converter: cattrs.Converter, kind: Any) -> tuple[Write, Read]:
    hints = {field.name: get_type_hints(kind)[field.name] for field in fields(kind)}
    read_fields = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def write(value: Any) -> Any:
        if type(value) is not kind:
            raise MisfitError(f"a {kind.__name__}", value)
        return {name: converter.unstructure(getattr(value, name), hint) for name, hint in hints.items()}

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise MisfitError(f"an object of {kind.__name__}", value)
        return read_fields(value, kind)

    return write, read


_FORMS: tuple[tuple[Callable[[Any], bool], Form], ...] = (
    (lambda hint: hint is object or hint is Any, _anything),
    (lambda hint: get_origin(hint) is np.ndarray, _array),
    (lambda hint: get_origin(hint) is tuple, _tuple),
    (_is_mapping, _mapping),
    (_is_optional, _optional),
    (_is_literal, _literal),
    (lambda hint: isinstance(hint, type) and is_dataclass(hint), _dataclass),
)
