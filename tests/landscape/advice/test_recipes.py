"""Recipes parse, the libraries accept their arguments, and their notes say how the libraries' grids differ."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import subprocess
import sys

import gguf
import pytest
import torch
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationScheme,
    is_preset_scheme,
    preset_name_to_scheme,
)
from compressed_tensors.quantization.utils import calculate_qparams, calculate_range

from landscape.advice.gguf_recipes import llama_cpp
from landscape.advice.gguf_types import gguf_of_grid
from landscape.advice.recipe import FLOATS, Original, Recipe, code_notes, output_name, scale_ratio
from landscape.advice.recipes import GPTQ_BITS, GROUPS, gptqmodel, llm_compressor, lm_eval, recipes
from landscape.advice.training_recipes import torchao, train_here
from landscape.advice.trials import shipped_gptq
from quant.scheme import QuantScheme
from tests.landscape.advice.originals import calls

GRANULARITIES = ("tensor", "channel", "group:32", "group:64", "group:128", "group:48")
GRIDS = [
    *(QuantScheme(bits, scale, shared) for bits in (8, 5, 4, 3, 2) for scale in ("exact", "absmax", "mse")
      for shared in GRANULARITIES),
    *(QuantScheme(bits, "absmax", shared, symmetric=False) for bits in (8, 4, 3) for shared in GRANULARITIES),
]  # fmt: skip
M = Original("m")
MODELS = ("some/opt", "org/Llama-3.2-1B", """it's/a "model" $(x)\\""")
WAYS = ("rtn", "gptq")


def weights(way: str, grid: QuantScheme | str) -> QuantizationArgs:
    """Build the arguments that a script for llm-compressor gives to its modifier, as the modifier does."""
    given = calls(llm_compressor(M, way, grid))["GPTQModifier" if way == "gptq" else "QuantizationModifier"]
    if "scheme" in given:
        assert is_preset_scheme(given["scheme"])
        return preset_name_to_scheme(given["scheme"], given["targets"]).weights
    (group,) = given["config_groups"].values()
    scheme = QuantizationScheme(**group)
    assert scheme.targets == ["Linear"]
    assert scheme.input_activations is None
    return scheme.weights


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("way", [*WAYS, "qaft"])
def test_every_recipe_parses_and_names_the_model(model: str, way: str) -> None:
    for grid in (*GRIDS, *FLOATS):
        for recipe in recipes(Original(model), way, grid):
            assert recipe.notes
            if recipe.language == "python":
                names = [node.value for node in ast.walk(ast.parse(recipe.code)) if isinstance(node, ast.Constant)]
                assert model in names or not recipe.code
            else:
                words = [shlex.split(line) for line in recipe.code.splitlines()]
                assert all(words)
                assert not words or any(model in each for each in words) or recipe.tool == "lm_eval"


def test_every_tool_writes_a_folder_of_its_own_and_lm_eval_checks_the_first() -> None:
    for way, grid in itertools.product(WAYS, (GRIDS[0], "fp8")):
        first, second, _, last = recipes(Original("org/m"), way, grid)
        ours, theirs = output_name("org/m", way, grid), calls(first)["oneshot"]["output_dir"]
        folders = {ours, theirs}
        if second.code:
            (other,) = re.findall(r"model.save\('(.*)'\)", second.code)
            folders.add(other)
            assert f"GPTQModel writes {other}." in last.notes[0]
        assert len(folders) == 2 + bool(second.code)
        assert all(folder.startswith(ours) for folder in folders)
        assert f"pretrained={theirs},dtype=auto" in shlex.split(last.code)
        assert last.notes[0].startswith(f"{theirs} is the folder of llm-compressor")
    assert shlex.split(lm_eval({"tool": "x"}, "vllm").code)[:3] == ["lm_eval", "--model", "vllm"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_compressed_tensors_accepts_an_integer_grid(way: str, grid: QuantScheme) -> None:
    args = weights(way, grid)
    assert (args.num_bits, args.type, args.symmetric, args.dynamic) == (grid.bits, "int", grid.symmetric, False)
    assert (args.strategy, args.group_size) == (grid.granularity.partition(":")[0], grid.group)
    assert args.observer == ("minmax" if grid.scale == "absmax" else "mse")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "bits", "strategy", "group"),
    [("nvfp4", 4, "tensor_group", 16), ("mxfp4", 4, "group", 32), ("fp8", 8, "channel", None)],
)
def test_compressed_tensors_has_the_float_formats(
    way: str, name: str, bits: int, strategy: str, group: int | None
) -> None:
    args = weights(way, name)
    assert (args.num_bits, args.type, args.strategy, args.group_size) == (bits, "float", strategy, group)


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_ratio_of_scales_is_that_of_compressed_tensors(bits: int) -> None:
    high = torch.tensor([1.75])
    args = QuantizationArgs(num_bits=bits, symmetric=True)
    theirs, zero = calculate_qparams(-high, high, args)
    assert float(theirs / (high / QuantScheme(bits).high)) == pytest.approx(scale_ratio(bits), rel=1e-6)
    assert not zero.any()
    low, top = (int(end) for end in calculate_range(args, "cpu"))
    (note,) = code_notes(QuantScheme(bits))
    assert f"−{-low} to {top};" in note
    assert f"−{top} to {top} were" in note


