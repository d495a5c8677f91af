from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import CheckpointError
from tests import tiny

Save = Callable[..., Path]


def add(folder: Path, tensors: Mapping[str, Tensor], **config: object) -> Path:
    """Store further tensors beside the model's own, and further fields in its configuration."""
    save_file({**load_file(folder / "model.safetensors"), **tensors}, folder / "model.safetensors", {"format": "pt"})
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, **config}))
    return folder


def causal(size: int = 64) -> Tensor:
    return torch.ones(1, 1, size, size, dtype=torch.bool).tril()


def frequencies(size: int = 4, theta: float = 10000.0) -> Tensor:
    return 1 / theta ** (torch.arange(0, size, 2) / size)


def layer(index: int) -> dict[str, Tensor]:
    own = tiny.llama().state_dict()
    return {n.replace("layers.1.", f"layers.{index}."): t.clone() for n, t in own.items() if "layers.1." in n}


DROPPED = {
    "biases that the configuration does not announce": (
        tiny.llama, {"model.layers.0.self_attn.q_proj.bias": torch.ones(16)}, {}, r"layers\.0\.self_attn\.q_proj\.bias",
    ),
    "one layer more than it says": (tiny.llama, layer(2), {}, r"layers\.2\."),
    "a draft beyond those it announces": (tiny.llama, layer(3), {"num_nextn_predict_layers": 1}, r"layers\.3\."),
    "norms of queries": (tiny.llama, {"model.layers.0.self_attn.q_norm.weight": torch.ones(4)}, {}, "q_norm"),
    "scales of another tool": (tiny.llama, {"model.layers.1.mlp.up_proj.weight_scale": torch.ones(1)}, {}, "scale"),
    "another base of the rotary embedding": (
        tiny.llama, {"model.layers.0.self_attn.rotary_emb.inv_freq": frequencies(theta=500.0)}, {}, "inv_freq",
    ),
    "a mask that is not causal": (tiny.gpt2, {"transformer.h.0.attn.bias": ~causal()}, {}, r"attn\.bias"),
    "a head's bias": (tiny.opt, {"lm_head.bias": torch.ones(tiny.VOCABULARY)}, {}, r"lm_head\.bias"),
    "projections": (tiny.opt, {"model.decoder.project_in.weight": torch.ones(16, 16)}, {}, "project_in"),
}  # fmt: skip
HARMLESS = {
    "frequencies as they are": (
        tiny.llama, {"model.layers.0.self_attn.rotary_emb.inv_freq": frequencies().half()}, {},
    ),
    "masks of old versions": (
        tiny.gpt2, {"transformer.h.0.attn.bias": causal(), "h.1.attn.masked_bias": torch.tensor(-1e4)}, {},
    ),
    "biases of zero": (tiny.llama, {"model.layers.0.self_attn.q_proj.bias": torch.zeros(16)}, {}),
    "a draft layer": (tiny.llama, layer(2), {"num_nextn_predict_layers": 1}),
    "a draft module": (tiny.llama, {"mtp.layers.0.mlp.up_proj.weight": torch.ones(2, 2)}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", DROPPED)
def test_a_stored_tensor_that_the_model_does_not_take_is_an_error(saved: Save, case: str) -> None:
    make, tensors, config, name = DROPPED[case]
    with pytest.raises(CheckpointError, match=name) as caught:
        load_checkpoint(str(add(saved(make()), tensors, **config)))
    assert "does not take" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", HARMLESS)
def test_tensors_that_change_nothing_may_be_stored(saved: Save, case: str) -> None:
    make, tensors, config = HARMLESS[case]
    found = load_checkpoint(str(add(saved(make()), tensors, **config))).model
    model: nn.Module = make()
    ids = tiny.windows(2)
    with torch.inference_mode():
        assert torch.equal(found(input_ids=ids).logits, model(input_ids=ids).logits)


def test_names_that_a_class_ignores_are_found(saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = add(saved(), layer(2))
    monkeypatch.setattr(type(tiny.llama()), "_keys_to_ignore_on_load_unexpected", [r"layers\.2.*"])
    with pytest.raises(CheckpointError, match=r"layers\.2\."):
        load_checkpoint(str(folder))


def test_two_tensors_of_one_name_are_an_error(saved: Save) -> None:
    folder = saved()
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "a.safetensors")
    save_file({"model.norm.weight": 2 * tensors["model.norm.weight"]}, folder / "b.safetensors")
    places = {**dict.fromkeys(tensors, "a.safetensors"), "other": "b.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    with pytest.raises(CheckpointError, match=r"expected one model\.norm\.weight"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_a_norm_of_eight_bits_is_an_error(saved: Save, dtype: torch.dtype) -> None:
    folder = saved(tiny.llama())
    add(folder, {"model.norm.weight": torch.ones(16).to(dtype)})
    with pytest.raises(CheckpointError, match=r"floats of 16 bits or more.*norm\.weight"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("make", "name"),
    [(tiny.llama, "model.layers.0.mlp.up_proj.weight"), (tiny.gpt2, "transformer.h.0.attn.c_attn.weight")],
)
def test_a_tensor_with_and_without_the_prefix_of_the_base_model_is_an_error(
    saved: Save, make: Callable[[], nn.Module], name: str
) -> None:
    folder = saved(make())
    stored = load_file(folder / "model.safetensors")[name]
    add(folder, {name.partition(".")[2]: 2 * stored})
    with pytest.raises(CheckpointError, match="each tensor once"):
        load_checkpoint(str(folder))
