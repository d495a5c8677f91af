"""Points of mixtures of experts, in the folders that transformers writes and in the model's own layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import PointError
from quant.external.experts import stored_pieces
from quant.external.load import load_external
from quant.space import distance
from tests.families import FAMILIES
from tests.tiny_tokenizer import tokenizer

# Experts one by one under other names, gate and up apart; stored in stacks; (in, out); one below the other in two axes.
LAYOUTS = ["mixtral", "qwen3_moe", "deepseek_v3", "granitemoe", "gpt_oss", "llama4_text", "dbrx", "jetmoe", "phimoe"]


def folder_of(model: torch.nn.Module, path: Path) -> Path:
    model.save_pretrained(path)
    tokenizer(model.config.vocab_size).save_pretrained(path)
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_that_transformers_wrote_is_read_back(tmp_path: Path, name: str) -> None:
    checkpoint = load_checkpoint(str(folder_of(FAMILIES[name].build(), tmp_path / "own")))
    other = FAMILIES[name].build()
    with torch.no_grad():
        for slot, weight in checkpoint.space.weights(other):
            weight.mul_(1 + 0.01 * slot.index).add_(0.001 * (slot.block + 1))
    point = load_external(folder_of(other, tmp_path / "other"), checkpoint, "other")
    assert all(torch.equal(point.tensor(slot), weight) for slot, weight in checkpoint.space.weights(other))
    assert distance(checkpoint.space, point, load_external(tmp_path / "own", checkpoint, "own")) > 0


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss"])
def test_a_folder_in_the_models_own_layout_is_read(tmp_path: Path, name: str) -> None:
    model = FAMILIES[name].build()
    folder = folder_of(model, tmp_path / "own")
    checkpoint = load_checkpoint(str(folder))
    save_file({n: t.contiguous() for n, t in model.state_dict().items()}, folder / "model.safetensors")
    point = load_external(folder, checkpoint, "own")
    assert all(torch.equal(point.tensor(slot), weight) for slot, weight in checkpoint.space.weights(model))


def test_mxfp4_of_gpt_oss_equals_that_of_transformers(tmp_path: Path) -> None:
    """Blocks and scales drawn at random; the reference is transformers' own dequantization, in float32."""
    config = FAMILIES["gpt_oss"].build().config
    config.intermediate_size = 64  # divided by blocks of 32
    model = AutoModelForCausalLM.from_config(config)
    folder = folder_of(model, tmp_path / "own")
    checkpoint, generator = load_checkpoint(str(folder)), torch.Generator().manual_seed(0)
    tensors, expected = load_file(folder / "model.safetensors"), {}
    for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, inputs, outputs = tensors.pop(name).shape
        shape = (experts, outputs, inputs // 32)
        blocks = torch.randint(0, 256, (*shape, 16), dtype=torch.uint8, generator=generator)
        scales = torch.randint(118, 126, shape, dtype=torch.uint8, generator=generator)
        tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        expected[name] = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    other = tmp_path / "other"
    folder_of(model, other)
    save_file(tensors, other / "model.safetensors")
    written = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**written, "quantization_config": {"quant_method": "mxfp4"}}))
    point = load_external(other, checkpoint, "mxfp4")
    for slot in checkpoint.space:
        if slot.stack:
            assert torch.equal(point.tensor(slot), expected[slot.stack][slot.index])
    assert len(expected) == 4


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    folder = folder_of(FAMILIES["qwen3_moe"].build(), tmp_path / "own")
    checkpoint = load_checkpoint(str(folder))
    pieces = stored_pieces(checkpoint.model, checkpoint.space)
    slot = next(s for s in checkpoint.space if s.expert and s.index == 2 and "gate_up" in s.name)
    assert [p.slot.name.rsplit(".", 2)[1] for p in pieces[slot.name]] == ["gate_proj", "up_proj"]

    tensors = load_file(folder / "model.safetensors")
    del tensors[pieces[slot.name][1].slot.name]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(PointError, match=r"experts\.2\.up_proj\.weight .*is missing"):
        load_external(folder, checkpoint, "x")


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "dbrx", "jetmoe"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_stack_of_more_or_fewer_experts_is_another_model(tmp_path: Path, name: str, change: int) -> None:
    """A stack with one expert more would otherwise be read without it, and with one less be read beyond its end."""
    model = FAMILIES[name].build()
    folder = folder_of(model, tmp_path / "own")
    checkpoint = load_checkpoint(str(folder))
    tensors = load_file(folder / "model.safetensors") if name != "mixtral" else model.state_dict()
    tensors = {n: t.contiguous() for n, t in tensors.items()}
    pieces = stored_pieces(checkpoint.model, checkpoint.space, tensors)
    slot = next(s for s in checkpoint.space if s.stack)
    stack, count = pieces[slot.name][0].slot.name, sum(s.stack == slot.stack for s in checkpoint.space)
    rows = len(tensors[stack]) // count
    tensors[stack] = (
        torch.cat([tensors[stack], tensors[stack][:rows]]) if change > 0 else tensors[stack][:-rows].clone()
    )
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(PointError, match=f"expected {count} matrices in .*, .* has {count + change}"):
        load_external(folder, checkpoint, "x")


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_an_excluded_expert_must_be_the_models_own(tmp_path: Path, name: str) -> None:
    """Files name it as they name the others, and the model does not; a folder that moved it is another function."""
    model = FAMILIES[name].build()
    own = folder_of(model, tmp_path / "own")
    checkpoint = load_checkpoint(str(own), exclude=["*.experts.0.*"])
    point = load_external(own, checkpoint, "own")
    assert all(torch.equal(point.tensor(slot), weight) for slot, weight in checkpoint.space.weights(checkpoint.model))
    slot = next(s for s in load_checkpoint(str(own)).space if s.expert and s.index == 0)
    with torch.no_grad():
        slot.slice(model.get_parameter(slot.parameter)).mul_(1.1)
    with pytest.raises(PointError, match=r"to be the checkpoint's, it differs by 0\.1 "):
        load_external(folder_of(model, tmp_path / "other"), checkpoint, "x")
