"""Recipes name the model as other tools load it, and quantize the matrices that were measured and no others."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme, apply_quantization_config
from gguf import MODEL_ARCH, get_tensor_name_map
from torch import nn

from landscape.advice.gguf_recipes import llama_cpp
from landscape.advice.model_source import model_source
from landscape.advice.recipe import Original
from landscape.advice.recipes import gptqmodel, llm_compressor, recipes
from landscape.advice.training_recipes import torchao
from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.embedded import EMBEDDED
from quant.checkpoints.names import ALIASES, WHEEL
from quant.scheme import QuantScheme
from tests import tiny
from tests.landscape.advice.originals import calls, original, qwen2_moe
from tests.landscape.advice.test_plan_recipes import dynamic

GRID = QuantScheme(4, "absmax", "group:8")
MEASURED = {
    "llama": (tiny.llama, ()),
    "without some": (tiny.llama, ("*.down_proj*", "model.layers.1.self_attn.*")),
    "opt with projections": (tiny.opt_350m, ()),
    "gates of experts": (qwen2_moe, ()),
}


@pytest.fixture(params=MEASURED)
def measured(request: pytest.FixtureRequest) -> tuple[nn.Module, Original]:
    make, exclude = MEASURED[request.param]
    model = make()
    return model, original(model, exclude=exclude)


def linear(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("grid", [GRID, "nvfp4", "fp8"], ids=str)
@pytest.mark.parametrize("way", ["rtn", "gptq"])
def test_llm_compressor_quantizes_what_was_measured(
    measured: tuple[nn.Module, Original], way: str, grid: QuantScheme | str
) -> None:
    model, whole = measured
    given = calls(llm_compressor(whole, way, grid))["GPTQModifier" if way == "gptq" else "QuantizationModifier"]
    if "scheme" in given:
        groups = {given["scheme"]: given["targets"]}
    else:
        groups = {name: QuantizationScheme(**group) for name, group in given["config_groups"].items()}
    apply_quantization_config(model, QuantizationConfig(config_groups=groups, ignore=given["ignore"]))
    found = {name for name, module in model.named_modules() if getattr(module, "quantization_scheme", None)}
    assert found == set(whole.modules) & set(linear(model))  # transformers stacks experts, and tools unpack them
    assert found


def test_gptqmodel_and_torchao_quantize_what_was_measured(measured: tuple[nn.Module, Original]) -> None:
    model, whole = measured
    names = {*whole.modules, *linear(model)}
    given = calls(gptqmodel(whole, "gptq", GRID))["QuantizeConfig"]
    if "dynamic" in given:
        assert {name for name in names if dynamic({**given["dynamic"], "+:.*": {"bits": 4}}, name)} == {*whole.modules}
    else:
        assert set(whole.modules) == {name for name in names if ".layers." in name}
    assert ("dynamic" in given) == whole.outside
    code = torchao(whole, GRID).code
    (pattern,) = re.findall(r"MEASURED = \(\n(.*?)\n\)\n", code, re.DOTALL)
    assert {name for name in names if re.match(eval(f"({pattern})"), name)} == {*whole.modules}


def test_matrices_that_no_group_fits_are_named() -> None:
    def told(whole: Original) -> str:
        return " ".join(llm_compressor(whole, "rtn", QuantScheme(4, "absmax", "group:16")).notes)

    assert r"to ignore: here ^model\.layers\.(0|1)\.mlp\.down_proj$." in told(original(tiny.llama()))  # 24 inputs
    assert "to ignore" not in told(original(tiny.llama(), exclude=("*.down_proj*",)))
    assert "add them to ignore." in told(Original("org/m"))


def test_torchao_finds_no_stacked_experts() -> None:
    stacked = original(qwen2_moe())
    assert not any(".experts." in name for name in linear(qwen2_moe()))
    assert "Experts that transformers stacks" in " ".join(torchao(stacked, GRID).notes)
    assert "Experts" not in " ".join(torchao(original(tiny.llama()), GRID).notes)


def test_llama_cpp_gives_the_type_to_what_was_measured() -> None:
    model = tiny.llama()
    model.config.hidden_size = 16
    whole = original(model, exclude=("*.down_proj*",))
    words = shlex.split(llama_cpp(whole, "rtn", QuantScheme(3, "absmax", "group:8")).code)
    given = [words[i + 1].partition("=") for i, word in enumerate(words) if word == "--tensor-type"]
    assert {kind for *_, kind in given} == {"Q3_K"}
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, 2)
    for module in linear(model):
        tensor = f"{names.get_name(module)}.weight"
        assert any(re.search(pattern, tensor) for pattern, _, _ in given) == (module in whole.modules)
    assert "--pure" not in words


def test_llama_cpp_leaves_matrices_whose_blocks_do_not_fit_as_they_are() -> None:
    """Inputs of 16 and 24, where Q4_0 has blocks of 32: llama-quantize would stop."""
    recipe = llama_cpp(original(tiny.llama()), "rtn", QuantScheme(4, "absmax", "group:8"))
    assert {word.rpartition("=")[2] for word in shlex.split(recipe.code) if word.startswith("^")} == {"f16"}
    assert "would stop" in " ".join(recipe.notes)
    unknown = " ".join(llama_cpp(Original("org/m"), "rtn", QuantScheme(4, "absmax", "group:8")).notes)
    assert "no multiple of 32 make llama-quantize stop: give each --tensor-type NAME=f16" in unknown


def test_conv1d_is_no_linear_layer_to_tools() -> None:
    whole = original(tiny.gpt2())
    for recipe in (llm_compressor(whole, "rtn", GRID), llm_compressor(whole, "gptq", "nvfp4"), torchao(whole, GRID)):
        assert recipe.code == ""
        assert "Conv1D" in recipe.notes[0]
    assert gptqmodel(whole, "gptq", GRID).code
    *_, check = recipes(whole, "gptq", GRID)
    assert "-gptqmodel" in check.code
    none = recipes(whole, "rtn", "nvfp4")
    assert [bool(recipe.code) for recipe in none] == [False, False, True, False]


def test_compressed_tensors_has_no_scales_for_conv1d() -> None:
    model = tiny.gpt2()
    group = {"targets": [r"re:.*\.c_fc$"], "weights": {"num_bits": 4}}
    apply_quantization_config(model, QuantizationConfig(config_groups={"a": QuantizationScheme(**group)}))
    assert not any("scale" in name for name, _ in model.named_parameters())


def test_llama_cpp_has_no_opt() -> None:
    recipe = llama_cpp(original(tiny.opt()), "rtn", GRID)
    assert (recipe.code, len(recipe.notes)) == ("", 1)
    assert "The names of the tensors of opt in GGUF are not known" in recipe.notes[0]
    assert llama_cpp(Original("org/m"), "rtn", GRID).code  # a run that kept no architecture


def test_a_short_name_is_an_id_on_the_hub() -> None:
    for name, repo in ALIASES.items():
        source = model_source(name)
        assert (source.name, source.on_hub, source.notes) == (repo, True, ())
    assert model_source("org/m", "v1").revision == "v1"


def test_a_folder_is_no_id_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_source("org/m").on_hub
    (tmp_path / "org" / "m").mkdir(parents=True)
    source = model_source("org/m")
    assert (source.name, source.folder, source.on_hub) == ("org/m", "org/m", False)


@pytest.mark.parametrize("name", [EMBEDDED, WHEEL, "a folder/some.Q8_0.gguf", "some.GGUF"])
def test_a_model_that_only_landscape_reads_is_made_into_a_folder_first(name: str) -> None:
    source = model_source(name)
    assert source.name.endswith("-hf")
    assert "/" not in source.name
    for way in ("rtn", "gptq", "qaft"):
        for recipe in recipes(Original(name), way, GRID):
            if recipe.code and recipe.tool not in ("landscape", "lm_eval"):
                assert recipe.notes[0] == source.notes[0]
                assert source.name in recipe.code
                assert "hf download" not in recipe.code


def test_the_folder_holds_the_model_that_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = model_source(EMBEDDED)
    python, option, script = shlex.split(source.notes[0].partition(" first: ")[2])
    assert (python, option) == ("python", "-c")
    exec(script, {})
    made, own = load_checkpoint(source.name), load_checkpoint(EMBEDDED)
    assert all(torch.equal(a, b) for a, b in zip(made.model.parameters(), own.model.parameters(), strict=True))
    assert made.tokenizer("a tale") == own.tokenizer("a tale")


def test_every_tool_loads_the_revision_that_was_measured() -> None:
    whole = Original("org/m", revision="v1")
    first, second, third, _ = recipes(whole, "rtn", GRID)
    assert calls(first)["oneshot"]["model_revision"] == "v1"
    assert "GPTQModel.load('org/m', config, revision='v1')" in second.code
    download = shlex.split(third.code.splitlines()[0])
    assert download == ["hf", "download", "org/m", "--revision", "v1", "--local-dir", "m"]
    assert shlex.split(third.code.splitlines()[1])[2] == "m"
    assert "from_pretrained('org/m', revision='v1', " in torchao(whole, GRID).code
