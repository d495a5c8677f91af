"""Write what to type in the tools that people ship with, for a plan that gives each matrix a bit width of its own.

As ``landscape.advice.recipes`` does for one grid, and read in the same sources; also ``dynamic_get`` in GPTQModel's
quantization/config.py (the first expression that matches a module counts, and ``BaseQuantizeConfig`` sorts those that
leave modules out before all others), ``get_dynamic_override`` in vLLM's
quantization/utils/gptq_utils.py (which matches the joined matrix), ``match_name`` in compressed-tensors' utils/match.py
and ``parse_tensor_type`` in llama.cpp's tools/quantize/quantize.cpp (expressions are searched for, in small letters).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from landscape.advice.gguf_names import gguf_names
from landscape.advice.gguf_recipes import (
    LEAST_BLOCK,
    NO_GPTQ,
    gguf_commands,
    gguf_type,
    ragged_notes,
    tensor_types,
    unknown_names,
)
from landscape.advice.gguf_types import GGUFType
from landscape.advice.model_source import model_name
from landscape.advice.module_patterns import module_patterns, tool_modules
from landscape.advice.recipe import (
    COMPRESSOR,
    CONV1D,
    GPTQMODEL,
    Original,
    PostTraining,
    Recipe,
    left_out,
    lines,
    raw,
    targets,
)
from landscape.advice.recipes import (
    GPTQ_BITS,
    ORDERED,
    OWN_TEXT,
    VLLM_MARLIN,
    compressor_notes,
    gptqmodel_code,
    gptqmodel_config,
    gptqmodel_notes,
    lm_eval,
    oneshot,
    reads,
    vllm_notes,
    weight_arguments,
)
from landscape.positions.fused_layers import engine_names, fused_groups
from quant.printable import shell_command
from quant.scheme import QuantScheme

PLAIN = 16
"""Width of a matrix that is left as it is."""
OUR_GPTQ = "landscape's GPTQ keeps the order of columns and tries eight dampings, unless its options say otherwise."
PLANAR = (
    "One layer of {widths} bits puts the whole checkpoint into a layout of GPTQModel's own, gptq_p, which neither vLLM "
    "nor landscape reads: plan with 8, 4, 3 or 2 bits for them."
)
NOT_MARLIN = (
    "vLLM refuses a plan that has 2 or 3 bits beside 4 or 8: its GPTQ runs symmetric grids of 4 and 8 bits, and other "
    "widths in older versions, where most matrices have them."
)
MIXED = (
    "{count} groups of matrices that vLLM and SGLang load as one have several widths here, which these cannot run: "
    "plan without --no-fused for them."
)


@dataclass(frozen=True)
class MixedGrids:
    """A plan of bits, with all that a recipe needs."""

    original: Original
    """The model."""
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
        return f"{model_name(self.original.model)}-{self.way}-mixed-{self.bits_per_weight:.2f}bpw"

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of quantized matrices, widest first."""
        return tuple(sorted(set(self.bits.values()) - {PLAIN}, reverse=True))

    @property
    def modules(self) -> dict[str, int]:
        """The bit width of each module, as tools name them."""
        return {module: bits for name, bits in self.bits.items() for module in tool_modules(name)}

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
    shipped = {COMPRESSOR: llm_compressor_plan(plan), GPTQMODEL: gptqmodel_plan(plan)}
    check = lm_eval({recipe.tool: plan.folder + end for end, recipe in shipped.items() if recipe.code})
    return *shipped.values(), llama_cpp_plan(plan), check


def llm_compressor_plan(plan: MixedGrids) -> Recipe:
    """Write a script for llm-compressor with a group of settings for each width, which names its modules."""
    if plan.original.conv1d:
        return Recipe("llm-compressor", "python", "", (CONV1D,))
    calibrated, made = plan.way == "gptq", plan.folder + COMPRESSOR
    groups = ["config_groups = {", *(line for bits in plan.widths for line in _config_group(plan, bits)), "}"]
    grid = ["config_groups=config_groups", 'ignore=["lm_head"]']
    schemes = [plan.schemes[bits] for bits in plan.widths]
    notes = [
        *plan.original.source.notes,
        "A matrix that no expression matches stays in 16 bits.",
        *_each(note for scheme in schemes for note in (*compressor_notes(plan.original, scheme), *vllm_notes(scheme))),
        *[f"{ORDERED} {OUR_GPTQ}", OWN_TEXT] * calibrated,
        *_split_notes(plan),
        plan.original.place(made),
    ]
    return Recipe("llm-compressor", "python", oneshot(plan.original, calibrated, groups, grid, made), tuple(notes))


def _config_group(plan: MixedGrids, bits: int) -> Iterable[str]:
    """Write the settings of one width."""
    yield f'    "int{bits}": {{'
    yield '        "targets": ['
    yield from (f"        {line}" for line in targets(_of_width(plan.modules, bits)))
    yield "        ],"
    yield f'        "weights": {weight_arguments(plan.schemes[bits])!r},'
    yield "    },"


