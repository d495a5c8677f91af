"""Write what to type in the tools that people ship with, once ``landscape advise`` has named a method and a grid.

A recipe is text with notes: it says where the tool's grid differs from the one that was measured. Nothing is run here.

Read in the sources of: llm-compressor 0.14.0.1 (modifiers/gptq/base.py, modifiers/quantization/quantization/mixin.py,
entrypoints/oneshot.py, observers/mse_quant.py); compressed-tensors 0.20.0 (quantization/quant_args.py, quant_scheme.py,
utils/helpers.py); GPTQModel 7.7.0 (gptqmodel/quantization/config.py, quantizer.py, rtn.py, README.md); lm_eval 0.4.13
(_cli/run.py); ggml-org/llama.cpp (tools/quantize, tools/imatrix, src/llama-quant.cpp); vllm-project/vllm
(compressed_tensors.py, schemes/compressed_tensors_wNa16.py, gptq.py in model_executor/layers/quantization).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Literal

from landscape.advice.gguf_types import GGUFType, gguf_named, gguf_of_grid
from landscape.advice.recipe import (
    PostTraining,
    Recipe,
    Scheme,
    Way,
    call,
    code_notes,
    float_format,
    granularity,
    lines,
    model_name,
    output_name,
)
from landscape.advice.training_recipes import torchao, train_here
from quant.scheme import QuantScheme

PRESETS = {"nvfp4": "NVFP4A16", "mxfp4": "MXFP4A16"}
"""Presets of compressed-tensors that round the weights alone to a format."""
SEARCH = {"norm": 2.0, "maxshrink": 0.8, "patience": 80}
"""Options of llm-compressor's observer ``mse``: 80 ranges, down to a fifth of the widest, by squared error. By default
it shrinks by a fifth at most, which is too little for 2 and 3 bits, and minimizes |error|^2.4."""
CONFIG_GROUPS = 'config_groups={"blocks": {"targets": ["Linear"], "weights": weights}}'
GROUPS = (16, 32, 64, 128, 256, 512, 1024)
"""Sizes of groups for which GPTQModel has kernels."""
VLLM_GPTQ, VLLM_MARLIN = (2, 3, 4, 8), (4, 8)
"""Bit widths of GPTQ's format that vLLM reads, and those of compressed-tensors that it reads in all versions."""
C4 = ('"allenai/c4", data_files="en/c4-train.00001-of-01024.json.gz"', 'split="train"')
"""Arguments of ``load_dataset`` for the text in GPTQModel's README."""
OWN_TEXT = "The calibration text is the tool's own example: take text like that which the model will see."
GGUF_SOURCE = "convert_hf_to_gguf.py reads a folder: download the model first."
FP8_ALONE = (
    "GPTQModel alone runs this folder: its scales divide the numbers, where those of others multiply them under the same "
    "name, and vLLM finds no activation_scheme in it. landscape reads both."
)
NO_GPTQ = "llama.cpp has no GPTQ: an importance matrix weighs the squared error of each input."
OUR_GPTQ = "landscape's GPTQ keeps the order of columns and tries eight dampings, unless its options say otherwise."


def recipes(model: str, way: Way, scheme: Scheme) -> tuple[Recipe, ...]:
    """Write the recipes for a method on a grid, each for another tool; the last one checks the result.

    Args:
        model: Name of the model on the Hub, or its folder.
        way: The method.
        scheme: The grid, or the name of a float format.
    """
    check = lm_eval(output_name(model, way, scheme))
    if way == "qaft":
        return train_here(model, scheme), torchao(model, scheme), check
    return llm_compressor(model, way, scheme), gptqmodel(model, way, scheme), llama_cpp(model, way, scheme), check


def llm_compressor(model: str, way: PostTraining, scheme: Scheme) -> Recipe:
    """Write a script for llm-compressor, whose folders vLLM and transformers read.

    Args:
        model: See ``recipes``.
        way: See ``recipes``.
        scheme: See ``recipes``.
    """
    calibrated = way == "gptq"
    modifier = "GPTQModifier" if calibrated else "QuantizationModifier"
    preset = PRESETS.get(float_format(scheme) or "")
    arguments = {} if preset else weight_arguments(scheme)
    code = [
        "from llmcompressor import oneshot",
        f"from llmcompressor.modifiers.quantization import {modifier}",
        "",
        *(call("weights = dict", (f"{name}={value!r}" for name, value in arguments.items())) if arguments else []),
        *call(
            f"recipe = {modifier}",
            [
                f'targets=["Linear"], scheme="{preset}"' if preset else CONFIG_GROUPS,
                'ignore=["lm_head", "re:.*mlp.gate$"]',  # the head and routers, which are not measured either
                *['actorder="static", dampening_frac=0.01'] * calibrated,
            ],
        ),
        *call(
            "oneshot",
            [
                f"model={model!r}, recipe=recipe",
                *['dataset="open_platypus", splits="train", num_calibration_samples=512'] * calibrated,
                *["max_seq_length=2048"] * calibrated,
                f"output_dir={output_name(model, way, scheme)!r}",
            ],
        ),
    ]
    ordered = "GPTQ orders columns by the size of their inputs (actorder) and has one damping."
    notes = [
        *compressor_notes(scheme),
        *vllm_notes(scheme),
        *[f"{ordered} {OUR_GPTQ}", OWN_TEXT] * calibrated,
        place(model, output_name(model, way, scheme)),
    ]
    return Recipe("llm-compressor", "python", lines(code), tuple(notes))


