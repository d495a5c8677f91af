"""From the words of the command line to the numbers of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from landscape.session.point_specs import ExternalSpec
from landscape.session.presets import OPTIONS, Preset, find_preset
from quant.errors import UsageError
from quant.external.gauge import check_gauge
from quant.methods.options import GPTQOptions
from quant.scheme import MAX_BITS, MIN_BITS

T = TypeVar("T")


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list, each entry once."""
    return tuple(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def bit_widths(text: str, option: str) -> tuple[int, ...]:
    """A comma-separated list of bit widths.

    Raises:
        UsageError: naming the option, if it is not one.
    """
    widths = _parsed(text, option, int, "whole numbers")
    for bits in widths:
        if not MIN_BITS <= bits <= MAX_BITS:
            raise UsageError(f"expected bits from {MIN_BITS} to {MAX_BITS} in {option}, got {bits}")
    return widths


def floats(text: str, option: str) -> tuple[float, ...]:
    """A comma-separated list of numbers.

    Raises:
        UsageError: naming the option, if it is not one.
    """
    return _parsed(text, option, float, "numbers")


def _parsed(text: str, option: str, kind: Callable[[str], T], what: str) -> tuple[T, ...]:
    try:
        values = tuple(kind(word) for word in words(text))
    except ValueError:
        raise UsageError(f"expected comma-separated {what} in {option}, got {text!r}") from None
    if not values:
        raise UsageError(f"expected at least one number in {option}, got {text!r}")
    return values


def external_points(texts: Iterable[str], gauge: str = "nearest") -> tuple[ExternalSpec, ...]:
    """Points of other tools, each ``NAME=PATH``.

    Args:
        texts: The points.
        gauge: Of all of them, see ``landscape.session.point_specs.ExternalSpec``.

    Raises:
        UsageError: if one is none, or the gauge is unknown.
    """
    check_gauge(gauge)
    found = []
    for text in texts:
        name, _, path = text.partition("=")
        if not name or not path:
            raise UsageError(f"expected NAME=PATH in --point, got {text!r}")
        found.append(ExternalSpec(name, Path(path), gauge))  # type: ignore[arg-type]
    return tuple(found)


def gptq_options(inputs: str, true_sequential: bool, act_order: bool, rtn_candidate: bool) -> GPTQOptions:
    """GPTQ's options.

    Raises:
        UsageError: if they are not possible.
    """
    return GPTQOptions(
        inputs=inputs,  # type: ignore[arg-type]
        true_sequential=true_sequential,
        act_order=act_order,
        rtn_candidate=rtn_candidate,
    )


def request_preset(name: str, *, qaft_rates: str | None = None, **numbers: int | None) -> Preset:
    """The preset with the numbers that the user set for themselves.

    Args:
        name: Of the preset.
        qaft_rates: Learning rates of QAFT at all bit widths; None for the preset's.
        numbers: By the names of their options, those of ``landscape.session.presets.OPTIONS``; None, or left out, for
        the
            preset's.

    Raises:
        UsageError: if there is no such preset, or the rates are no numbers.
    """
    set_here = {field: value for option, value in numbers.items() if value is not None for field in OPTIONS[option]}
    preset = replace(find_preset(name), **set_here)  # type: ignore[arg-type]
    if qaft_rates is None:
        return preset
    rates = floats(qaft_rates, "--qaft-rates")
    return replace(preset, rates=dict.fromkeys(preset.rates, rates))