def gptqmodel_plan(plan: MixedGrids) -> Recipe:
    """Write a script for GPTQModel whose ``dynamic`` gives every module its width, and leaves out all others."""
    usual, _ = Counter(bits for bits in plan.bits.values() if bits != PLAIN).most_common(1)[0]
    config, options = gptqmodel_config(plan.way, plan.schemes[usual])
    calibrated, made, named = plan.way == "gptq", plan.folder + GPTQMODEL, {**plan.modules, **_joined(plan)}
    rules = [
        "dynamic = {",
        *left_out([module for module, bits in named.items() if bits != PLAIN]),
        *(
            f'    {raw(f"+:{each}")}: {{"bits": {bits}}},'
            for bits in plan.widths
            for each in module_patterns(_of_width(named, bits))
        ),
        "}",
    ]
    schemes = [plan.schemes[bits] for bits in plan.widths]
    notes = [
        *plan.original.source.notes,
        "GPTQModel reads the expression that leaves modules out (-:) before all others, wherever it stands. Names such "
        "as qkv_proj are those that vLLM looks up.",
        *_width_notes(plan),
        *_each(note for scheme in schemes for note in gptqmodel_notes(plan.way, scheme, OUR_GPTQ)),
        *[OWN_TEXT] * calibrated,
        *_split_notes(plan),
        *[plan.original.place(made)] * reads(schemes),
    ]
    code = gptqmodel_code(plan.original, config, [*options, "dynamic=dynamic"], rules, calibrated, made)
    return Recipe("GPTQModel", "python", code, tuple(notes))


def _width_notes(plan: MixedGrids) -> list[str]:
    """Say what the widths of a plan do to the whole checkpoint of GPTQModel."""
    planar = [str(bits) for bits in plan.widths if bits not in GPTQ_BITS]
    if planar:
        return [PLANAR.format(widths=" or ".join(planar))]
    marlin = {bits in VLLM_MARLIN for bits in plan.widths}
    return [NOT_MARLIN] if len(marlin) == 2 else []


def _joined(plan: MixedGrids) -> dict[str, int]:
    """Return the widths of the modules into which engines join matrices of one width."""
    widths: dict[str, set[int]] = {}
    for name, bits in plan.bits.items():
        for joined in engine_names(name):
            widths.setdefault(joined, set()).add(bits)
    return {name: bits for name, (bits, *more) in widths.items() if not more}


def llama_cpp_plan(plan: MixedGrids) -> Recipe:
    """Write commands for llama.cpp with a type for each tensor, the nearest to its grid."""
    original = plan.original
    names = gguf_names(original.architecture, plan.modules)
    if names is None:
        return unknown_names(original)
    widths: dict[str, set[int]] = {}
    for module, bits in plan.modules.items():
        widths.setdefault(names[module], set()).add(bits)
    if any(len(several) > 1 for several in widths.values()):
        why = "A GGUF file keeps all experts of a layer in one tensor, and this plan gives them several widths"
        return Recipe("llama.cpp", "shell", "", (f"{why}: plan without --no-fused.",))
    tensors = sorted(((name, bits) for name, (bits,) in widths.items()), key=lambda tensor: -tensor[1])
    kinds = {bits: gguf_type(plan.schemes[bits]) for bits in plan.widths}
    stopped = {names[module] for module in original.ragged(LEAST_BLOCK) if module in names}
    types = {name: _type(kinds.get(bits), name in stopped) for name, bits in tensors}
    weighed, made = plan.way == "gptq", f"{plan.folder}.gguf"
    commands = gguf_commands(original, made, tensor_types(types), "Q8_0", weighed)
    near = ", ".join(f"{kind.name} for {bits} bits" for bits, kind in kinds.items())
    notes = [
        *original.source.notes,
        f"These are the nearest types, not the same grids: {near}. Matrices outside the plan get Q8_0.",
        *(note for bits, kind in kinds.items() for note in _ragged_notes(plan, bits, kind)),
        *[NO_GPTQ] * weighed,
        original.place(made),
    ]
    return Recipe("llama.cpp", "shell", lines(map(shell_command, commands)), tuple(notes))


def _type(kind: GGUFType | None, ragged: bool) -> str:
    """Return the type of a tensor, None of which leaves it as it is; so does one whose blocks do not fit."""
    return "f16" if kind is None or (ragged and kind.block == LEAST_BLOCK) else kind.name


def _ragged_notes(plan: MixedGrids, bits: int, kind: GGUFType) -> list[str]:
    own = set(_of_width(plan.modules, bits))
    ragged = tuple(module for module in plan.original.ragged(kind.block) if module in own)
    return ragged_notes(kind, ragged, bool(plan.original.slots))


def _of_width(modules: Mapping[str, int], bits: int) -> list[str]:
    return [module for module, own in modules.items() if own == bits]


def _split_notes(plan: MixedGrids) -> list[str]:
    return [MIXED.format(count=plan.split_groups)] if plan.split_groups else []


def _each(notes: Iterable[str]) -> tuple[str, ...]:
    """Return each note once."""
    return tuple(dict.fromkeys(notes))
