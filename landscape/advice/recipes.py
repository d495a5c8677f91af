"""Write what to type in the tools that people ship with, once ``landscape advise`` has named a method and a grid.

A recipe is text with notes: it says where the tool's grid differs from the one that was measured. Nothing is run here.

Read in the sources of: llm-compressor 0.14.0.1 (modifiers/gptq/base.py, modifiers/quantization/quantization/mixin.py,
entrypoints/oneshot.py, observers/mse_quant.py); compressed-tensors 0.20.0 (quantization/quant_args.py, quant_scheme.py,
utils/helpers.py); GPTQModel 7.7.0 (gptqmodel/quantization/config.py, quantizer.py, rtn.py, README.md); lm_eval 0.4.13
(_cli/run.py); vllm-project/vllm (compressed_tensors.py, schemes/compressed_tensors_wNa16.py, fp8.py, gptq.py and
gptq_marlin.py in model_executor/layers/quantization). Those of llama.cpp are in ``landscape.advice.gguf_recipes``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from landscape.advice.gguf_recipes import llama_cpp
from landscape.advice.module_patterns import module_patterns
from landscape.advice.recipe import (
    COMPRESSOR,
    CONV1D,
    GPTQMODEL,
    LANDSCAPE,
    Original,
    PostTraining,
    Recipe,
    Scheme,
    Way,
    call,
    code_notes,
    float_format,
    granularity,
    left_out,
    lines,
    output_name,
    targets,
)
from landscape.advice.training_recipes import torchao, train_here
from landscape.positions.fused_layers import engine_names
from quant.printable import shell_command
from quant.scheme import QuantScheme

PRESETS = {"nvfp4": "NVFP4A16", "mxfp4": "MXFP4A16"}
"""Presets of compressed-tensors that round the weights alone to a format."""
SEARCH = {"norm": 2.0, "maxshrink": 0.8, "patience": 80}
"""Options of llm-compressor's observer ``mse``: 80 ranges, down to a fifth of the widest, by squared error. By default
it shrinks by a fifth at most, which is too little for 2 and 3 bits, and minimizes |error|^2.4."""
LINEAR = (
    "This run kept no names of matrices: all linear layers but the head and routers are quantized, measured or not."
)
GROUPS = (16, 32, 64, 128, 256, 512, 1024)
"""Sizes of groups for which GPTQModel has kernels."""
GPTQ_BITS, VLLM_MARLIN = (2, 3, 4, 8), (4, 8)
"""Bit widths of GPTQ's format, and those that vLLM reads in all versions, in compressed-tensors too."""
C4 = ('"allenai/c4", data_files="en/c4-train.00001-of-01024.json.gz"', 'split="train"')
"""Arguments of ``load_dataset`` for the text in GPTQModel's README."""
ORDERED = "GPTQ orders columns by the size of their inputs (actorder) and has one damping."
OWN_TEXT = "The calibration text is the tool's own example: take text like that which the model will see."
DYNAMIC = "The expression after -: leaves all modules as they are that were not measured."
FP8_ALONE = (
    "GPTQModel alone runs this folder: its scales divide the numbers, where those of others multiply them under the "
    "same name, and vLLM finds no activation_scheme in it. landscape reads both."
)
LOADED_DTYPE = (
    "llm-compressor computes scales in the dtype in which it loads the model, mostly bfloat16; those that were "
    "measured are of float32."
)


def trial_words(scheme: Scheme) -> str:
    """Say how ``landscape advise`` tries GPTQ: see ``landscape.advice.trials``."""
    order = "in their own order" if granularity(scheme) == "tensor" else "ordered by the size of their inputs"
    return f"landscape advise tries GPTQ with all columns {order} and one damping, 0.01."


def recipes(original: Original, way: Way, scheme: Scheme) -> tuple[Recipe, ...]:
    """Write the recipes for a method on a grid, each for another tool; the last one checks the result.

    Args:
        original: The model, and what was measured of it.
        way: The method.
        scheme: The grid, or the name of a float format.
    """
    made = output_name(original.model, way, scheme)
    if way == "qaft":
        return train_here(original, scheme), torchao(original, scheme), lm_eval({"landscape": made + LANDSCAPE})
    shipped = {COMPRESSOR: llm_compressor(original, way, scheme), GPTQMODEL: gptqmodel(original, way, scheme)}
    check = lm_eval({recipe.tool: made + end for end, recipe in shipped.items() if recipe.code})
    return *shipped.values(), llama_cpp(original, way, scheme), check


