from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import PointError, ToolkitError, UsageError
from quant.external.load import load_external
from quant.external.tensor_files import TensorFiles
from quant.space import Slot
from tests import tiny
from tests.quant.external.folders import (
    AWQ,
    GPTQ,
    KINDS,
    Layer,
    Save,
    assert_is,
    awq_layer,
    compressed,
    compressed_layer,
    drawn,
    edit,
    gptq_layer,
    weights,
    write,
)


@pytest.fixture
def checkpoint(saved: Save) -> Checkpoint:
    return load_checkpoint(str(saved()))


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_folder_is_dequantized(checkpoint: Checkpoint, tmp_path: Path, kind: str) -> None:
    config, make = KINDS[kind]
    expected = write(tmp_path / "theirs", checkpoint, config, make)
    assert_is(tmp_path / "theirs", checkpoint, expected)
    point = load_external(tmp_path / "theirs", checkpoint, "theirs")
    assert (point.method, point.scheme, point.name) == ("theirs", None, "theirs")
    assert point.provenance["quantization_config"] == config
    assert list(point.parts) == [slot.name for slot in checkpoint.space]


@pytest.mark.parametrize("architecture", ["gpt2", "opt", "opt-350m"])
def test_gptq_of_other_architectures(saved: Save, tmp_path: Path, architecture: str) -> None:
    checkpoint = load_checkpoint(str(saved(tiny.ARCHITECTURES[architecture]())))
    expected = write(tmp_path / "theirs", checkpoint, GPTQ, gptq_layer)
    assert_is(tmp_path / "theirs", checkpoint, expected)


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_plain_folder_equals_the_model_of_transformers(saved: Save, architecture: str, dtype: torch.dtype) -> None:
    make = tiny.ARCHITECTURES[architecture]
    checkpoint = load_checkpoint(str(saved(make())))
    other = make()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, parameter in checkpoint.space.weights(other):
            parameter += torch.randn(parameter.shape, generator=generator)
    folder = saved(other.to(dtype), "theirs")
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert_is(folder, checkpoint, {slot.name: p.detach() for slot, p in checkpoint.space.weights(loaded)})
    assert load_external(folder, checkpoint, "x").fingerprint(checkpoint.space) == load_external(
        folder, checkpoint, "y"
    ).fingerprint(checkpoint.space)


def test_shards_are_read_through_their_index(checkpoint: Checkpoint, tmp_path: Path) -> None:
    expected = {slot.name: p.detach() for slot, p in checkpoint.space.weights(checkpoint.model)}
    checkpoint.model.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    save_file({"left.over": torch.ones(1)}, tmp_path / "shards" / "old.safetensors")
    assert_is(tmp_path / "shards", checkpoint, expected)
    hashes = load_external(tmp_path / "shards", checkpoint, "x").provenance["sha256"]
    assert len(hashes) > 2
    assert "old.safetensors" not in hashes


