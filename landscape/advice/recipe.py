"""Define a recipe, and what the recipes of all tools share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from landscape.advice.ways import Way as Way
from quant.scheme import QuantScheme

PostTraining = Literal["rtn", "gptq"]
FloatFormat = Literal["nvfp4", "mxfp4", "fp8"]
Scheme = QuantScheme | FloatFormat
"""The grid that was measured; a float format can be named alone."""
FLOATS = ("nvfp4", "mxfp4", "fp8")


@dataclass(frozen=True)
class Recipe:
    """Text to type in one tool, and what to know about it."""

    tool: str
    """Name of the tool."""
    language: Literal["python", "shell"]
    code: str
    """A script or commands; empty where the tool has nothing like the grid."""
    notes: tuple[str, ...]
    """Sentences: how the tool's grid or method differs from what was measured, and what is missing."""


def output_name(model: str, way: Way, scheme: Scheme) -> str:
    """Name the folder of the quantized model: ``Llama-3.2-1B-gptq-int4-absmax-per-group128``."""
    return f"{model_name(model)}-{way}-{scheme}"


def model_name(model: str) -> str:
    """Return the last part of a model's name on the Hub, or of its folder."""
    return model.rstrip("/\\").replace("\\", "/").rpartition("/")[2]


def float_format(scheme: Scheme) -> str | None:
    """Return the name of a float format; None for an integer grid."""
    name = str(scheme).partition("-")[0]
    return name if name in FLOATS else None


def granularity(scheme: Scheme) -> str:
    """Return the weights that share a scale; a float format that is named alone has one scale per channel."""
    return scheme.granularity if isinstance(scheme, QuantScheme) else "channel"


def scale_ratio(bits: int) -> float:
    """Return the unclipped scale of a symmetric grid in other tools over ours.

    Their codes go from −2^(B−1) to 2^(B−1) − 1, and the scale is 2 · absmax / (2^B − 1): absmax/7.5 at 4 bits. Ours is
    absmax / (2^(B−1) − 1): absmax/7.
    """
    high = QuantScheme(bits).high
    return 2 * high / (2 * high + 1)


def code_notes(scheme: QuantScheme) -> list[str]:
    """Say how the codes of a symmetric grid differ in other tools, which all agree."""
    if not scheme.symmetric:
        return []
    high = scheme.high
    codes = f"Codes go from −{high + 1} to {high}; −{high} to {high} were measured."
    return [f"{codes} A scale that clips nothing is {scale_ratio(scheme.bits):.3g} of that which was measured."]


def call(function: str, arguments: Iterable[str]) -> list[str]:
    """Write the lines of a call, one argument or several on each."""
    return [f"{function}(", *(f"    {each}," for each in arguments), ")"]


def lines(each: Iterable[str]) -> str:
    """Join lines."""
    return "".join(f"{line}\n" for line in each)