def llm_compressor(original: Original, way: PostTraining, scheme: Scheme) -> Recipe:
    """Write a script for llm-compressor, whose folders vLLM and transformers read.

    Args:
        original: See ``recipes``.
        way: See ``recipes``.
        scheme: See ``recipes``.
    """
    if original.conv1d:
        return Recipe("llm-compressor", "python", "", (CONV1D,))
    calibrated = way == "gptq"
    preset = PRESETS.get(float_format(scheme) or "")
    arguments = {} if preset else weight_arguments(scheme)
    made = output_name(original.model, way, scheme) + COMPRESSOR
    given = [
        *(["targets = [", *targets(original.modules), "]"] if original.modules else ['targets = ["Linear"]']),
        *(call("weights = dict", (f"{name}={value!r}" for name, value in arguments.items())) if arguments else []),
    ]
    grid = (
        f'targets=targets, scheme="{preset}"'
        if preset
        else 'config_groups={"blocks": {"targets": targets, "weights": weights}}'
    )
    ignored = 'ignore=["lm_head"]' if original.modules else 'ignore=["lm_head", "re:.*mlp.gate$"]'
    notes = [
        *original.source.notes,
        *[LINEAR] * (not original.modules),
        *compressor_notes(original, scheme),
        *vllm_notes(scheme),
        *[f"{ORDERED} {trial_words(scheme)}", OWN_TEXT] * calibrated,
        original.place(made),
    ]
    return Recipe("llm-compressor", "python", oneshot(original, calibrated, given, [grid, ignored], made), tuple(notes))


def oneshot(original: Original, calibrated: bool, given: list[str], grid: list[str], made: str) -> str:
    """Write a script for llm-compressor.

    Args:
        original: See ``recipes``.
        calibrated: Whether GPTQ quantizes, on text.
        given: Lines before the modifier.
        grid: The modifier's arguments for the grid.
        made: Folder to write.
    """
    modifier = "GPTQModifier" if calibrated else "QuantizationModifier"
    source = original.source
    revision = f", model_revision={source.revision!r}" if source.revision else ""
    code = [
        "from llmcompressor import oneshot",
        f"from llmcompressor.modifiers.quantization import {modifier}",
        "",
        *given,
        *call(f"recipe = {modifier}", [*grid, *['actorder="static", dampening_frac=0.01'] * calibrated]),
        *call(
            "oneshot",
            [
                f"model={source.name!r}{revision}, recipe=recipe",
                *['dataset="open_platypus", splits="train", num_calibration_samples=512'] * calibrated,
                *["max_seq_length=2048"] * calibrated,
                f"output_dir={made!r}",
            ],
        ),
    ]
    return lines(code)


def weight_arguments(scheme: Scheme) -> dict[str, object]:
    """Return the arguments of compressed-tensors' ``QuantizationArgs`` that come nearest to an integer grid or FP8."""
    kind, _, group = granularity(scheme).partition(":")
    shared: dict[str, object] = {"strategy": kind, **({"group_size": int(group)} if group else {})}
    if not isinstance(scheme, QuantScheme) or float_format(scheme):
        return {"num_bits": 8, "type": "float", "symmetric": True, **shared}
    search = {"observer": "minmax"} if scheme.scale == "absmax" else {"observer": "mse", "observer_kwargs": SEARCH}
    return {"num_bits": scheme.bits, "type": "int", "symmetric": scheme.symmetric, **shared, **search}


def compressor_notes(original: Original, scheme: Scheme) -> Iterable[str]:
    """Say how llm-compressor's grid differs from the one that was measured."""
    name = float_format(scheme)
    if name == "fp8":
        yield "FP8_DYNAMIC, which people ship, has these weights per channel, and rounds activations too."
        yield LOADED_DTYPE
    elif name == "nvfp4":
        yield "q, k, v and gate, up share the scale of their whole tensors, because vLLM joins these matrices."
        yield LOADED_DTYPE
    elif isinstance(scheme, QuantScheme) and not name:
        yield from code_notes(scheme)
        if scheme.scale != "absmax":
            yield f"Its scale is the best of 80 by squared error; landscape's {scheme.scale} searches otherwise."
        ragged = original.ragged(scheme.group) if scheme.group else ()
        if scheme.group and (ragged or not original.slots):
            listed = f": here {', '.join(module_patterns(ragged))}" if ragged else ""
            yield f"It refuses matrices whose inputs are no multiple of {scheme.group}: add them to ignore{listed}."


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