def weight_arguments(scheme: Scheme) -> dict[str, object]:
    """Return the arguments of compressed-tensors' ``QuantizationArgs`` that come nearest to an integer grid or FP8."""
    kind, _, group = granularity(scheme).partition(":")
    shared: dict[str, object] = {"strategy": kind, **({"group_size": int(group)} if group else {})}
    if not isinstance(scheme, QuantScheme) or float_format(scheme):
        return {"num_bits": 8, "type": "float", "symmetric": True, **shared}
    search = {"observer": "minmax"} if scheme.scale == "absmax" else {"observer": "mse", "observer_kwargs": SEARCH}
    return {"num_bits": scheme.bits, "type": "int", "symmetric": scheme.symmetric, **shared, **search}


def compressor_notes(scheme: Scheme) -> Iterable[str]:
    """Say how llm-compressor's grid differs from the one that was measured."""
    name = float_format(scheme)
    if name == "fp8":
        yield "FP8_DYNAMIC, which people ship, has these weights per channel, and rounds activations too."
    elif name == "nvfp4":
        yield "q, k, v and gate, up share the scale of their whole tensors, because vLLM joins these matrices."
    elif isinstance(scheme, QuantScheme) and not name:
        yield from code_notes(scheme)
        if scheme.scale != "absmax":
            yield f"Its scale is the best of 80 by squared error; landscape's {scheme.scale} searches otherwise."
        if scheme.group is not None:
            yield f"The inputs of each matrix must be a multiple of {scheme.group}: add those that are not to ignore."


def vllm_notes(scheme: Scheme) -> Iterable[str]:
    """Say which integer grids vLLM cannot run, or only in recent versions."""
    if float_format(scheme) or not isinstance(scheme, QuantScheme):
        return
    if scheme.granularity == "tensor":
        yield "vLLM runs integer weights with scales per channel or group alone: use transformers, or measure those."
    elif scheme.bits not in VLLM_MARLIN and not scheme.symmetric:
        yield f"vLLM has no kernel for zero points at {scheme.bits} bits: use transformers, or a symmetric grid."
    elif scheme.bits not in VLLM_MARLIN:
        yield f"vLLM runs {scheme.bits} bits in recent versions alone, with Humming kernels."


def gptqmodel(model: str, way: PostTraining, scheme: Scheme) -> Recipe:
    """Write a script for GPTQModel, whose folders vLLM, SGLang and transformers read.

    Args:
        model: See ``recipes``.
        way: See ``recipes``.
        scheme: See ``recipes``.
    """
    config, options = gptqmodel_config(way, scheme)
    if not config:
        return Recipe("GPTQModel", "python", "", (f"It has no {way.upper()} on {scheme}.",))
    calibrated, made = way == "gptq", output_name(model, way, scheme)
    code = [
        *["from datasets import load_dataset"] * calibrated,
        f"from gptqmodel import {', '.join(sorted(('GPTQModel', config)))}",
        "",
        *call(f"config = {config}", options),
        f"model = GPTQModel.load({model!r}, config)",
        *[*call("texts = load_dataset", C4), 'model.quantize(texts.select(range(1024))["text"])'] * calibrated,
        *["model.quantize(calibration=None)"] * (not calibrated),
        f"model.save({made!r})",
    ]
    read = not isinstance(scheme, QuantScheme) or scheme.bits in VLLM_GPTQ
    notes = [*gptqmodel_notes(way, scheme), *[OWN_TEXT] * calibrated, *[place(model, made)] * read]
    return Recipe("GPTQModel", "python", lines(code), tuple(notes))


def gptqmodel_config(way: PostTraining, scheme: Scheme) -> tuple[str, list[str]]:
    """Return the class of the configuration, empty where there is none, and its arguments."""
    name = float_format(scheme)
    if name == "fp8" and way == "rtn":
        rows = "tensor" if granularity(scheme) == "tensor" else "row"
        return "FP8Config", [f'format="float8_e4m3fn", weight_scale_method="{rows}"']
    if name or not isinstance(scheme, QuantScheme):
        return "", []
    grid = f"bits={scheme.bits}, group_size={scheme.group or -1}, sym={scheme.symmetric}"
    if way == "rtn":
        return "RTNConfig", [grid]
    search = ["mse=2.0"] * (scheme.scale != "absmax")
    return "QuantizeConfig", [grid, "desc_act=False, act_group_aware=True, damp_percent=0.05", *search]


