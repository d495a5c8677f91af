from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import CheckpointError, PointError
from quant.external.load import load_external
from tests import tiny

HEADS, KV_HEADS = 4, 2
Types = gguf.GGMLQuantizationType
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversions are not kept in the user's cache."""
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))


def model() -> LlamaForCausalLM:
    """Wide enough for GGUF's blocks of 32."""
    config = LlamaConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=64, bos_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return LlamaForCausalLM(config).eval()


def rotated(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of the rows of a query or key: the halves of each head interleaved."""
    rows = [h * (len(weight) // heads) + i for h in range(heads) for i in half_order(len(weight) // heads)]
    return weight[rows]


def half_order(size: int) -> list[int]:
    return [i for pair in zip(range(size // 2), range(size // 2, size), strict=True) for i in pair]


def write(
    path: Path, kind: Types, embedding: Types, change: Callable[[str, np.ndarray], np.ndarray]
) -> dict[str, Tensor]:
    """The model as llama.cpp would write it; the weights of the blocks after quantization, under their own names."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(tiny.VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<s>", "</s>", "!#", *(chr(ord("!") + i) for i in range(tiny.VOCABULARY - 3))])
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (tiny.VOCABULARY - 2))
    writer.add_token_merges(["! #"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    expected = {}
    for name, parameter in model().named_parameters():
        values = change(name, parameter.detach().numpy())
        place = name.removesuffix(".weight").removeprefix("model.")
        layer, inner = place.split(".", 2)[1:] if place.startswith("layers.") else ("", place)
        heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KV_HEADS}.get(inner)
        stored = kind if layer and values.ndim == 2 else embedding if values.ndim == 2 else Types.F32
        data = gguf.quants.quantize(rotated(values, heads) if heads else values, stored)
        writer.add_tensor(
            f"blk.{layer}.{NAMES[inner]}.weight" if layer else f"{NAMES[inner]}.weight", data, raw_dtype=stored
        )
        expected[name] = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(values, stored), stored))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def as_it_is(name: str, values: np.ndarray) -> np.ndarray:
    return values


@pytest.fixture
def checkpoint(saved: Callable[..., Path]) -> Checkpoint:
    return load_checkpoint(str(saved(model())))


@pytest.mark.parametrize("kind", [Types.F32, Types.F16, Types.BF16, Types.Q8_0, Types.Q4_0, Types.Q4_1])
def test_weights_equal_those_of_the_gguf_library(checkpoint: Checkpoint, tmp_path: Path, kind: Types) -> None:
    path = tmp_path / "theirs.gguf"
    embedding = Types.Q8_0 if kind.name.startswith("Q") else kind
    expected = write(path, kind, embedding, as_it_is)
    point = load_external(path, checkpoint, "llama.cpp")
    for slot in checkpoint.space:
        assert torch.equal(point.tensor(slot), expected[slot.name]), slot.name
    record = point.provenance["quantization_config"]
    assert record["tensor_types"][kind.name] >= 14
    assert (point.provenance["format"], list(point.provenance["sha256"])) == ("gguf", ["theirs.gguf"])
    rounded = record["rounded_outside"]
    if embedding == Types.Q8_0:
        assert set(rounded) == {"model.embed_tokens.weight", "lm_head.weight"}
        assert all(1e-4 < distance < 0.01 for distance in rounded.values())
    else:
        assert rounded == {}


@pytest.mark.parametrize("embedding", [Types.F16, Types.Q8_0])
@pytest.mark.parametrize("changed", ["model.norm.weight", "model.embed_tokens.weight"])
def test_other_tensors_outside_the_space_are_refused(
    checkpoint: Checkpoint, tmp_path: Path, changed: str, embedding: Types
) -> None:
    def change(name: str, values: np.ndarray) -> np.ndarray:
        return np.roll(values, 1, axis=0) * 1.5 if name == changed else values

    write(tmp_path / "theirs.gguf", Types.Q8_0, embedding, change)
    with pytest.raises(PointError, match=f"expected {changed} of .*differs by"):
        load_external(tmp_path / "theirs.gguf", checkpoint, "x")


def test_other_models_are_refused(saved: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "theirs.gguf"
    write(path, Types.Q8_0, Types.F32, as_it_is)
    with pytest.raises(PointError, match=r"of type opt in .*got llama"):
        load_external(path, load_checkpoint(str(saved(tiny.opt()))), "x")
    with pytest.raises(PointError, match=r"expected shape \(16, 16\).*has \(32, 32\)"):
        load_external(path, load_checkpoint(str(saved(tiny.llama(), "narrow"))), "x")
    path.write_bytes(b"GGUF")
    with pytest.raises(CheckpointError):
        load_external(path, load_checkpoint(str(saved(model(), "same"))), "x")


LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"rms_norm_eps": 1e-3}, r"attention\.layer_norm_rms_epsilon"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}, "a rotary base of 10000"),
        ({"rope_parameters": LLAMA3}, "rotary scaling 'default', where the checkpoint has 'llama3'"),
    ],
)
def test_the_same_weights_as_another_function_are_refused(
    saved: Callable[..., Path], tmp_path: Path, change: dict[str, object], found: str
) -> None:
    folder = saved(model())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    write(tmp_path / "theirs.gguf", Types.F32, Types.F32, as_it_is)
    with pytest.raises(PointError, match=f"{found}.*another function"):
        load_external(tmp_path / "theirs.gguf", load_checkpoint(str(folder)), "x")
