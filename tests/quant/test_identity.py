from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, MistralConfig, MistralForCausalLM

from quant.center import Center
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.self_corpus import recipe_fingerprint
from quant.identity import fingerprint
from quant.methods.qaft import _run_key
from tests import tiny

Save = Callable[..., Path]
SIZES = {"vocab_size": tiny.VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


def mistral() -> nn.Module:
    torch.manual_seed(0)
    return MistralForCausalLM(MistralConfig(**SIZES, **HEADS, head_dim=4, bos_token_id=0, eos_token_id=0))


def gemma3() -> nn.Module:
    torch.manual_seed(0)
    return Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, **HEADS, head_dim=4, pad_token_id=0))


def with_config(folder: Path, **changes: object) -> str:
    """The folder with other fields in its configuration, and the same weights."""
    path = folder / "config.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), **changes}))
    try:
        return load_checkpoint(str(folder)).fingerprint
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (tiny.llama, {"hidden_act": "gelu"}),
        (tiny.llama, {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
        (tiny.llama, {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}),
        (tiny.llama, {"rms_norm_eps": 1e-5}),
        (tiny.gpt2, {"activation_function": "relu"}),
        (tiny.gpt2, {"n_head": 4}),
        (tiny.gpt2, {"layer_norm_epsilon": 1e-3}),
        (tiny.gpt2, {"scale_attn_by_inverse_layer_idx": True}),
        (tiny.opt, {"activation_function": "gelu"}),
        (mistral, {"sliding_window": 4}),
        (gemma3, {"query_pre_attn_scalar": 16}),
        (gemma3, {"final_logit_softcapping": 3.0}),
        (gemma3, {"layer_types": ["full_attention", "sliding_attention"]}),
        (tiny.llama, {"pad_token_id": 3}),  # some models count positions from it
        (tiny.llama, {"a_field_of_the_future": 1}),
    ],
)
def test_the_same_weights_in_another_function_are_another_model(
    saved: Save, make: Callable[[], nn.Module], changes: dict[str, object]
) -> None:
    folder = saved(make())
    assert with_config(folder, **changes) != load_checkpoint(str(folder)).fingerprint


def test_fields_that_no_forward_pass_reads_do_not_count(saved: Save) -> None:
    folder = saved()
    inert = {
        "_name_or_path": "elsewhere", "transformers_version": "4.0.0", "architectures": None, "torch_dtype": "bfloat16",
        "dtype": "bfloat16", "use_cache": False, "id2label": {"0": "a"}, "output_hidden_states": True,
        "attn_implementation": "eager",
    }  # fmt: skip
    for field, value in inert.items():
        assert with_config(folder, **{field: value}) == load_checkpoint(str(folder)).fingerprint, field


def test_the_class_of_the_model_counts(saved: Save) -> None:
    class Other(type(tiny.llama())):  # type: ignore[misc]
        pass

    model = tiny.llama()
    before = fingerprint(model)
    model.__class__ = Other
    assert fingerprint(model) != before


def test_nested_configurations_count() -> None:
    whole = nn.Module()
    model = tiny.llama()
    whole.model = model
    marks = []
    for epsilon in (1e-6, 1e-5):
        model.config.rms_norm_eps = epsilon
        whole.config = LlamaConfig(parts={"text": [model.config]})
        marks.append(fingerprint(whole))
    assert marks[0] != marks[1]


def test_weights_in_place_of_the_models_own() -> None:
    model, other = tiny.llama(), tiny.llama(seed=1)
    assert fingerprint(model, dict(other.named_parameters())) == fingerprint(other)


def test_samples_and_states_of_training_follow_the_configuration(saved: Save) -> None:
    folder = saved()
    first = load_checkpoint(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu"}))
    second = load_checkpoint(str(folder))
    assert recipe_fingerprint(first, 8, 0) != recipe_fingerprint(second, 8, 0)
    keys = {_run_key(c.model, c.space, Center.of(c.model, c.space), {"a": 1}) for c in (first, second)}
    assert len(keys) == 2


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_fingerprint_changes_with_one_ulp_of_any_tensor(architecture: str) -> None:
    model = tiny.ARCHITECTURES[architecture]()
    marks = [fingerprint(model)]
    with torch.no_grad():
        for parameter in model.parameters():
            last = parameter.view(-1)[-1]
            last.copy_(torch.nextafter(last, torch.tensor(torch.inf)))
            marks.append(fingerprint(model))
    assert len(set(marks)) == len(marks)


def test_fingerprint_sees_persistent_buffers_shapes_and_names_only() -> None:
    module = torch.nn.Module()
    module.register_buffer("kept", torch.zeros(2))
    module.register_buffer("derived", torch.zeros(2), persistent=False)
    module.weight = torch.nn.Parameter(torch.zeros(2, 3))
    before = fingerprint(module)
    module.derived += 1
    assert fingerprint(module) == before
    module.zz_tied = module.weight
    assert fingerprint(module) == before
    del module.zz_tied
    module.kept += 1
    assert fingerprint(module) != before
    module.kept -= 1
    module.weight = torch.nn.Parameter(torch.zeros(3, 2))
    assert fingerprint(module) != before
