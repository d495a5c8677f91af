"""Define a recipe, and what the recipes of all tools share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from landscape.advice.model_source import ModelSource, model_name, model_source
from landscape.advice.module_patterns import module_patterns, tool_modules
from landscape.advice.ways import Way as Way
from quant.coverage import VECTORS
from quant.printable import shell_command
from quant.scheme import QuantScheme
from quant.slot import Slot

if TYPE_CHECKING:
    from landscape.session.run_record import SubjectInfo

PostTraining = Literal["rtn", "gptq"]
FloatFormat = Literal["nvfp4", "mxfp4", "fp8"]
Scheme = QuantScheme | FloatFormat
"""The grid that was measured; a float format can be named alone."""
FLOATS = ("nvfp4", "mxfp4", "fp8")


LANDSCAPE, COMPRESSOR, GPTQMODEL = "", "-llmcompressor", "-gptqmodel"
"""Ends of the names of folders, by the tool that writes them: they hold different models."""
CONV1D = "It quantizes linear layers alone, and this model's matrices are in transformers' Conv1D."


@dataclass(frozen=True)
class Original:
    """The model that a recipe quantizes, and what was measured of it."""

    model: str
    """Name that the user gave."""
    architecture: str = ""
    """``model_type`` of its configuration; empty if it is not known."""
    revision: str | None = None
    """Branch, tag or commit on the Hub that was asked for."""
    options: tuple[str, ...] = ()
    """Options of the command line for this model and the text."""
    slots: tuple[Slot, ...] = ()
    """The matrices that were measured; empty if they are not known."""
    outside: bool = False
    """True if blocks hold matrices that were not measured: routers, or those named by ``--exclude``."""

    @classmethod
    def of(cls, subject: SubjectInfo) -> Original:
        """Return the model of a run."""
        outside = any(each.kind != VECTORS for each in subject.coverage.outside)
        return cls(
            subject.model, subject.architecture, subject.revision, subject.options, subject.slots, outside=outside
        )

    @cached_property
    def source(self) -> ModelSource:
        """The model as other tools load it."""
        return model_source(self.model, self.revision)

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Names of the measured modules, as tools find them."""
        return tuple(dict.fromkeys(module for slot in self.slots for module in tool_modules(slot.name)))

    @property
    def conv1d(self) -> bool:
        """True if matrices are in transformers' Conv1D, which other tools do not treat as linear layers."""
        return any(slot.transposed and slot.stack is None for slot in self.slots)

    def ragged(self, block: int) -> tuple[str, ...]:
        """Return the modules whose inputs are no multiple of ``block``."""
        found = (module for slot in self.slots if slot.inputs % block for module in tool_modules(slot.name))
        return tuple(dict.fromkeys(found))

    def command(self, *words: str) -> str:
        """Write a command of landscape about this model, and on the text that was measured."""
        name, *others = words
        return shell_command(["landscape", name, "--model", self.model, *self.options, *others])

    def place(self, made: str) -> str:
        """Say how to measure what was made, since it is another point than the one that was."""
        return f"Measure what was made: {self.command('probe', '--point', f'shipped={made}')}"


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
    """Name the folder of the quantized model: ``Llama-3.2-1B-gptq-int4-absmax-per-group128``.

    Recipes add the end that names their tool.
    """
    return f"{model_name(model)}-{way}-{scheme}"


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


def raw(text: str) -> str:
    """Write an expression as Python reads it, with single backslashes where that is possible."""
    return f'r"{text}"' if '"' not in text and not text.endswith("\\") else repr(text)


def targets(modules: Iterable[str]) -> list[str]:
    """Write the lines of a list of expressions, with which compressed-tensors finds modules by name."""
    return [f"    {raw(f're:{each}')}," for each in module_patterns(modules)]


def left_out(named: Iterable[str]) -> Iterable[str]:
    """Write the rule of GPTQModel that leaves all modules as they are but these, whatever follows it."""
    *first, last = module_patterns(named)
    yield '    "-:(?!"'
    yield from (f"    {raw(pattern)}" for pattern in (*(f"{each}|" for each in first), last))
    yield '    ").*": {},'
