"""Write recipes for training with quantization in the loop (QAFT).

llm-compressor does not train any more, and GPTQModel and llama.cpp never did. Read in the source of torchao 0.18.0
(quantization/qat/api.py, qat/fake_quantize_config.py, quant_api.py) and run with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from landscape.advice.module_patterns import module_patterns
from landscape.advice.recipe import (
    CONV1D,
    LANDSCAPE,
    Original,
    Recipe,
    Scheme,
    call,
    code_notes,
    float_format,
    lines,
    output_name,
    raw,
)
from quant.scheme import QuantScheme

STACKED_EXPERTS = "Experts that transformers stacks are no linear layers: torchao leaves them as they are."
AS_TRAINED = (
    "The folder holds float32 weights that lie on the grid, for transformers; their codes and scales are in codes/.",
    "Do not round it again: other tools find scales of their own, and what was trained is lost.",
    "Missing: no tool that we know packs these codes as they are, so that the folder is as large as float32.",
)


def train_here(original: Original, scheme: Scheme) -> Recipe:
    """Write the command with which landscape itself trains a point and exports it.

    Args:
        original: See ``landscape.advice.recipes.recipes``.
        scheme: See ``landscape.advice.recipes.recipes``.
    """
    words = ["quantize", "--method", "qaft", "--bits"]
    if isinstance(scheme, QuantScheme) and not float_format(scheme):
        words += [str(scheme.bits), "--scale", scheme.scale, "--granularity", scheme.granularity]
        words += ["--no-symmetric"] * (not scheme.symmetric)
    else:  # a float format has no other scale
        words += [str(scheme)]
    words += ["--export", output_name(original.model, "qaft", scheme) + LANDSCAPE]
    return Recipe("landscape", "shell", lines([original.command(*words)]), AS_TRAINED)


def torchao(original: Original, scheme: Scheme) -> Recipe:
    """Write a frame for training with torchao, which rounds weights in the forward pass as landscape does.

    Args:
        original: See ``landscape.advice.recipes.recipes``.
        scheme: See ``landscape.advice.recipes.recipes``.
    """
    if not isinstance(scheme, QuantScheme) or float_format(scheme):
        return _not_in_torchao(
            f"It trains {scheme} only with rounded activations too, which landscape does not measure."
        )
    if not scheme.symmetric:  # seen with 0.18.0: the converted model's outputs are others at 2 to 8 bits
        return _not_in_torchao(
            "It converts an asymmetric grid to other weights than those it trained: take a symmetric one."
        )
    if original.conv1d:
        return _not_in_torchao(CONV1D)
    source = original.source
    revision = f", revision={source.revision!r}" if source.revision else ""
    measured = 'not name.endswith("lm_head")'
    if original.modules:
        measured = "re.match(MEASURED, name) is not None"
    shared = f"PerGroup({scheme.group})" if scheme.group else "PerAxis(0)"
    code = [
        *["import re", ""] * bool(original.modules),
        "import torch",
        f"from torchao.quantization import IntxWeightOnlyConfig, {shared.partition('(')[0]}, quantize_",
        "from torchao.quantization.qat import QATConfig",
        "from transformers import AutoModelForCausalLM",
        *(["", "MEASURED = (", *_alternatives(original.modules), ")"] if original.modules else []),
        "",
        "",
        "def in_block(module, name):",
        f"    return isinstance(module, torch.nn.Linear) and {measured}",
        "",
        "",
        f'model = AutoModelForCausalLM.from_pretrained({source.name!r}{revision}, dtype="float32")',
        *call("grid = IntxWeightOnlyConfig", [f"weight_dtype=torch.int{scheme.bits}, granularity={shared}"]),
        'quantize_(model, QATConfig(grid, step="prepare"), in_block)',
        "# train here, with a loop of your own",
        'quantize_(model, QATConfig(grid, step="convert"), in_block)',
    ]
    notes = [
        *source.notes,
        *code_notes(scheme),
        "At every step the scale follows the largest weight; landscape's QAFT keeps that of RTN, or learns it.",
        *[f"The scale {scheme.scale} is missing."] * (scheme.scale != "absmax"),
        *["One scale per tensor is missing: PerAxis(0) has one per output channel."] * (scheme.granularity == "tensor"),
        *[STACKED_EXPERTS] * any(slot.stack is not None for slot in original.slots),
        "What it saves is a torchao model: for compressed-tensors or GGUF it would be rounded again.",
    ]
    return Recipe("torchao", "python", lines(code), tuple(notes))


def _alternatives(modules: Iterable[str]) -> Iterable[str]:
    """Write the parts of an expression that matches any of these names."""
    *first, last = module_patterns(modules)
    return (f"    {raw(each)}" for each in (*(f"{pattern}|" for pattern in first), last))


def _not_in_torchao(why: str) -> Recipe:
    return Recipe("torchao", "python", "", (why,))
