"""Write what to type in the tools that people ship with, for a plan that gives each matrix a bit width of its own.

As ``landscape.advice.recipes`` does for one grid, and read in the same sources; also ``dynamic_get`` in GPTQModel's
quantization/config.py (the first expression that matches a module counts, and ``BaseQuantizeConfig`` sorts those that
leave modules out before all others), ``get_dynamic_override`` in vLLM's
quantization/utils/gptq_utils.py (which matches the joined matrix), ``match_name`` in compressed-tensors' utils/match.py
and ``parse_tensor_type`` in llama.cpp's tools/quantize/quantize.cpp (expressions are searched for, in small letters).
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from landscape.advice.gguf_names import gguf_names
from landscape.advice.module_patterns import module_patterns
from landscape.advice.recipe import PostTraining, Recipe, call, lines, model_name
from landscape.advice.recipes import (
    C4,
    GGUF_SOURCE,
    NO_GPTQ,
    OUR_GPTQ,
    OWN_TEXT,
    compressor_notes,
    gguf_commands,
    gguf_type,
    gptqmodel_config,
    gptqmodel_notes,
    lm_eval,
    place,
    vllm_notes,
    weight_arguments,
)
from landscape.positions.fused_layers import engine_names, fused_groups
from quant.scheme import QuantScheme

PLAIN = 16
"""Width of a matrix that is left as it is."""
STACKED = {"gate_up_proj": ("gate_proj", "up_proj")}
"""Matrices that tools and files keep apart where transformers stacks experts."""
MIXED = (
    "{count} groups of matrices that vLLM and SGLang load as one have several widths here, which these cannot run: "
    "plan without --no-fused for them."
)


@dataclass(frozen=True)
class MixedGrids:
    """A plan of bits, with all that a recipe needs."""

    model: str
    """Name of the model on the Hub, or its folder."""
    architecture: str
    """``model_type`` of its configuration."""
    way: PostTraining
    """The method."""
    bits: Mapping[str, int]
    """Bit width of each matrix by its name; 16 where it is left as it is."""
    schemes: Mapping[int, QuantScheme]
    """The grid of each width but 16."""
    bits_per_weight: float
    """Mean over the weights, scales included."""

    @property
    def folder(self) -> str:
        """Name of what is made."""
        return f"{model_name(self.model)}-{self.way}-mixed-{self.bits_per_weight:.2f}bpw"

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of quantized matrices, widest first."""
        return tuple(sorted(set(self.bits.values()) - {PLAIN}, reverse=True))

    @property
    def modules(self) -> dict[str, int]:
        """The bit width of each module, as tools name them."""
        return {module: bits for name, bits in self.bits.items() for module in _modules(name)}

    @property
    def split_groups(self) -> int:
        """Number of groups of matrices that engines load as one, and that have several widths."""
        return sum(len({self.bits[name] for name in group}) > 1 for group in fused_groups(self.bits))


def plan_recipes(plan: MixedGrids) -> tuple[Recipe, ...]:
    """Write the recipes for a plan, each for another tool; the last one checks the result.

    Args:
        plan: The plan; if it leaves all matrices as they are, there is no recipe.
    """
    if not plan.widths:
        return ()
    return llm_compressor_plan(plan), gptqmodel_plan(plan), llama_cpp_plan(plan), lm_eval(plan.folder)


def llm_compressor_plan(plan: MixedGrids) -> Recipe:
    """Write a script for llm-compressor with a group of settings for each width, which names its modules."""
    calibrated = plan.way == "gptq"
    modifier = "GPTQModifier" if calibrated else "QuantizationModifier"
    code = [
        "from llmcompressor import oneshot",
        f"from llmcompressor.modifiers.quantization import {modifier}",
        "",
        "config_groups = {",
        *(line for bits in plan.widths for line in _config_group(plan, bits)),
        "}",
        *call(
            f"recipe = {modifier}",
            [
                "config_groups=config_groups",
                'ignore=["lm_head"]',
                *['actorder="static", dampening_frac=0.01'] * calibrated,
            ],
        ),
        *call(
            "oneshot",
            [
                f"model={plan.model!r}, recipe=recipe",
                *['dataset="open_platypus", splits="train", num_calibration_samples=512'] * calibrated,
                *["max_seq_length=2048"] * calibrated,
                f"output_dir={plan.folder!r}",
            ],
        ),
    ]
    schemes = [plan.schemes[bits] for bits in plan.widths]
    notes = [
        "A matrix that no expression matches stays in 16 bits.",
        *_each(note for scheme in schemes for note in (*compressor_notes(scheme), *vllm_notes(scheme))),
        *[f"GPTQ orders columns by the size of their inputs (actorder) and has one damping. {OUR_GPTQ}"] * calibrated,
        *[OWN_TEXT] * calibrated,
        *_split_notes(plan),
        place(plan.model, plan.folder),
    ]
    return Recipe("llm-compressor", "python", lines(code), tuple(notes))


def _config_group(plan: MixedGrids, bits: int) -> Iterable[str]:
    """Write the settings of one width."""
    yield f'    "int{bits}": {{'
    yield '        "targets": ['
    yield from (f"            {_raw(f're:{each}')}," for each in module_patterns(_of_width(plan.modules, bits)))
    yield "        ],"
    yield f'        "weights": {weight_arguments(plan.schemes[bits])!r},'
    yield "    },"