def test_an_unclipped_asymmetric_grid_is_the_same() -> None:
    low, high = torch.tensor([-0.5]), torch.tensor([1.0])
    theirs, _ = calculate_qparams(low, high, QuantizationArgs(num_bits=4, symmetric=False))
    assert float(theirs) == pytest.approx(float(high - low) / 15)
    assert code_notes(QuantScheme(4, "absmax", "channel", symmetric=False)) == []


def notes(recipe: Recipe) -> str:
    return " ".join(recipe.notes)


def test_grids_that_vllm_has_no_kernel_for_are_named() -> None:
    """As its WNA16 scheme has it: channel or group; 2 to 8 bits, zero points at 4 and 8 alone."""
    for grid in GRIDS:
        runs = grid.granularity != "tensor" and grid.bits in (4, 8)
        assert ("vLLM" in notes(llm_compressor(M, "rtn", grid))) != runs


def test_gptqmodel_takes_the_grid_or_the_next_finer() -> None:
    for grid, way in itertools.product(GRIDS, WAYS):
        recipe = gptqmodel(M, way, grid)
        given = calls(recipe)["QuantizeConfig" if way == "gptq" else "RTNConfig"]
        assert (given["bits"], given["sym"]) == (grid.bits, grid.symmetric)
        assert given["group_size"] == (grid.group or -1)
        assert not (given.get("desc_act") and given.get("act_group_aware"))  # it refuses both together
        assert 0 < given.get("damp_percent", 0.5) < 1
        assert ("per tensor is missing" in notes(recipe)) == (grid.granularity == "tensor")
        assert ("gptq_p" in notes(recipe)) == (grid.bits not in GPTQ_BITS)
        assert ("kernel for groups" in notes(recipe)) == (grid.group is not None and grid.group not in GROUPS)


def test_only_gptqmodel_runs_its_fp8() -> None:
    """Its scales divide, under the name of DeepSeek's, which multiply: qlinear/fp8.py in GPTQModel."""
    recipe = gptqmodel(M, "rtn", "fp8")
    assert set(calls(recipe)) == {"FP8Config"}
    assert "GPTQModel alone runs this folder" in notes(recipe)
    assert "runs this folder" not in notes(gptqmodel(M, "rtn", GRIDS[0]))


def test_rtn_needs_no_text_and_gptq_does() -> None:
    for grid in GRIDS:
        assert "dataset" not in llm_compressor(M, "rtn", grid).code + gptqmodel(M, "rtn", grid).code
        assert "dataset" in llm_compressor(M, "gptq", grid).code
        assert "load_dataset" in gptqmodel(M, "gptq", grid).code


def test_a_tool_without_the_grid_has_no_code_and_says_why() -> None:
    for recipe in (gptqmodel(M, "rtn", "nvfp4"), gptqmodel(M, "gptq", "fp8"), torchao(M, "mxfp4"),
                   torchao(M, QuantScheme(4, "absmax", "group:32", symmetric=False))):  # fmt: skip
        assert recipe.code == ""
        assert recipe.notes


