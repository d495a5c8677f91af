import pytest
from torch import nn

from landscape.positions.fused_layers import engine_names, fused_group, fused_groups
from quant.space import WeightSpace
from tests import tiny


def sharing_inputs(model):
    """Group the matrices of blocks that read one and the same tensor: servers can join these into one."""
    readers, kept = {}, []

    def note(name):
        def hook(module, inputs):
            kept.append(inputs[0])  # so that no other tensor gets its identity
            readers.setdefault(id(inputs[0]), []).append(f"{name}.weight")

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and "lm_head" not in name:
            module.register_forward_pre_hook(note(name))
    model(tiny.windows(1))
    return [set(names) for names in readers.values() if len(names) > 1]


@pytest.mark.parametrize("model", [tiny.llama(), tiny.opt()], ids=["llama", "opt"])
def test_matrices_that_read_one_input_are_one_group(model):
    names = [slot.name for slot in WeightSpace.of(model)]
    groups = fused_groups(names)
    assert sorted(name for group in groups for name in group) == sorted(names)
    expected = sharing_inputs(model)
    assert expected
    assert [set(group) for group in groups if len(group) > 1] == expected


def test_experts_of_a_layer_are_one_group_however_they_are_stored():
    router, shared = "model.layers.0.mlp.gate.weight", "model.layers.0.mlp.shared_expert.up_proj.weight"
    split = [f"model.layers.{block}.mlp.experts.{e}.{kind}.weight" for block in (0, 1) for e in (0, 1) for kind in "wu"]
    stacked = ["model.layers.2.mlp.experts.0.gate_up_proj", "model.layers.2.mlp.experts.1.down_proj"]
    assert fused_groups([router, *split, shared, *stacked]) == (
        (router,), tuple(split[:4]), tuple(split[4:]), (shared,), tuple(stacked),
    )  # fmt: skip


def test_the_linear_attention_of_qwen3_5_has_two_groups():
    names = [f"model.layers.0.linear_attn.in_proj_{part}.weight" for part in ("qkv", "z", "b", "a")]
    assert fused_groups(names) == (tuple(names[:2]), tuple(names[2:]))


def test_a_group_has_one_name_without_its_first_member():
    assert fused_group("h.1.attn.v_proj") == fused_group("h.1.attn.k_proj.weight") != fused_group("h.11.attn.k_proj")
    assert fused_group("w3") == fused_group("w1") != fused_group("w2")
    assert fused_groups([]) == ()


@pytest.mark.parametrize(
    ("name", "joined"),
    [
        ("model.layers.3.self_attn.v_proj.weight", ("model.layers.3.self_attn.qkv_proj",)),
        ("model.layers.3.mlp.up_proj", ("model.layers.3.mlp.gate_up_proj",)),
        ("model.layers.3.mlp.experts.7.w3.weight", ("model.layers.3.mlp.experts",)),
        ("model.layers.3.mlp.shared_experts.up_proj.weight", ("model.layers.3.mlp.shared_experts.gate_up_proj",)),
        (
            "model.layers.3.feed_forward.w3.weight",
            ("model.layers.3.feed_forward.gate_up_proj", "model.layers.3.feed_forward.w13"),
        ),
        ("model.layers.3.linear_attn.in_proj_z.weight", ("model.layers.3.linear_attn.in_proj_qkvz",)),
        ("model.layers.3.linear_attn.in_proj_a.weight", ("model.layers.3.linear_attn.in_proj_ba",)),
        ("model.layers.3.linear_attn.out_proj.weight", ()),
        ("model.layers.3.self_attn.o_proj.weight", ()),
        ("model.layers.3.mlp.down_proj.weight", ()),
    ],
)
def test_an_engine_has_a_name_of_its_own_for_what_it_joins(name, joined):
    assert engine_names(name) == joined
    assert engine_names("model.layers.0.self_attn.kv_a_proj_with_mqa")[0].endswith(".fused_qkv_a_proj")
