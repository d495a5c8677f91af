"""From the words of the command line to the numbers of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from landscape.presets import Preset, find_preset
from landscape.wanted import External
from quant.errors import UsageError
from quant.gptq import GPTQOptions

T = TypeVar("T")


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list, each entry once."""
    return tuple(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def integers(text: str, option: str) -> tuple[int, ...]:
    """A comma-separated list of whole numbers.

    Raises:
        UsageError: naming the option, if it is not one.
    """
    return _parsed(text, option, int, "whole numbers")


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


def external_points(texts: Iterable[str]) -> tuple[External, ...]:
    """Points of other tools, each ``NAME=PATH``.

    Raises:
        UsageError: if one is not.
    """
    found = []
    for text in texts:
        name, _, path = text.partition("=")
        if not name or not path:
            raise UsageError(f"expected NAME=PATH in --point, got {text!r}")
        found.append(External(name, Path(path)))
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


def request_preset(
    name: str,
    windows: int | None,
    test_windows: int | None,
    seq_len: int | None,
    lambda_count: int | None,
    alphas: int | None,
    calibration_windows: int | None,
    qaft_examples: int | None,
    qaft_epochs: int | None,
    qaft_rates: str | None,
    refinements: int | None = None,
) -> Preset:
    """The preset with the numbers that the user set for themselves."""
    changes = {
        "train_windows": windows,
        "validation_windows": windows,
        "test_windows": test_windows,
        "seq_len": seq_len,
        "lambdas": lambda_count,
        "alphas": alphas,
        "refinements": refinements,
        "calibration_windows": calibration_windows,
        "qaft_examples": qaft_examples,
        "qaft_epochs": qaft_epochs,
    }
    preset = replace(find_preset(name), **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
    if qaft_rates is None:
        return preset
    rates = floats(qaft_rates, "--qaft-rates")
    return replace(preset, rates=dict.fromkeys(preset.rates, rates))