@pytest.mark.parametrize("way", WAYS)
def test_llama_cpp_writes_the_type_of_as_many_bits_and_weighs_inputs_for_gptq(way: str) -> None:
    for bits in (8, 4, 3, 2):
        scheme = QuantScheme(bits, "absmax", "group:32")
        *_, quantize, perplexity = (shlex.split(line) for line in llama_cpp(M, way, scheme).code.splitlines())
        assert quantize[0] == "llama-quantize"
        assert quantize[-1] == gguf_of_grid(bits, symmetric=True).name
        assert quantize[-2] in perplexity
        assert ("--imatrix" in quantize) == (way == "gptq")


def test_llama_cpp_gives_mxfp4_to_the_matrices_of_blocks() -> None:
    """As the type of a file, MXFP4_MOE leaves dense matrices in Q8_0 (llama_tensor_get_type_impl)."""
    for name in ("nvfp4", "mxfp4"):
        quantize = shlex.split(llama_cpp(M, "rtn", name).code.splitlines()[-2])
        assert quantize[quantize.index("--tensor-type") + 1] == "blk=mxfp4"


def test_torchao_has_the_types_and_the_groups() -> None:
    for grid in GRIDS:
        if grid.symmetric:
            code = torchao(M, grid).code
            assert isinstance(getattr(torch, f"int{grid.bits}"), torch.dtype)
            assert f"torch.int{grid.bits}," in code
            assert (f"PerGroup({grid.group})" if grid.group else "PerAxis(0)") in code


def test_a_float_format_is_trained_here_without_a_scale() -> None:
    for scheme in (*FLOATS, *map(QuantScheme.of_format, FLOATS)):
        words = shlex.split(train_here(M, scheme).code)
        assert words[words.index("--bits") + 1] == str(scheme)
        assert not {"--scale", "--granularity"} & set(words)


def test_scales_of_floats_follow_the_dtype_of_the_weights() -> None:
    """compressed-tensors computes them in the dtype in which the model was loaded, and landscape in float32."""
    high = torch.tensor([1.15625])  # a number of bfloat16 too
    args = weights("rtn", "fp8")
    wide, narrow = (calculate_qparams(-h, h, args)[0].float() for h in (high, high.bfloat16()))
    assert wide != narrow
    for name in ("fp8", "nvfp4"):
        assert "the dtype in which it loads the model" in notes(llm_compressor(M, "rtn", name))
    for grid in ("mxfp4", GRIDS[0]):
        assert "the dtype in which it loads" not in notes(llm_compressor(M, "rtn", grid))


@pytest.mark.parametrize("grid", [QuantScheme(4, "absmax", "group:32"), QuantScheme(4), QuantScheme.of_format("nvfp4")])
def test_notes_on_gptq_say_how_advice_tried_it(grid: QuantScheme) -> None:
    options = shipped_gptq(grid)
    order = "ordered by the size of their inputs" if options.act_order else "in their own order"
    (damping,) = options.dampings
    expected = f"landscape advise tries GPTQ with all columns {order} and one damping, {damping}."
    assert expected in notes(llm_compressor(M, "gptq", grid))
    assert grid.format or expected in notes(gptqmodel(M, "gptq", grid))


def test_gguf_has_nvfp4_that_llama_quantize_does_not_write() -> None:
    assert "NVFP4" in gguf.GGMLQuantizationType.__members__
    assert "keep it from a folder of llm-compressor" in notes(llama_cpp(M, "rtn", "nvfp4"))
    assert "NVFP4" not in notes(llama_cpp(M, "rtn", "mxfp4"))


def test_vllm_reads_symmetric_gptq_of_4_and_8_bits() -> None:
    for grid in GRIDS:
        if grid.bits in GPTQ_BITS:
            old = "in older versions" in notes(gptqmodel(M, "rtn", grid))
            assert old == (grid.bits in (2, 3) or not grid.symmetric)


def test_recipes_need_no_torch() -> None:
    code = "import sys, landscape.advice.recipes; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
