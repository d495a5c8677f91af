"""Recipes parse, the libraries accept their arguments, and their notes say how the libraries' grids differ."""

from __future__ import annotations

import ast
import builtins
import itertools
import shlex
import subprocess
import sys
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationScheme,
    is_preset_scheme,
    preset_name_to_scheme,
)
from compressed_tensors.quantization.utils import calculate_qparams, calculate_range

from landscape.advice.gguf_types import gguf_of_grid
from landscape.advice.recipe import FLOATS, Recipe, code_notes, output_name, scale_ratio
from landscape.advice.recipes import GROUPS, VLLM_GPTQ, gptqmodel, llama_cpp, llm_compressor, lm_eval, recipes
from landscape.advice.training_recipes import torchao
from quant.scheme import QuantScheme

GRANULARITIES = ("tensor", "channel", "group:32", "group:64", "group:128", "group:48")
GRIDS = [
    *(QuantScheme(bits, scale, shared) for bits in (8, 5, 4, 3, 2) for scale in ("exact", "absmax", "mse")
      for shared in GRANULARITIES),
    *(QuantScheme(bits, "absmax", shared, symmetric=False) for bits in (8, 4, 3) for shared in GRANULARITIES),
]  # fmt: skip
MODELS = ("opt-nano", "org/Llama-3.2-1B", """it's/a "model" $(x)\\""")
WAYS = ("rtn", "gptq")


def calls(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Run a script with stand-ins for all that it imports, and return what it gives to each, by the name."""
    library = MagicMock()
    exec(recipe.code, {"__builtins__": {**vars(builtins), "__import__": lambda *names: library}})
    return {name: given for name, _, given in library.mock_calls if name.isidentifier()}


def weights(way: str, grid: QuantScheme | str) -> QuantizationArgs:
    """Build the arguments that a script for llm-compressor gives to its modifier, as the modifier does."""
    given = calls(llm_compressor("m", way, grid))["GPTQModifier" if way == "gptq" else "QuantizationModifier"]
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
        for recipe in recipes(model, way, grid):
            assert recipe.notes
            if recipe.language == "python":
                names = [node.value for node in ast.walk(ast.parse(recipe.code)) if isinstance(node, ast.Constant)]
                assert model in names or not recipe.code
            else:
                words = [shlex.split(line) for line in recipe.code.splitlines()]
                assert all(words)
                assert not words or any(model in each for each in words) or recipe.tool == "lm_eval"


def test_lm_eval_checks_the_folder_that_the_first_recipe_writes() -> None:
    for way, grid in itertools.product(WAYS, (GRIDS[0], "fp8")):
        first, *_, last = recipes("org/m", way, grid)
        made = calls(first)["oneshot"]["output_dir"]
        assert made == output_name("org/m", way, grid)
        assert f"pretrained={made},dtype=auto" in shlex.split(last.code)
    assert shlex.split(lm_eval("x", "vllm").code)[:3] == ["lm_eval", "--model", "vllm"]


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
        assert ("vLLM" in notes(llm_compressor("m", "rtn", grid))) != runs


def test_gptqmodel_takes_the_grid_or_the_next_finer() -> None:
    for grid, way in itertools.product(GRIDS, WAYS):
        recipe = gptqmodel("m", way, grid)
        given = calls(recipe)["QuantizeConfig" if way == "gptq" else "RTNConfig"]
        assert (given["bits"], given["sym"]) == (grid.bits, grid.symmetric)
        assert given["group_size"] == (grid.group or -1)
        assert not (given.get("desc_act") and given.get("act_group_aware"))  # it refuses both together
        assert 0 < given.get("damp_percent", 0.5) < 1
        assert ("per tensor is missing" in notes(recipe)) == (grid.granularity == "tensor")
        assert ("gptq_p" in notes(recipe)) == (grid.bits not in VLLM_GPTQ)
        assert ("kernel for groups" in notes(recipe)) == (grid.group is not None and grid.group not in GROUPS)


def test_only_gptqmodel_runs_its_fp8() -> None:
    """Its scales divide, under the name of DeepSeek's, which multiply: qlinear/fp8.py in GPTQModel."""
    recipe = gptqmodel("m", "rtn", "fp8")
    assert set(calls(recipe)) == {"FP8Config"}
    assert "GPTQModel alone runs this folder" in notes(recipe)
    assert "runs this folder" not in notes(gptqmodel("m", "rtn", GRIDS[0]))


def test_rtn_needs_no_text_and_gptq_does() -> None:
    for grid in GRIDS:
        assert "dataset" not in llm_compressor("m", "rtn", grid).code + gptqmodel("m", "rtn", grid).code
        assert "dataset" in llm_compressor("m", "gptq", grid).code
        assert "load_dataset" in gptqmodel("m", "gptq", grid).code


def test_a_tool_without_the_grid_has_no_code_and_says_why() -> None:
    for recipe in (gptqmodel("m", "rtn", "nvfp4"), gptqmodel("m", "gptq", "fp8"), torchao("m", "mxfp4"),
                   torchao("m", QuantScheme(4, "absmax", "group:32", symmetric=False))):  # fmt: skip
        assert recipe.code == ""
        assert recipe.notes


@pytest.mark.parametrize("way", WAYS)
def test_llama_cpp_writes_the_type_of_as_many_bits_and_weighs_inputs_for_gptq(way: str) -> None:
    for bits in (8, 4, 3, 2):
        scheme = QuantScheme(bits, "absmax", "group:32")
        *_, quantize, perplexity = (shlex.split(line) for line in llama_cpp("m", way, scheme).code.splitlines())
        assert quantize[0] == "llama-quantize"
        assert quantize[-1] == gguf_of_grid(bits, symmetric=True).name
        assert quantize[-2] in perplexity
        assert ("--imatrix" in quantize) == (way == "gptq")


def test_llama_cpp_gives_mxfp4_to_the_matrices_of_blocks() -> None:
    """As the type of a file, MXFP4_MOE leaves dense matrices in Q8_0 (llama_tensor_get_type_impl)."""
    for name in ("nvfp4", "mxfp4"):
        quantize = shlex.split(llama_cpp("m", "rtn", name).code.splitlines()[-2])
        assert quantize[quantize.index("--tensor-type") + 1] == "blk=mxfp4"


def test_torchao_has_the_types_and_the_groups() -> None:
    for grid in GRIDS:
        if grid.symmetric:
            code = torchao("m", grid).code
            assert isinstance(getattr(torch, f"int{grid.bits}"), torch.dtype)
            assert f"torch.int{grid.bits}," in code
            assert (f"PerGroup({grid.group})" if grid.group else "PerAxis(0)") in code


def test_recipes_need_no_torch() -> None:
    code = "import sys, landscape.advice.recipes; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