def gptqmodel_notes(way: PostTraining, scheme: Scheme) -> Iterable[str]:
    """Say how GPTQModel's grid and method differ from what was measured."""
    if float_format(scheme) == "fp8":
        yield FP8_ALONE
    if float_format(scheme) or not isinstance(scheme, QuantScheme):
        return
    yield from code_notes(scheme)
    if scheme.scale != "absmax":
        found = "is the best of 80 by squared error (mse)" if way == "gptq" else "clips nothing"
        yield f"Its scale {found}; landscape's {scheme.scale} searches otherwise."
    if scheme.granularity == "tensor":
        yield "One scale per tensor is missing: group_size=-1 has one per output channel."
    if scheme.group is not None and scheme.group not in GROUPS:
        yield f"It has no kernel for groups of {scheme.group}: take {', '.join(map(str, GROUPS))}."
    if scheme.bits not in VLLM_GPTQ:
        yield f"{scheme.bits} bits are stored in a layout of its own, gptq_p, which neither vLLM nor landscape reads."
    if way == "gptq":
        yield f"GPTQ orders columns within groups (act_group_aware), and starts with a damping of 0.05. {OUR_GPTQ}"


def llama_cpp(model: str, way: PostTraining, scheme: Scheme) -> Recipe:
    """Write commands for llama.cpp, with the tensor type nearest to a grid.

    Args:
        model: See ``recipes``.
        way: See ``recipes``; for GPTQ an importance matrix weighs the inputs, which is the nearest to it there.
        scheme: See ``recipes``.
    """
    kind = gguf_type(scheme)
    made = f"{model_name(model)}-{kind.name}.gguf"
    weighed = way == "gptq"
    whole = ["--pure"]
    if kind.name == "MXFP4":  # as the type of a file it would leave all but experts in Q8_0
        whole = ["--tensor-type", "blk=mxfp4"]
    argument = "Q8_0" if kind.name == "MXFP4" else kind.name
    commands = gguf_commands(model, made, whole, argument, weighed)
    size = f"{kind.bits_per_weight:g} bits per weight and a scale for {kind.group} weights"
    notes = [
        f"{kind.name} is the nearest type, not the same grid: {size}, where {scheme} was measured.",
        "Embedding and head stay in 16 bits, as they were measured. The mixes that people ship, such as Q4_K_M without "
        "these options, spend more bits on some matrices, and fewer on embedding and head.",
        f"Matrices whose inputs are no multiple of {kind.block} get a larger type.",
        GGUF_SOURCE,
        *[NO_GPTQ] * weighed,
        place(model, made),
    ]
    return Recipe("llama.cpp", "shell", lines(map(shlex.join, commands)), tuple(notes))


def gguf_commands(model: str, made: str, types: list[str], argument: str, weighed: bool) -> list[list[str]]:
    """Return the commands that convert, quantize and try a model, with embedding and head left in 16 bits.

    Args:
        model: See ``recipes``.
        made: File to write.
        types: Options of llama-quantize that say which tensors get which type.
        argument: Type of the file.
        weighed: Whether an importance matrix weighs the inputs.
    """
    plain = f"{model_name(model)}-f16.gguf"
    kept = ["--leave-output-tensor", "--token-embedding-type", "f16"]
    return [
        ["python", "convert_hf_to_gguf.py", model, "--outtype", "f16", "--outfile", plain],
        *[["llama-imatrix", "-m", plain, "-f", "calibration.txt", "-o", "imatrix.gguf"]] * weighed,
        ["llama-quantize", *types, *kept, *["--imatrix", "imatrix.gguf"] * weighed, plain, made, argument],
        ["llama-perplexity", "-m", made, "-f", "test.txt"],
    ]


def gguf_type(scheme: Scheme) -> GGUFType:
    """Return the tensor type of llama.cpp that is nearest to a grid; MXFP4 for both 4-bit floats."""
    name = float_format(scheme)
    if name or not isinstance(scheme, QuantScheme):
        return gguf_named("Q8_0" if name == "fp8" else "MXFP4")
    return gguf_of_grid(scheme.bits, scheme.symmetric)


def lm_eval(folder: str, backend: Literal["hf", "vllm"] = "hf") -> Recipe:
    """Write the command that checks a quantized model on benchmarks.

    Args:
        folder: Folder of the model.
        backend: Library that runs it.
    """
    words = ["lm_eval", "--model", backend, "--model_args", f"pretrained={folder},dtype=auto"]
    words += ["--tasks", "wikitext,arc_easy,hellaswag", "--batch_size", "auto"]
    notes = (
        "Run it on the original model too: only the difference counts, and benchmarks are noisy.",
        "Its perplexities are of words and bytes in whole articles; landscape's, of tokens in windows, are others.",
        f'pip install "lm_eval[{backend}]", and for its folders compressed-tensors or gptqmodel.',
    )
    return Recipe("lm_eval", "shell", lines([shlex.join(words)]), notes)


def place(model: str, made: str) -> str:
    """Say how to measure what was made, since it is another point than the one that was."""
    return (
        f"Measure what was made: {shlex.join(['landscape', 'probe', '--model', model, '--point', f'shipped={made}'])}"
    )