def gptqmodel(original: Original, way: PostTraining, scheme: Scheme) -> Recipe:
    """Write a script for GPTQModel, whose folders vLLM, SGLang and transformers read, but for FP8.

    Args:
        original: See ``recipes``.
        way: See ``recipes``.
        scheme: See ``recipes``.
    """
    config, options = gptqmodel_config(way, scheme)
    if not config:
        return Recipe("GPTQModel", "python", "", (f"It has no {way.upper()} on {scheme}.",))
    calibrated, made = way == "gptq", output_name(original.model, way, scheme) + GPTQMODEL
    rules: list[str] = []
    if original.outside and original.modules:
        joined = (name for slot in original.slots for name in engine_names(slot.name))
        rules = ["dynamic = {", *left_out(tuple(dict.fromkeys((*original.modules, *joined)))), "}"]
        options = [*options, "dynamic=dynamic"]
    notes = [
        *original.source.notes,
        *[DYNAMIC] * bool(rules),
        *gptqmodel_notes(way, scheme, trial_words(scheme)),
        *[OWN_TEXT] * calibrated,
        *[original.place(made)] * reads([scheme]),
    ]
    return Recipe(
        "GPTQModel", "python", gptqmodel_code(original, config, options, rules, calibrated, made), tuple(notes)
    )


def gptqmodel_code(
    original: Original, config: str, options: list[str], rules: list[str], calibrated: bool, made: str
) -> str:
    """Write a script for GPTQModel.

    Args:
        original: See ``recipes``.
        config: Class of the configuration.
        options: Its arguments.
        rules: Lines that define ``dynamic``, the settings of single modules.
        calibrated: Whether GPTQ quantizes, on text.
        made: Folder to write.
    """
    source = original.source
    revision = f", revision={source.revision!r}" if source.revision else ""
    code = [
        *["from datasets import load_dataset"] * calibrated,
        f"from gptqmodel import {', '.join(sorted(('GPTQModel', config)))}",
        "",
        *rules,
        *call(f"config = {config}", options),
        f"model = GPTQModel.load({source.name!r}, config{revision})",
        *[*call("texts = load_dataset", C4), 'model.quantize(texts.select(range(1024))["text"])'] * calibrated,
        *["model.quantize(calibration=None)"] * (not calibrated),
        f"model.save({made!r})",
    ]
    return lines(code)


def reads(schemes: Iterable[Scheme]) -> bool:
    """Return whether landscape reads the folder that GPTQModel writes: one layer of another width makes it gptq_p."""
    return all(not isinstance(scheme, QuantScheme) or scheme.bits in GPTQ_BITS for scheme in schemes)


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


def gptqmodel_notes(way: PostTraining, scheme: Scheme, ours: str) -> Iterable[str]:
    """Say how GPTQModel's grid and method differ from what was measured.

    Args:
        way: See ``recipes``.
        scheme: See ``recipes``.
        ours: How landscape's GPTQ went.
    """
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
    if scheme.bits not in GPTQ_BITS:
        yield f"{scheme.bits} bits are stored in a layout of its own, gptq_p, which neither vLLM nor landscape reads."
    elif scheme.bits not in VLLM_MARLIN or not scheme.symmetric:
        yield "vLLM reads GPTQ's symmetric grids of 4 and 8 bits; 2 and 3 bits, and zero points, in older versions."
    if way == "gptq":
        yield f"GPTQ orders columns within groups (act_group_aware), and starts with a damping of 0.05. {ours}"


def lm_eval(folders: Mapping[str, str], backend: Literal["hf", "vllm"] = "hf") -> Recipe:
    """Write the command that checks a quantized model on benchmarks.

    Args:
        folders: Folders of quantized models by the tool that writes them; the command checks the first.
        backend: Library that runs it.
    """
    if not folders:
        return Recipe("lm_eval", "shell", "", ("No tool above writes a folder that it reads.",))
    (tool, folder), *others = folders.items()
    words = ["lm_eval", "--model", backend, "--model_args", f"pretrained={folder},dtype=auto"]
    words += ["--tasks", "wikitext,arc_easy,hellaswag", "--batch_size", "auto"]
    notes = (
        f"{folder} is the folder of {tool}{''.join(f'; {name} writes {other}' for name, other in others)}.",
        "Run it on the original model too: only the difference counts, and benchmarks are noisy.",
        "Its perplexities are of words and bytes in whole articles; landscape's, of tokens in windows, are others.",
        f'pip install "lm_eval[{backend}]", and for its folders compressed-tensors or gptqmodel.',
    )
    return Recipe("lm_eval", "shell", lines([shell_command(words)]), notes)
