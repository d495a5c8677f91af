"""Names are those of the gguf package's map, which stays as it is."""

from __future__ import annotations

from copy import deepcopy

import pytest
from gguf import MODEL_ARCH, TensorNameMap, get_tensor_name_map

from landscape.advice.gguf_names import gguf_names
from quant.space import WeightSpace
from tests import tiny


@pytest.mark.parametrize(("architecture", "kind"), [("llama", MODEL_ARCH.LLAMA), ("gpt2", MODEL_ARCH.GPT2)])
def test_matrices_have_the_names_of_the_converter(architecture: str, kind: MODEL_ARCH) -> None:
    modules = [slot.name.removesuffix(".weight") for slot in WeightSpace.of(tiny.ARCHITECTURES[architecture]())]
    names = get_tensor_name_map(kind, 2)
    expected = {module: f"{names.get_name(module)}.weight" for module in modules}
    assert gguf_names(architecture, modules) == expected
    assert len(set(expected.values())) == len(modules)


def test_a_block_keeps_its_number() -> None:
    modules = [f"model.layers.{block}.self_attn.{leaf}_proj" for block in (0, 7, 31, 100) for leaf in "qkvo"]
    names = get_tensor_name_map(MODEL_ARCH.QWEN3, 101)
    assert gguf_names("qwen3", modules) == {module: f"{names.get_name(module)}.weight" for module in modules}


def test_all_experts_of_a_layer_are_one_tensor() -> None:
    modules = [f"model.layers.2.mlp.experts.{i}.{leaf}_proj" for i in (0, 17) for leaf in ("gate", "up", "down")]
    for architecture in ("qwen3_moe", "mixtral"):
        found = gguf_names(architecture, modules)
        assert found is not None
        assert {name for module, name in found.items() if "gate" in module} == {"blk.2.ffn_gate_exps.weight"}
        assert len(set(found.values())) == 3


@pytest.mark.parametrize(
    ("architecture", "module"),
    [
        ("opt", "model.decoder.layers.0.fc1"),  # llama.cpp has no OPT
        ("", "model.layers.0.mlp.down_proj"),
        ("llama", "model.layers.0.mlp.new_proj"),
        ("llama", "model.norm"),
    ],
)
def test_what_the_map_does_not_know_has_no_name(architecture: str, module: str) -> None:
    assert gguf_names(architecture, [module]) is None


def test_the_map_of_the_package_is_left_as_it_is() -> None:
    """gguf writes the exceptions of Arctic into the map of all architectures."""
    before = deepcopy(TensorNameMap.block_mappings_cfg)
    gguf_names("arctic", ["model.layers.0.self_attn.q_proj"])
    assert TensorNameMap.block_mappings_cfg == before
