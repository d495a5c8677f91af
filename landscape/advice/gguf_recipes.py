"""Write commands for llama.cpp, with the tensor types nearest to a grid.

Read in the sources of ggml-org/llama.cpp: tools/quantize, tools/imatrix and src/llama-quant.cpp, whose
``tensor_type_fallback`` gives another type to matrices that do not fit the blocks of K types, and stops for all others.
"""

from __future__ import annotations

from collections.abc import Mapping

from landscape.advice.gguf_names import gguf_names
from landscape.advice.gguf_types import GGUFType, gguf_named, gguf_of_grid
from landscape.advice.module_patterns import module_patterns
from landscape.advice.recipe import Original, PostTraining, Recipe, Scheme, float_format, lines
from quant.printable import shell_command
from quant.scheme import QuantScheme

LEAST_BLOCK = 32
"""Weights of the shortest blocks; llama-quantize has no other type for a matrix that they do not fit."""
NO_GPTQ = "llama.cpp has no GPTQ: an importance matrix weighs the squared error of each input."
NVFP4 = (
    "GGUF has NVFP4 too, which llama-quantize does not write: recent versions of convert_hf_to_gguf.py keep it from a "
    "folder of llm-compressor or ModelOpt in NVFP4."
)
OTHERS = "Matrices of blocks that were not measured get Q8_0, but for routers, which llama-quantize leaves as they are."


def llama_cpp(original: Original, way: PostTraining, scheme: Scheme) -> Recipe:
    """Write commands for llama.cpp, with the tensor type nearest to a grid.

    Args:
        original: See ``landscape.advice.recipes.recipes``.
        way: See there; for GPTQ an importance matrix weighs the inputs, which is the nearest to it there.
        scheme: See there.
    """
    names = gguf_names(original.architecture, original.modules) if original.architecture else {}
    if names is None:
        return unknown_names(original)
    kind, weighed = gguf_type(scheme), way == "gptq"
    made = f"{original.source.file}-{kind.name}.gguf"
    ragged = original.ragged(kind.block) if names else ()
    apart = bool(ragged) and kind.block == LEAST_BLOCK
    if names and (apart or original.outside):
        types = {names[module]: "f16" if module in ragged and apart else kind.name for module in original.modules}
        options, argument = tensor_types(types), "Q8_0"
    elif kind.name == "MXFP4":  # as the type of a file it would leave all but experts in Q8_0
        options, argument = ["--tensor-type", "blk=mxfp4"], "Q8_0"
    else:
        options, argument = ["--pure"], kind.name
    size = f"{kind.bits_per_weight:g} bits per weight and a scale for {kind.group} weights"
    notes = [
        *original.source.notes,
        f"{kind.name} is the nearest type, not the same grid: {size}, where {scheme} was measured.",
        *[NVFP4] * (float_format(scheme) == "nvfp4"),
        "Embedding and head stay in 16 bits, as they were measured. The mixes that people ship, such as Q4_K_M without "
        "these options, spend more bits on some matrices, and fewer on embedding and head.",
        *ragged_notes(kind, ragged, bool(names)),
        *[OTHERS] * (bool(names) and original.outside),
        *[NO_GPTQ] * weighed,
        original.place(made),
    ]
    commands = gguf_commands(original, made, options, argument, weighed)
    return Recipe("llama.cpp", "shell", lines(map(shell_command, commands)), tuple(notes))


def ragged_notes(kind: GGUFType, ragged: tuple[str, ...], known: bool) -> list[str]:
    """Say what becomes of matrices whose inputs are no multiple of a block.

    Args:
        kind: Type of the others.
        ragged: Their modules.
        known: Whether it is known which they are.
    """
    if known and not ragged:
        return []
    listed = f" ({', '.join(module_patterns(ragged))})" if ragged else ""
    which = f"Matrices whose inputs are no multiple of {kind.block}{listed}"
    if kind.block == LEAST_BLOCK and ragged:
        return [f"{which} stay in 16 bits, because llama-quantize has no type for them, and would stop."]
    if kind.block == LEAST_BLOCK:
        return [f"{which} make llama-quantize stop: give each --tensor-type NAME=f16, without --pure."]
    return [f"{which} get a larger type than {kind.name}."]


def tensor_types(types: Mapping[str, str]) -> list[str]:
    """Return the options of llama-quantize that give each tensor its type.

    Args:
        types: Types by the name of the tensor.
    """
    arguments = (
        f"{pattern}={kind}"
        for kind in dict.fromkeys(types.values())
        for pattern in module_patterns(name for name, own in types.items() if own == kind)
    )
    return [word for argument in arguments for word in ("--tensor-type", argument)]


def unknown_names(original: Original) -> Recipe:
    """Return the empty recipe for a model whose tensors have no known names in GGUF."""
    kind = f"the tensors of {original.architecture}" if original.architecture else "this model's tensors"
    return Recipe("llama.cpp", "shell", "", (f"The names of {kind} in GGUF are not known: gguf's map lacks some.",))


def gguf_commands(original: Original, made: str, types: list[str], argument: str, weighed: bool) -> list[list[str]]:
    """Return the commands that fetch, convert, quantize and try a model, with embedding and head left in 16 bits.

    Args:
        original: See ``landscape.advice.recipes.recipes``.
        made: File to write.
        types: Options of llama-quantize that say which tensors get which type.
        argument: Type of the file.
        weighed: Whether an importance matrix weighs the inputs.
    """
    source = original.source
    plain = f"{source.file}-f16.gguf"
    kept = ["--leave-output-tensor", "--token-embedding-type", "f16"]
    revision = ["--revision", source.revision] if source.revision else []
    return [
        *[["hf", "download", source.name, *revision, "--local-dir", source.folder]] * source.on_hub,
        ["python", "convert_hf_to_gguf.py", source.folder, "--outtype", "f16", "--outfile", plain],
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
