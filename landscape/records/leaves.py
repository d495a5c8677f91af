"""Write numbers, text and arrays as values of strict JSON, and read them back to the bit.

Nothing is converted to make it fit: what is not of the expected type is refused, in writing as in reading. numpy's own
numbers count as Python's, and a whole number stays one where a float is expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Numbers that strict JSON has not; the sign and payload of NaN are not kept."""
_SHOWN = 40  # characters of a value that an error shows


class MisfitError(TypeError):
    """A value is not of the type of its hint."""

    def __init__(self, expected: str, found: object) -> None:
        text = repr(found)
        super().__init__(f"expected {expected}, found {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}")


def bool_value(value: Any, _: Any = None) -> bool:
    """Check a truth value; written and read in the same way, as are whole numbers and text."""
    if not isinstance(value, bool | np.bool_):
        raise MisfitError("true or false", value)
    return bool(value)


def int_value(value: Any, _: Any = None) -> int:
    """Check a whole number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise MisfitError("a whole number", value)
    return int(value)


def str_value(value: Any, _: Any = None) -> str:
    """Check text."""
    if not isinstance(value, str):
        raise MisfitError("text", value)
    return str(value)


def write_float(value: Any) -> float | int | str:
    """Return a number as it is, or a word if it is not finite; float32 is refused, since its decimals differ."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if not isinstance(value, float):
        raise MisfitError("a number of 64 bits", value)
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def read_float(value: Any, _: Any = None) -> float | int:
    """Return the number that ``write_float`` wrote."""
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise MisfitError("a number", value)
    return value


def write_object(value: Any) -> Any:
    """Return a value whose hint says nothing: as it is, or under a tag that says its type.

    ``{"float": "NaN"}``, ``{"tuple": […]}``, ``{"path": "…"}``, ``{"mapping": [[key, value], …]}``
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float | int):
        written = write_float(value)
        return {"float": written} if isinstance(written, str) else written
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, list):
        return [write_object(each) for each in value]
    if isinstance(value, tuple):
        return {"tuple": [write_object(each) for each in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[write_object(key), write_object(each)] for key, each in value.items()]}
    raise MisfitError("None, text, a number, a path, a list, a tuple or a mapping", value)


def read_object(value: Any, _: Any = None) -> Any:
    """Return the value that ``write_object`` wrote."""
    if isinstance(value, list):
        return [read_object(each) for each in value]
    match value:
        case {"float": word, **rest} if not rest:
            return read_float(word)
        case {"path": str(text), **rest} if not rest:
            return Path(text)
        case {"tuple": list(entries), **rest} if not rest:
            return tuple(read_object(each) for each in entries)
        case {"mapping": list(pairs), **rest} if not rest:
            return {read_object(key): read_object(each) for key, each in pairs}
        case dict():
            raise MisfitError("a tagged value", value)
    return value


_ELEMENTS = {"float64": read_float, "int64": int_value, "bool": bool_value}
"""Types of arrays that results hold, with the readers of their elements."""


def write_array(value: Any) -> dict[str, Any]:
    """Return an array as its dtype, its shape and its elements, row-major."""
    if not isinstance(value, np.ndarray) or value.dtype.name not in _ELEMENTS:
        raise MisfitError(f"an array of {', '.join(_ELEMENTS)}", value)
    elements = value.reshape(-1).tolist()
    written = [write_float(each) for each in elements] if value.dtype.name == "float64" else elements
    return {"dtype": value.dtype.name, "shape": list(value.shape), "values": written}


def read_array(value: Any, hint: Any) -> NDArray[Any]:
    """Return the array that ``write_array`` wrote, if it is of the dtype of the hint."""
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "values": list(written), **rest} if not rest:
            pass
        case _:
            raise MisfitError("an array with dtype, shape and values", value)
    if dtype not in _ELEMENTS or _dtype(hint) not in (None, dtype):
        raise MisfitError(f"an array of {_dtype(hint) or ', '.join(_ELEMENTS)}", dtype)
    if any(type(length) is not int or length < 0 for length in shape) or math.prod(shape) != len(written):
        raise MisfitError(f"as many numbers as the shape {shape} has", len(written))
    return np.array([_ELEMENTS[dtype](each) for each in written], dtype).reshape(shape)


def _dtype(hint: Any) -> str | None:
    """Return the name of the dtype that a hint such as ``NDArray[np.float64]`` gives; None if it gives none."""
    arguments = get_args(hint) if get_origin(hint) is np.ndarray else ()
    (kind,) = get_args(arguments[1]) if arguments else (None,)
    return np.dtype(kind).name if isinstance(kind, type) else None
