"""The recipes of a plan name every matrix once, with its width, to the tools' own readers of such names."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme, apply_quantization_config
from gguf import MODEL_ARCH, get_tensor_name_map
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from landscape.advice.plan_recipes import (
    MixedGrids,
    gptqmodel_plan,
    llama_cpp_plan,
    llm_compressor_plan,
    plan_recipes,
)
from landscape.advice.recipe import Original
from landscape.positions.fused_layers import fused_groups
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny
from tests.landscape.advice.originals import calls, original

LAYERS = 12  # so that 1 begins 10 and 11
WIDTHS = (8, 4, 3, 16)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    config = LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=64, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@pytest.fixture(params=[True, False], ids=["fused", "apart"])
def plan(request: pytest.FixtureRequest, model: nn.Module) -> MixedGrids:
    """Widths drawn at random, one for each group or each matrix."""
    random = torch.Generator().manual_seed(3)
    names = [slot.name for slot in WeightSpace.of(model)]
    groups = fused_groups(names) if request.param else [(name,) for name in names]
    drawn = [WIDTHS[int(torch.randint(0, 4, (), generator=random))] for _ in groups]
    bits = {name: width for group, width in zip(groups, drawn, strict=True) for name in group}
    schemes = {bits: QuantScheme(bits, "absmax", "group:8") for bits in WIDTHS[:3]}
    return MixedGrids(original(model), "gptq", bits, schemes, 4.256)


def linear(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def wanted(plan: MixedGrids, model: nn.Module) -> dict[str, int | None]:
    """The width of every linear layer; None for those that stay."""
    return {
        name: {16: None}.get(plan.bits.get(f"{name}.weight", 16), plan.bits.get(f"{name}.weight"))
        for name in linear(model)
    }


@pytest.mark.parametrize("way", ["rtn", "gptq"])
def test_compressed_tensors_gives_every_module_its_grid(plan: MixedGrids, model: nn.Module, way: str) -> None:
    given = calls(llm_compressor_plan(replace(plan, way=way)))  # type: ignore[arg-type]
    modifier = given["GPTQModifier" if way == "gptq" else "QuantizationModifier"]
    groups = {name: QuantizationScheme(**group) for name, group in modifier["config_groups"].items()}
    assert list(groups) == ["int8", "int4", "int3"]
    fresh = LlamaForCausalLM(model.config)
    apply_quantization_config(fresh, QuantizationConfig(config_groups=groups, ignore=modifier["ignore"]))
    found = {
        name: scheme.weights.num_bits if (scheme := getattr(module, "quantization_scheme", None)) else None
        for name, module in linear(fresh).items()
    }
    assert found == wanted(plan, model)
    assert {(each.weights.group_size, each.weights.symmetric) for each in groups.values()} == {(8, True)}
    assert given["oneshot"]["output_dir"] == f"m-{way}-mixed-4.26bpw-llmcompressor"


def dynamic(rules: Mapping[str, Mapping[str, int]], module: str) -> int | None:
    """Read the width of a module as GPTQModel, vLLM and SGLang do: the first expression that matches counts.

    GPTQModel puts all expressions that leave modules out before all others, and saves them in this order:
    ``BaseQuantizeConfig.__post_init__`` in gptqmodel/quantization/config.py.
    """
    for pattern, settings in sorted(rules.items(), key=lambda rule: not rule[0].startswith("-")):
        if re.match(pattern[2:], module):
            return None if pattern.startswith("-:") else settings["bits"]
    pytest.fail(f"{module} gets the width of the file")


@pytest.mark.parametrize(("way", "kind"), [("rtn", "RTNConfig"), ("gptq", "QuantizeConfig")])
def test_gptqmodel_gives_every_module_its_width(plan: MixedGrids, model: nn.Module, way: str, kind: str) -> None:
    given = calls(gptqmodel_plan(replace(plan, way=way)))[kind]  # type: ignore[arg-type]
    assert {name: dynamic(given["dynamic"], name) for name in linear(model)} == wanted(plan, model)
    assert (given["group_size"], given["sym"]) == (8, True)
    assert given["bits"] in plan.widths


def test_the_matrix_that_an_engine_joins_has_the_width_of_its_parts(plan: MixedGrids) -> None:
    rules = calls(gptqmodel_plan(plan))["QuantizeConfig"]["dynamic"]
    split = 0
    for joined, parts in (("self_attn.qkv_proj", "qkv"), ("mlp.gate_up_proj", ("gate", "up"))):
        for block in range(LAYERS):
            stem = f"model.layers.{block}.{joined.partition('.')[0]}"
            widths = {plan.bits[f"{stem}.{part}_proj.weight"] for part in parts}
            split += len(widths) > 1
            one = widths.pop() if len(widths) == 1 else 16
            assert dynamic(rules, f"model.layers.{block}.{joined}") == (None if one == 16 else one)
    assert split == plan.split_groups
    for recipe in (llm_compressor_plan(plan), gptqmodel_plan(plan)):
        assert (f"{split} groups of matrices" in " ".join(recipe.notes)) == bool(split)


def test_llama_cpp_gives_every_tensor_its_type(plan: MixedGrids, model: nn.Module) -> None:
    """Read as llama-quantize does: an expression in small letters, which is searched for."""
    words = next(
        words for line in llama_cpp_plan(plan).code.splitlines() if (words := shlex.split(line))[0] == "llama-quantize"
    )
    given = [words[i + 1].partition("=") for i, word in enumerate(words) if word == "--tensor-type"]
    assert "--pure" not in words  # with which older versions ignore types of tensors
    types = {8: "Q8_0", 4: "Q4_0", 3: "Q3_K", 16: "f16"}
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, LAYERS)
    every = {f"{names.get_name(name.removesuffix('.weight'))}.weight": bits for name, bits in plan.bits.items()}
    for name, bits in every.items():
        assert [kind for pattern, _, kind in given if re.search(pattern.lower(), name)] == [types[bits]]
    for name in ("output.weight", "token_embd.weight", "blk.0.attn_norm.weight", "blk.0.ffn_down.weight.x"):
        assert not any(re.search(pattern, name) for pattern, _, _ in given)
    assert words[-5:-3] == ["--imatrix", "imatrix.gguf"]
    assert words[-3:] == ["m-f16.gguf", "m-gptq-mixed-4.26bpw.gguf", "Q8_0"]


def test_a_tensor_for_which_llama_quantize_has_no_type_stays_in_16_bits(plan: MixedGrids) -> None:
    """Inputs that are no multiple of 32: ``tensor_type_fallback`` has another type for K types alone."""
    narrow = original(tiny.llama())
    schemes = {bits: QuantScheme(bits, "absmax", "group:8") for bits in (8, 3)}
    bits = {slot.name: 8 if slot.block else 3 for slot in narrow.slots}
    recipe = llama_cpp_plan(MixedGrids(narrow, "rtn", bits, schemes, 5.0))
    assert {word.rpartition("=")[2] for word in shlex.split(recipe.code) if word.startswith("^")} == {"f16", "Q3_K"}
    said = " ".join(recipe.notes)
    assert re.search(r"no multiple of 32 \(\^model.* stay in 16 bits", said)
    assert re.search(r"no multiple of 256 \(\^model.* get a larger type than Q3_K", said)
    assert "no multiple of 32" not in " ".join(llama_cpp_plan(plan).notes)


def test_a_width_that_landscape_and_vllm_do_not_read_is_said_of_the_whole_plan(plan: MixedGrids) -> None:
    """GPTQModel stores a checkpoint with a layer of 5, 6 or 7 bits as gptq_p throughout."""

    def told(*widths: int) -> str:
        names = list(plan.bits)
        bits = {name: widths[i % len(widths)] for i, name in enumerate(names)}
        schemes = {each: QuantScheme(each, "absmax", "group:8") for each in widths}
        return " ".join(gptqmodel_plan(replace(plan, bits=bits, schemes=schemes)).notes)

    for widths in ((6, 4), (5, 8, 4), (7,)):
        assert "the whole checkpoint" in told(*widths)
        assert "landscape probe" not in told(*widths)
    for widths in ((8, 4), (4, 3), (2,)):
        assert "the whole checkpoint" not in told(*widths)
        assert "landscape probe" in told(*widths)
        assert ("vLLM refuses a plan" in told(*widths)) == (widths == (4, 3))


def test_a_plan_for_conv1d_is_none_for_llm_compressor() -> None:
    small = original(tiny.gpt2())
    bits = {slot.name: 4 for slot in small.slots}
    first, second, *_, check = plan_recipes(MixedGrids(small, "gptq", bits, {4: QuantScheme(4)}, 4.0))
    assert (first.code, len(first.notes)) == ("", 1)
    assert "Conv1D" in first.notes[0]
    assert second.code
    assert "-gptqmodel" in check.code


def test_experts_are_named_as_tools_unpack_them() -> None:
    experts = [f"model.layers.0.mlp.experts.{i}.{leaf}_proj" for i in range(4) for leaf in ("gate_up", "down")]
    bits = {**dict.fromkeys(experts, 4), "model.layers.0.self_attn.o_proj.weight": 8}
    schemes = {bits: QuantScheme(bits, "absmax", "channel") for bits in (8, 4)}
    plan = MixedGrids(Original("m", "qwen3_moe"), "rtn", bits, schemes, 4.3)
    (pattern,) = calls(llm_compressor_plan(plan))["QuantizationModifier"]["config_groups"]["int4"]["targets"]
    for name in ("0.gate_proj", "3.up_proj", "2.down_proj"):
        assert re.match(pattern.removeprefix("re:"), f"model.layers.0.mlp.experts.{name}")
    assert not re.match(pattern.removeprefix("re:"), "model.layers.0.mlp.experts.0.act_fn")
    rules = calls(gptqmodel_plan(plan))["RTNConfig"]["dynamic"]
    assert dynamic(rules, "model.layers.0.mlp.experts") == dynamic(rules, "model.layers.0.mlp.experts.1.up_proj") == 4
    assert r"^blk\.0\.(ffn_gate_exps|ffn_up_exps|ffn_down_exps)\.weight$=Q4_0" in llama_cpp_plan(plan).code
    apart = replace(plan, bits={**bits, experts[0]: 8})
    assert llama_cpp_plan(apart).code == ""
    assert "several widths" in llama_cpp_plan(apart).notes[0]


def test_every_recipe_parses_and_names_the_model(plan: MixedGrids) -> None:
    for name in ("org/m", """it's/a "model" $(x)\\"""):
        for recipe in plan_recipes(replace(plan, original=Original(name, "llama"))):
            assert recipe.notes
            if recipe.language == "python":
                parsed = ast.walk(ast.parse(recipe.code))
                assert name in [node.value for node in parsed if isinstance(node, ast.Constant)]
            else:
                assert all(shlex.split(line) for line in recipe.code.splitlines())
    *_, check = plan_recipes(plan)
    assert f"pretrained={plan.folder}-llmcompressor" in check.code
    assert f"GPTQModel writes {plan.folder}-gptqmodel." in check.notes[0]


def test_a_plan_that_quantizes_nothing_has_no_recipes(plan: MixedGrids) -> None:
    assert plan_recipes(replace(plan, bits=dict.fromkeys(plan.bits, 16))) == ()


def test_an_architecture_that_llama_cpp_lacks_is_said_to_be_unknown() -> None:
    bits = {slot.name: 4 for slot in WeightSpace.of(tiny.opt())}
    plan = MixedGrids(Original("m", "opt"), "rtn", bits, {4: QuantScheme(4)}, 4.0)
    recipe = llama_cpp_plan(plan)
    assert (recipe.code, len(recipe.notes)) == ("", 1)
    assert "The names of the tensors of opt in GGUF are not known" in recipe.notes[0]