def gptqmodel_plan(plan: MixedGrids) -> Recipe:
    """Write a script for GPTQModel whose ``dynamic`` gives every module its width, and leaves out all others."""
    usual, _ = Counter(bits for bits in plan.bits.values() if bits != PLAIN).most_common(1)[0]
    config, options = gptqmodel_config(plan.way, plan.schemes[usual])
    calibrated, named = plan.way == "gptq", {**plan.modules, **_joined(plan)}
    code = [
        *["from datasets import load_dataset"] * calibrated,
        f"from gptqmodel import {', '.join(sorted(('GPTQModel', config)))}",
        "",
        "dynamic = {",
        *_left_out(named),
        *(
            f'    {_raw(f"+:{each}")}: {{"bits": {bits}}},'
            for bits in plan.widths
            for each in module_patterns(_of_width(named, bits))
        ),
        "}",
        *call(f"config = {config}", [*options, "dynamic=dynamic"]),
        f"model = GPTQModel.load({plan.model!r}, config)",
        *[*call("texts = load_dataset", C4), 'model.quantize(texts.select(range(1024))["text"])'] * calibrated,
        *["model.quantize(calibration=None)"] * (not calibrated),
        f"model.save({plan.folder!r})",
    ]
    notes = [
        "GPTQModel reads the expression that leaves modules out (-:) before all others, wherever it stands. Names such as "
        "qkv_proj are those that vLLM looks up.",
        *_each(note for bits in plan.widths for note in gptqmodel_notes(plan.way, plan.schemes[bits])),
        *[OWN_TEXT] * calibrated,
        *_split_notes(plan),
        place(plan.model, plan.folder),
    ]
    return Recipe("GPTQModel", "python", lines(code), tuple(notes))


def _left_out(named: Mapping[str, int]) -> Iterable[str]:
    """Write the rule that leaves all modules as they are but those that have a width."""
    yield '    "-:(?!"'
    each = module_patterns(module for module, bits in named.items() if bits != PLAIN)
    yield from (f"    {_raw(pattern if pattern is each[-1] else f'{pattern}|')}" for pattern in each)
    yield '    ").*": {},'


def _joined(plan: MixedGrids) -> dict[str, int]:
    """Return the widths of the modules into which engines join matrices of one width."""
    widths: dict[str, set[int]] = {}
    for name, bits in plan.bits.items():
        for joined in engine_names(name):
            widths.setdefault(joined, set()).add(bits)
    return {name: bits for name, (bits, *more) in widths.items() if not more}


def llama_cpp_plan(plan: MixedGrids) -> Recipe:
    """Write commands for llama.cpp with a type for each tensor, the nearest to its grid."""
    names = gguf_names(plan.architecture, plan.modules)
    if names is None:
        kind = f"the tensors of {plan.architecture}" if plan.architecture else "this model's tensors"
        return Recipe("llama.cpp", "shell", "", (f"The names of {kind} in GGUF are not known: gguf's map lacks some.",))
    widths: dict[str, set[int]] = {}
    for module, bits in plan.modules.items():
        widths.setdefault(names[module], set()).add(bits)
    if any(len(several) > 1 for several in widths.values()):
        why = "A GGUF file keeps all experts of a layer in one tensor, and this plan gives them several widths"
        return Recipe("llama.cpp", "shell", "", (f"{why}: plan without --no-fused.",))
    tensors = {name: bits for name, (bits,) in widths.items()}
    types = {bits: gguf_type(scheme).name for bits, scheme in plan.schemes.items() if bits in plan.widths}
    arguments = [
        f"{pattern}={types.get(bits, 'f16')}"
        for bits in sorted(set(tensors.values()), reverse=True)
        for pattern in module_patterns(_of_width(tensors, bits))
    ]
    weighed, made = plan.way == "gptq", f"{plan.folder}.gguf"
    options = [word for argument in arguments for word in ("--tensor-type", argument)]
    commands = gguf_commands(plan.model, made, options, "Q8_0", weighed)
    near = ", ".join(f"{name} for {bits} bits" for bits, name in types.items())
    notes = [
        f"These are the nearest types, not the same grids: {near}. Matrices outside the plan get Q8_0.",
        "Matrices whose inputs are no multiple of 256 get a larger type than one of the K types.",
        GGUF_SOURCE,
        *[NO_GPTQ] * weighed,
        place(plan.model, made),
    ]
    return Recipe("llama.cpp", "shell", lines(map(shlex.join, commands)), tuple(notes))


def _modules(name: str) -> tuple[str, ...]:
    """Return the modules that a tool finds for a matrix: two for the halves of an expert's."""
    module = name.removesuffix(".weight")
    stem, dot, leaf = module.rpartition(".")
    if ".experts." in module and leaf in STACKED:
        return tuple(f"{stem}{dot}{half}" for half in STACKED[leaf])
    return (module,)


def _of_width(modules: Mapping[str, int], bits: int) -> list[str]:
    return [module for module, own in modules.items() if own == bits]


def _split_notes(plan: MixedGrids) -> list[str]:
    return [MIXED.format(count=plan.split_groups)] if plan.split_groups else []


def _each(notes: Iterable[str]) -> tuple[str, ...]:
    """Return each note once."""
    return tuple(dict.fromkeys(notes))


def _raw(text: str) -> str:
    """Write an expression as Python reads it, with single backslashes where that is possible."""
    return f'r"{text}"' if '"' not in text and not text.endswith("\\") else repr(text)
