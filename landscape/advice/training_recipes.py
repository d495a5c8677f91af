"""Write recipes for training with quantization in the loop (QAFT).

llm-compressor does not train any more, and GPTQModel and llama.cpp never did. Read in the source of torchao 0.18.0
(quantization/qat/api.py, qat/fake_quantize_config.py, quant_api.py) and run with it.
"""

from __future__ import annotations

import shlex

from landscape.advice.recipe import Recipe, Scheme, call, code_notes, float_format, lines, output_name
from quant.scheme import QuantScheme

AS_TRAINED = (
    "The folder holds float32 weights that lie on the grid, for transformers; their codes and scales are in codes/.",
    "Do not round it again: other tools find scales of their own, and what was trained is lost.",
    "Missing: no tool that we know packs these codes as they are, so that the folder is as large as float32.",
)


def train_here(model: str, scheme: Scheme) -> Recipe:
    """Write the command with which landscape itself trains a point and exports it.

    Args:
        model: See ``landscape.advice.recipes.recipes``.
        scheme: See ``landscape.advice.recipes.recipes``.
    """
    if not isinstance(scheme, QuantScheme) or float_format(scheme):
        return Recipe("landscape", "shell", "", (f"QAFT on {scheme} is missing.",))
    words = ["landscape", "quantize", "--model", model, "--method", "qaft", "--bits", str(scheme.bits)]
    words += ["--scale", scheme.scale, "--granularity", scheme.granularity]
    words += ["--no-symmetric"] * (not scheme.symmetric)
    words += ["--export", output_name(model, "qaft", scheme)]
    return Recipe("landscape", "shell", lines([shlex.join(words)]), AS_TRAINED)


def torchao(model: str, scheme: Scheme) -> Recipe:
    """Write a frame for training with torchao, which rounds weights in the forward pass as landscape does.

    Args:
        model: See ``landscape.advice.recipes.recipes``.
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
    shared = f"PerGroup({scheme.group})" if scheme.group else "PerAxis(0)"
    code = [
        "import torch",
        f"from torchao.quantization import IntxWeightOnlyConfig, {shared.partition('(')[0]}, quantize_",
        "from torchao.quantization.qat import QATConfig",
        "from transformers import AutoModelForCausalLM",
        "",
        "",
        "def in_block(module, name):",
        '    return isinstance(module, torch.nn.Linear) and not name.endswith("lm_head")',
        "",
        "",
        f'model = AutoModelForCausalLM.from_pretrained({model!r}, dtype="float32")',
        *call("grid = IntxWeightOnlyConfig", [f"weight_dtype=torch.int{scheme.bits}, granularity={shared}"]),
        'quantize_(model, QATConfig(grid, step="prepare"), in_block)',
        "# train here, with a loop of your own",
        'quantize_(model, QATConfig(grid, step="convert"), in_block)',
    ]
    notes = [
        *code_notes(scheme),
        "At every step the scale follows the largest weight; landscape's QAFT keeps that of RTN, or learns it.",
        *[f"The scale {scheme.scale} is missing."] * (scheme.scale != "absmax"),
        *["One scale per tensor is missing: PerAxis(0) has one per output channel."] * (scheme.granularity == "tensor"),
        "What it saves is a torchao model: for compressed-tensors or GGUF it would be rounded again.",
    ]
    return Recipe("torchao", "python", lines(code), tuple(notes))


def _not_in_torchao(why: str) -> Recipe:
    return Recipe("torchao", "python", "", (why,))
