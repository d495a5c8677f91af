"""Results with random content, made from nothing but the hints of their fields."""

from __future__ import annotations

import math
import struct
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from landscape.estimators.loss_limit import Limit
from landscape.estimators.radial_losses import RadialProbes
from quant.scheme import QuantScheme

NUMBERS = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1 / 3, -1.7976931348623157e308, 0.1 + 0.2, 3, 2**53 + 1)
TEXTS = ("", "NaN", "Infinity", 'é ‖Δw‖ \u2028 "quoted"', "</script>", "int2-exact", "a \udcff byte")
OBJECTS = (
    None, True, 7, 0.1, math.nan, "NaN", (1, (2.5, "x")), [1, [None]], {"float": "NaN"}, {3: (math.inf,)}, Path("a b"),
)  # fmt: skip
VALID: dict[type, Any] = {
    QuantScheme: lambda rng: QuantScheme(int(rng.integers(2, 9)), "absmax", f"group:{rng.integers(1, 99)}"),
    RadialProbes: lambda rng: RadialProbes(
        np.arange(1, 4) / 3, rng.random((2, 3, 4)), np.arange(1, 5), rng.random(4), 6.0, np.array([0, 0, 1, 1]), True
    ),
    Limit: lambda rng: Limit("ppl+5%", math.log(1.05)),
}
"""Makers of what checks itself when it is made."""


def invent(hint: Any, rng: np.random.Generator) -> Any:
    """A random value of a hint; every field of a dataclass is given, those with defaults too."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in VALID:
        return VALID[hint](rng)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{field.name: invent(hints[field.name], rng) for field in fields(hint)})
    if origin in (Union, types.UnionType):
        return invent(arguments[rng.integers(len(arguments))], rng)
    if origin is Literal:
        return arguments[rng.integers(len(arguments))]
    if origin is tuple and arguments[-1] is Ellipsis:
        return tuple(invent(arguments[0], rng) for _ in range(rng.integers(0, 4)))
    if origin is tuple:
        return tuple(invent(each, rng) for each in arguments)
    if origin is np.ndarray:
        return invent_array(hint, rng)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {invent(arguments[0], rng): invent(arguments[1], rng) for _ in range(rng.integers(0, 4))}
    return invent_plain(hint, rng)


def invent_array(hint: Any, rng: np.random.Generator) -> np.ndarray:
    (kind,) = get_args(get_args(hint)[1])
    shape = ((), (0,), (3,), (2, 0, 3), (2, 3))[rng.integers(5)]
    if isinstance(kind, type) and issubclass(kind, np.floating):
        bits = rng.integers(0, 2**64, shape, dtype=np.uint64).view(np.float64)  # any float there is
        return np.where(np.isnan(bits), np.nan, bits)
    return rng.integers(-(2**63), 2**63 - 1, shape)


def invent_plain(hint: Any, rng: np.random.Generator) -> Any:
    makers = {
        bool: lambda: bool(rng.integers(2)),
        int: lambda: int(rng.integers(-(2**60), 2**60)),
        float: lambda: (*NUMBERS, np.float64(rng.standard_normal()))[rng.integers(len(NUMBERS) + 1)],
        str: lambda: TEXTS[rng.integers(len(TEXTS))],
        Path: lambda: Path("a/b c"),
        types.NoneType: lambda: None,
        object: lambda: OBJECTS[rng.integers(len(OBJECTS))],
    }
    return makers[hint]()


def differences(a: Any, b: Any) -> list[str]:
    """Every place at which two values differ in type, shape or any bit; numpy's numbers count as Python's."""
    return list(_differences(a, b, "result"))


def _differences(a: Any, b: Any, path: str) -> Iterator[str]:
    if is_dataclass(a) and type(a) is type(b):
        for field in fields(a):
            yield from _differences(getattr(a, field.name), getattr(b, field.name), f"{path}.{field.name}")
    elif isinstance(a, np.ndarray):
        if not isinstance(b, np.ndarray) or (a.dtype, a.shape, a.tobytes()) != (b.dtype, b.shape, b.tobytes()):
            yield path
    elif isinstance(a, Mapping) and isinstance(b, Mapping):
        yield from _differences(tuple(a), tuple(b), f"{path}.keys()")
        for key in a.keys() & b.keys():
            yield from _differences(a[key], b[key], f"{path}[{key!r}]")
    elif isinstance(a, tuple | list) and type(a) is type(b) and len(a) == len(b):
        for index, pair in enumerate(zip(a, b, strict=True)):
            yield from _differences(*pair, f"{path}[{index}]")
    elif isinstance(a, float) and isinstance(b, float):
        if struct.pack("<d", a) != struct.pack("<d", b):
            yield path
    elif type(a) is not type(b) or a != b:
        yield f"{path}: {a!r} → {b!r}"


def reachable(hint: Any, seen: set[type] | None = None) -> set[type]:
    """All dataclasses that a value of a hint may hold."""
    seen = set() if seen is None else seen
    if is_dataclass(hint) and isinstance(hint, type):
        if hint not in seen:
            seen.add(hint)
            for part in get_type_hints(hint).values():
                reachable(part, seen)
    else:
        for part in get_args(hint):
            reachable(part, seen)
    return seen
