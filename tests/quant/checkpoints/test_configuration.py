"""Test that a damaged folder of a model is refused with the file and the field that are wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from quant.checkpoints.pretrained import read_folder
from quant.errors import CheckpointError
from tests import tiny

Saved = Callable[..., Path]
DEEP, DIGITS = "[" * 100_000, '{"a": ' + "9" * 5000 + "}"
FIELDS = [
    ("architectures", -1, "expected a list of names as architectures"),
    ("architectures", "LlamaForCausalLM", "expected a list of names as architectures"),
    ("architectures", [["a"]], "got a list"),
    ("model_type", [], "expected a text as model_type in .*, got a list"),
    ("dtype", "1e5", "expected the name of a dtype, such as float32 as dtype"),
    ("torch_dtype", "nn", "expected the name of a dtype, such as float32 as torch_dtype"),
    ("text_config", "abc", "expected an object as text_config in .*, got 'abc'"),
    ("quantization_config", [1], "expected an object as quantization_config in .*, got a list"),
    ("num_attention_heads", -1, "expected num_attention_heads of at least 0"),
    ("attention_dropout", 1.5, "expected attention_dropout from 0 to 1"),
    ("pad_token_id", 10**30, "got: Padding_idx must be within num_embeddings"),
    ("hidden_size", "abc", "got: Validation error for field 'hidden_size': .*expected int, got str"),
    ("hidden_size", None, "got: Validation error for field 'hidden_size': .*expected int, got NoneType"),
    ("hidden_act", "abc", "got: the unknown name 'abc'"),
]


@pytest.mark.parametrize(("name", "value", "message"), FIELDS, ids=lambda part: str(part)[:20])
def test_a_field_of_a_wrong_kind_is_named(saved: Saved, name: str, value: object, message: str) -> None:
    folder = saved()
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(CheckpointError, match=message) as raised:
        read_folder(folder, "float32")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mm_vision_select_layer", -2),
        ("vision_feature_layer", -1),
        ("lora_dropout", -1),
        ("model_max_length", 1000000000000000019884624838656),
    ],
)
def test_a_field_that_no_reader_takes_for_a_size_is_taken(saved: Saved, name: str, value: object) -> None:
    folder = saved()
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    read_folder(folder, "float32")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DEEP, "lists or objects more than 100 deep"),
        (DIGITS, "an integer of 5000 digits"),
        ("{", "a fault in line 1"),
        ("[]", "got a list"),
        ("null", "got null"),
    ],
    ids=["deep", "digits", "cut off", "list", "null"],
)
def test_a_damaged_file_of_json_is_named(saved: Saved, name: str, content: str, message: str) -> None:
    folder = saved()
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=message) as raised:
        read_folder(folder, "float32")
    assert f"in {folder / name}, got" in str(raised.value)


@pytest.mark.parametrize("name", ["eval_samples.json", "trainer_state.json", "data.json"])
def test_a_file_that_no_reader_takes_is_not_blamed(saved: Saved, name: str) -> None:
    folder = saved()
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": "nosuchmodel"}))
    (folder / name).write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(CheckpointError, match="nosuchmodel") as raised:
        read_folder(folder, "float32")
    assert name not in str(raised.value)


@pytest.mark.parametrize(
    ("family", "left_out"), [("llama", ["hidden_size", "intermediate_size"]), ("gpt_neox", ["hidden_size"])]
)
def test_a_size_that_is_left_out_builds_no_large_model(
    saved: Saved, monkeypatch: pytest.MonkeyPatch, family: str, left_out: list[str]
) -> None:
    """The default size is that of a large model; earlier code allocated it before refusing the folder."""
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    config = AutoConfig.for_model(family, **sizes, num_attention_heads=2, max_position_embeddings=32)
    folder = saved(AutoModelForCausalLM.from_config(config))
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({name: content[name] for name in content if name not in left_out}))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)  # nothing is read
    with pytest.raises(CheckpointError, match=r"expected the configuration of a model of about .* got one of"):
        read_folder(folder, "float32")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("a pipe", os.mkfifo),
        ("a device", lambda path: path.symlink_to("/dev/zero")),
        ("a link to nothing", lambda path: path.symlink_to("nowhere")),
    ],
)
def test_what_is_no_file_is_refused_before_it_is_read(
    saved: Saved, name: str, kind: str, make: Callable[[Path], object]
) -> None:
    folder = saved()
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(CheckpointError, match=f"expected a file at .*{name}, found {kind}; put the model's own"):
        read_folder(folder, "float32")


@pytest.mark.parametrize("name", ["vocab_size", "intermediate_size"])
def test_a_size_of_zero_is_refused_without_a_warning_of_a_library(saved: Saved, name: str) -> None:
    folder = saved(tiny.llama())
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {name: 0}))
    with pytest.raises(CheckpointError, match=r"expected .* of shape \[.*\b0\b"):  # warnings are errors in tests
        read_folder(folder, "float32")


def test_a_rotation_of_more_dimensions_than_a_head_has_builds_no_large_table(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    config = AutoConfig.for_model("gpt_neox", **sizes, num_attention_heads=2, max_position_embeddings=32)
    folder = saved(AutoModelForCausalLM.from_config(config))
    content = json.loads((folder / "config.json").read_text())
    content["rope_parameters"]["partial_rotary_factor"] = 2**31
    (folder / "config.json").write_text(json.dumps(content))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)  # nothing is read
    with pytest.raises(CheckpointError, match=r"expected a model that computes tables of at most 2048 MiB in .*; give"):
        read_folder(folder, "float32")


def test_a_tensor_of_another_shape_is_named_with_both(saved: Saved) -> None:
    folder = saved(tiny.llama())
    file, name = folder / "model.safetensors", "model.layers.0.mlp.up_proj.weight"
    tensors = load_file(file)
    save_file(tensors | {name: tensors[name][:-1].contiguous()}, file, {"format": "pt"})
    message = rf"expected {name} of shape \[24, 16\] in .*, as its configuration says, found \[23, 16\]"
    with pytest.raises(CheckpointError, match=message):
        read_folder(folder, "float32")


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8], ids=str)
@pytest.mark.parametrize("name", ["model.layers.0.mlp.up_proj.weight", "model.norm.weight"])
def test_integers_are_no_weights(saved: Saved, name: str, dtype: torch.dtype) -> None:
    folder = saved(tiny.llama())
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file(tensors | {name: tensors[name].to(dtype)}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"expected floats of 16 bits or more in .*, got {name} as [BIU]"):
        read_folder(folder, "float32")


@pytest.mark.parametrize("kept", [[], ["tokenizer_config.json"]], ids=["nothing", "settings alone"])
def test_a_model_without_a_tokenizer_says_what_to_add(saved: Saved, kept: list[str]) -> None:
    folder = saved()
    for file in folder.glob("*token*"):
        if file.name not in kept:
            file.unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer.*; add tokenizer\.json and tokenizer_config.json") as raised:
        read_folder(folder, "float32")
    assert "Couldn't" not in str(raised.value)