def test_file_may_have_the_tools_own_name(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    expected = write(folder, checkpoint, GPTQ, gptq_layer)
    (folder / "model.safetensors").rename(folder / "gptq_model-4bit-128g.safetensors")
    assert_is(folder, checkpoint, expected)
    save_file({"model.norm.weight": torch.ones(16)}, folder / "other.safetensors")
    with pytest.raises(PointError, match=r"one model\.norm\.weight"):
        load_external(folder, checkpoint, "x")


def test_prefix_of_the_base_model_may_be_missing_or_superfluous(saved: Save, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(str(saved(tiny.gpt2())))
    expected = write(tmp_path / "theirs", checkpoint, GPTQ, gptq_layer)

    def rename(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["transformer.lm_head.weight"] = tensors["wte.weight"].clone()

    edit(tmp_path / "theirs", rename)
    assert_is(tmp_path / "theirs", checkpoint, expected)
    edit(tmp_path / "theirs", lambda t: t["transformer.lm_head.weight"].add_(1))
    with pytest.raises(PointError, match=r"expected lm_head\.weight"):
        load_external(tmp_path / "theirs", checkpoint, "x")


@pytest.mark.parametrize("name", ["layers.0.self_attn.q_proj.qweight", "layers.1.input_layernorm.weight"])
def test_tensors_stored_under_two_names_are_refused(checkpoint: Checkpoint, tmp_path: Path, name: str) -> None:
    write(tmp_path / "theirs", checkpoint, GPTQ, gptq_layer)
    edit(tmp_path / "theirs", lambda t: t.update({name: t[f"model.{name}"] * 2}))
    with pytest.raises(PointError, match=r"expected one .* found it as .* and as ") as caught:
        load_external(tmp_path / "theirs", checkpoint, "x")
    assert f"model.{name}" in str(caught.value)


def test_layers_that_the_tool_left_alone_are_read_as_they_are(checkpoint: Checkpoint, tmp_path: Path) -> None:
    first, *_ = checkpoint.space
    kept = torch.randn(first.shape).half()

    def make(slot: Slot) -> Layer:
        return ({"weight": kept}, kept.float()) if slot == first else compressed_layer(slot)

    expected = write(tmp_path / "theirs", checkpoint, compressed(), make)
    assert_is(tmp_path / "theirs", checkpoint, expected)


def test_gptq_layers_may_differ_in_bits_and_lack_g_idx(checkpoint: Checkpoint, tmp_path: Path) -> None:
    first, *_ = checkpoint.space

    def make(slot: Slot) -> Layer:
        tensors, weight = gptq_layer(slot, 8 if slot == first else 4)
        if slot == first:
            return tensors, weight
        codes, zeros, scales, groups = drawn(slot, 4, 2)
        del tensors["g_idx"]
        return tensors, weights(slot, codes, zeros, scales, np.sort(groups))

    expected = write(tmp_path / "theirs", checkpoint, GPTQ, make)
    assert_is(tmp_path / "theirs", checkpoint, expected)


def test_only_the_requested_layer_is_read(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write(tmp_path / "theirs", checkpoint, GPTQ, gptq_layer)
    read: list[str] = []
    original = TensorFiles.read
    monkeypatch.setattr(TensorFiles, "read", lambda self, name: read.append(name) or original(self, name))
    point = load_external(tmp_path / "theirs", checkpoint, "x")
    assert not any("proj" in name for name in read)  # only tensors outside the space were compared
    read.clear()
    slot = checkpoint.space.slots[3]
    assert torch.equal(point.tensor(slot), expected[slot.name])
    assert {name.rpartition(".")[0] for name in read} == {slot.name.removesuffix(".weight")}


def test_roundings_outside_the_space_are_no_change(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    expected = write(folder, checkpoint, AWQ, awq_layer)
    edit(folder, lambda t: t.update({"model.norm.weight": t["model.norm.weight"].half()}))
    edit(folder, lambda t: t.update({"model.embed_tokens.weight": t["model.embed_tokens.weight"].bfloat16()}))
    assert_is(folder, checkpoint, expected)
    edit(folder, lambda t: t["model.embed_tokens.weight"].mul_(1.25))
    with pytest.raises(PointError, match=r"embed_tokens\.weight.*differs by 0\.2\d* of its norm.*outside"):
        load_external(folder, checkpoint, "x")


@pytest.mark.parametrize(("held", "stored"), [("bfloat16", torch.float16), ("float16", torch.bfloat16)])
def test_roundings_of_one_original_are_the_same_model(
    saved: Save, tmp_path: Path, held: str, stored: torch.dtype
) -> None:
    checkpoint = load_checkpoint(str(saved()), dtype=held)
    folder = saved(tiny.llama().to(stored), "theirs")
    load_external(folder, checkpoint, "x")
    edit(folder, lambda t: t["model.embed_tokens.weight"].mul_(1.02))  # 2⁻⁷ is the coarser eps
    with pytest.raises(PointError, match=r"embed_tokens\.weight"):
        load_external(folder, checkpoint, "x")


def test_tensors_without_a_place_in_the_model(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    expected = write(folder, checkpoint, GPTQ, gptq_layer)
    harmless = {
        "model.layers.0.self_attn.q_proj.bias": torch.zeros(16),
        "model.layers.0.self_attn.rotary_emb.inv_freq": checkpoint.model.model.rotary_emb.inv_freq.clone(),
        "model.layers.0.self_attn.q_proj.input_scale": torch.ones(1),
        "model.layers.0.self_attn.k_scale": torch.ones(1),
    }
    edit(folder, lambda t: t.update(harmless))
    assert_is(folder, checkpoint, expected)
    for name in ("model.layers.0.self_attn.q_proj.bias", "lm_head.scales", "model.layers.0.mlp.act.scales"):
        edit(folder, lambda t, name=name: t.update({name: torch.ones(16)}))
        with pytest.raises(PointError, match=f"expected only tensors of LlamaForCausalLM.*{name}"):
            load_external(folder, checkpoint, "x")
        edit(folder, lambda t, name=name: t.pop(name))


def without(suffix: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.pop(f"model.layers.1.self_attn.k_proj.{suffix}")


def with_(suffix: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.update({f"model.layers.1.self_attn.k_proj.{suffix}": tensor})


def ints(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int32)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("gptq", without("qweight"), r"k_proj\.weight \(weight or qweight\).*missing"),
        ("gptq", without("scales"), "expected a tensor 'scales', found g_idx, qweight, qzeros"),
        ("gptq", with_("qweight", ints(5, 8)), r"\(16 · bits / 32, 8\).*got \(5, 8\)"),
        ("gptq", with_("qweight", ints(2, 16)), r"got \(2, 16\)"),
        ("gptq", with_("qweight", ints(2, 8).long()), "got int64"),
        ("gptq", with_("qzeros", ints(2, 2)), "expected 1 int32 words"),
        ("gptq", with_("scales", torch.ones(3, 8)), r"scales of shape \(2, 8\)"),
        ("gptq", with_("scales", torch.full((2, 8), torch.nan)), "finite"),
        ("gptq", with_("g_idx", ints(15)), r"g_idx of shape \(16,\)"),
        ("gptq", with_("g_idx", ints(16) + 2), "groups 0 to 1"),
        ("awq", with_("qweight", ints(8, 1)), r"qweight of shape \(16, 1\)"),
        ("awq", without("qzeros"), "expected a tensor 'qzeros'"),
        ("pack-quantized", with_("weight_shape", torch.tensor([8, 15])), r"weight_shape \(8, 16\), got \(8, 15\)"),
        ("pack-quantized", with_("weight_packed", ints(8, 3)), "16 inputs packed with bits of 4, got 3 words"),
        ("pack-quantized", without("weight_scale"), "a tensor 'weight_scale', found weight_g_idx"),
        ("int-quantized", with_("weight", torch.zeros(8, 16)), r"int8 or 8-bit float .*got torch\.float32"),
        ("int-quantized", without("weight_scale"), "got I8 without weight_scale"),
        ("int-quantized", with_("weight", torch.zeros(8, 15, dtype=torch.int8)), r"of shape \(8, 16\) .*\(8, 15\)"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit(
    checkpoint: Checkpoint, tmp_path: Path, kind: str, change: Callable[..., object], message: str
) -> None:
    write(tmp_path / "theirs", checkpoint, *KINDS[kind])
    edit(tmp_path / "theirs", change)
    slot = next(slot for slot in checkpoint.space if slot.name == "model.layers.1.self_attn.k_proj.weight")
    with pytest.raises(PointError, match=message) as caught:
        load_external(tmp_path / "theirs", checkpoint, "x").tensor(slot)
    assert "\n" not in str(caught.value)
    assert "k_proj" in str(caught.value)


def test_other_models_are_refused(checkpoint: Checkpoint, saved: Save) -> None:
    with pytest.raises(PointError, match=r"a model of type llama in .*, got opt"):
        load_external(saved(tiny.opt(), "opt"), checkpoint, "x")

    def wider(config: Any) -> nn.Module:
        config.intermediate_size = 32
        return type(tiny.llama())(config)

    with pytest.raises(PointError, match=r"expected shape \(24, 16\).*has \(32, 16\)"):
        load_external(saved(wider(tiny.llama().config), "wider"), checkpoint, "x")
    with pytest.raises(PointError, match=r"to be the checkpoint's, it differs by 1\.\d of its norm"):
        load_external(saved(tiny.llama(seed=1), "trained otherwise"), checkpoint, "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_act", "gelu"), ("rms_norm_eps", 0.3), ("rope_parameters", {"rope_type": "default", "rope_theta": 77.0})],
)
def test_the_same_weights_in_another_function_are_refused(
    field: str, value: object, checkpoint: Checkpoint, saved: Save
) -> None:
    folder = saved(name="theirs")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(PointError, match=rf"expected {field}.* in config\.json .*another function"):
        load_external(folder, checkpoint, "x")


def test_fields_that_change_no_function_may_differ(checkpoint: Checkpoint, saved: Save) -> None:
    folder = saved(name="theirs")
    config = json.loads((folder / "config.json").read_text())
    other = {"use_cache": False, "dtype": "float16", "attention_dropout": 0.1, "pad_token_id": 3, "a_tool": "1.0"}
    (folder / "config.json").write_text(json.dumps({**config, **other}))
    load_external(folder, checkpoint, "x")


def test_missing_weights_and_embedding_of_another_size(checkpoint: Checkpoint, saved: Save) -> None:
    folder = saved(name="theirs")
    edit(folder, lambda t: t.update({"lm_head.weight": torch.ones(64, 16)}))
    with pytest.raises(PointError, match=r"expected shape \(61, 16\) in lm_head\.weight, .* has \(64, 16\)"):
        load_external(folder, checkpoint, "x")
    edit(folder, without("weight"))
    with pytest.raises(PointError, match=r"k_proj\.weight \(weight\) .*missing"):
        load_external(folder, checkpoint, "x")


def test_folders_that_cannot_be_read(checkpoint: Checkpoint, saved: Save, tmp_path: Path) -> None:
    def fails(path: Path, message: str, error: type[ToolkitError] = PointError) -> None:
        with pytest.raises(error, match=message) as caught:
            load_external(path, checkpoint, "x")
        assert "\n" not in str(caught.value)

    fails(tmp_path / "nowhere", "found nothing", UsageError)
    fails(Path(__file__), "found another file", UsageError)
    folder = saved(name="theirs")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:100])
    fails(folder, "expected safetensors in")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    fails(folder, r"only pytorch_model\.bin, which could run code")
    (folder / "pytorch_model.bin").unlink()
    fails(folder, "found no weights")
    index = folder / "model.safetensors.index.json"
    for content, message in (
        ("{", "expected JSON in"),
        ("[]", "got a list"),
        ("{}", "weight_map"),
        ('{"weight_map": {"a": "../secret.safetensors"}}', "weight_map of files beside it"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "expected safetensors in .*gone"),
    ):
        index.write_text(content)
        fails(folder, message)
    (folder / "config.json").write_text("{")
    fails(folder, "expected JSON in .*config.json")
    (folder / "config.json").unlink()
    fails(folder, "found a folder without it", UsageError)


@pytest.mark.parametrize("name", ["", "a/b", "a b"])
def test_name_is_one_word(checkpoint: Checkpoint, name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits"):
        load_external(Path(checkpoint.name), checkpoint, name)
