from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import CheckpointError
from quant.identity import fingerprint
from tests import tiny

HEADS, KV_HEADS, HEAD = 4, 2, 16
WIDTH = HEADS * HEAD
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output",
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 500000.0}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversions are not kept in the user's cache."""
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))


def model(**config: Any) -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=tiny.VOCABULARY, hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=2,
                num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=131072,
                bos_token_id=0, eos_token_id=1, **config,
            )
        ).eval()  # fmt: skip


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of the rows of queries and keys."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write(
    path: Path,
    keys: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    theta: float = 10000.0,
    source: LlamaForCausalLM | None = None,
) -> Path:
    """The model as llama.cpp writes it, with further metadata of the architecture and further tensors."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(131072)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(tiny.VOCABULARY)
    adders = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    for key, value in (keys or {}).items():
        if key == "general.type":
            writer.add_type(value)
        else:
            adders[type(value)](f"llama.{key}", value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<s>", "</s>", "!#", *(chr(ord("!") + i) for i in range(tiny.VOCABULARY - 3))])
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (tiny.VOCABULARY - 2))
    writer.add_token_merges(["! #"])
    for name, parameter in (source or model()).named_parameters():
        values = parameter.detach().numpy()
        place = name.removesuffix(".weight").removeprefix("model.")
        layer, inner = place.split(".", 2)[1:] if place.startswith("layers.") else ("", place)
        heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KV_HEADS}.get(inner)
        stored = f"blk.{layer}.{NAMES[inner]}.weight" if layer else f"{NAMES[inner]}.weight"
        writer.add_tensor(stored, interleaved(values, heads) if heads else values)
    for name, values in (tensors or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def converter_factors(theta: float, factor: float, original: int) -> np.ndarray:
    """What llama.cpp's converter writes for Llama 3.1, number by number."""
    factors = []
    for i in range(0, HEAD, 2):
        wavelength = 2 * math.pi * theta ** (i / HEAD)
        if wavelength < original / 4.0:
            factors.append(1.0)
        elif wavelength > original / 1.0:
            factors.append(factor)
        else:
            smooth = (original / wavelength - 1.0) / (4.0 - 1.0)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)


@pytest.mark.parametrize(("factor", "original"), [(8.0, 8192), (32.0, 8192)])
def test_the_rotary_scaling_of_llama_3_is_read(tmp_path: Path, factor: float, original: int) -> None:
    rope = {**LLAMA3, "factor": factor, "original_max_position_embeddings": original}
    original_model = model(rope_parameters=rope)
    factors = converter_factors(500000.0, factor, original)
    path = write(tmp_path / "m.gguf", tensors={"rope_freqs.weight": factors}, theta=500000.0)
    plain = load_checkpoint(str(write(tmp_path / "plain.gguf", theta=500000.0)))
    found = load_checkpoint(str(path))
    assert torch.equal(found.model.model.rotary_emb.inv_freq, original_model.model.rotary_emb.inv_freq)
    ids = tiny.windows(2, 60)
    with torch.inference_mode():
        expected, other = (m(input_ids=ids).logits for m in (original_model, plain.model))
        assert torch.equal(found.model(input_ids=ids).logits, expected)
    assert not torch.equal(other, expected)
    assert found.fingerprint != plain.fingerprint
    assert found.model.config.rope_parameters["rope_type"] == "llama3"  # what is saved again has it too


def test_factors_of_one_change_nothing(tmp_path: Path) -> None:
    ones = write(tmp_path / "m.gguf", tensors={"rope_freqs.weight": np.ones(HEAD // 2, dtype=np.float32)})
    assert load_checkpoint(str(ones)).fingerprint == load_checkpoint(str(write(tmp_path / "p.gguf"))).fingerprint


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rope_freqs.weight", np.linspace(1, 3, HEAD // 2, dtype=np.float32)),  # of no known scaling
        ("rope_factors_long.weight", np.ones(HEAD // 2, dtype=np.float32)),
        ("rope_factors_short.weight", np.ones(HEAD // 2, dtype=np.float32)),
        ("blk.0.attn_q.bias", np.ones(WIDTH, dtype=np.float32)),
        ("blk.1.attn_q_norm.weight", np.ones(HEAD, dtype=np.float32)),
        ("blk.0.ffn_gate_inp.weight", np.ones((4, WIDTH), dtype=np.float32)),
        ("blk.2.attn_norm.weight", np.ones(WIDTH, dtype=np.float32)),
        ("output.bias", np.ones(tiny.VOCABULARY, dtype=np.float32)),
    ],
)
def test_a_tensor_that_is_left_out_is_an_error_that_names_it(tmp_path: Path, name: str, values: np.ndarray) -> None:
    path = write(tmp_path / "m.gguf", tensors={name: values})
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")) as caught:
        load_checkpoint(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        {"rope.scaling.type": "yarn", "rope.scaling.original_context_length": 4096},
        {"rope.scaling.factor": 2.0},
        {"rope.scaling.attn_factor": 1.2},
        {"attention.scale": 0.5},
        {"attention.sliding_window": 16},
        {"attn_logit_softcapping": 50.0},
        {"final_logit_softcapping": 30.0},
        {"logit_scale": 0.0625},
        {"residual_scale": 0.22},
        {"embedding_scale": 12.0},
        {"attention.key_length": 32},
        {"attention.causal": False},
        {"attention.max_alibi_bias": 8.0},
        {"expert_used_count": 2},
        {"use_parallel_residual": True},
        {"something.of_the_future": 1},
    ],
)
def test_metadata_that_the_model_does_not_follow_is_an_error(tmp_path: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=rf"llama\.{next(iter(keys))} = .*does not follow"):
        load_checkpoint(str(write(tmp_path / "m.gguf", keys)))


@pytest.mark.parametrize(
    "keys",
    [
        {"rope.scaling.type": "none", "rope.scaling.factor": 1.0, "rope.scaling.finetuned": True},
        {"attention.scale": HEAD**-0.5, "attention.key_length": HEAD, "attention.value_length": HEAD},
        {"attention.sliding_window": 131072, "attention.causal": True, "general.type": "model"},
        {"expert_used_count": 0, "expert_count": 0},
    ],
)
def test_metadata_that_says_the_same_is_no_error(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = write(tmp_path / "m.gguf", keys)
    ids = tiny.windows(1)
    with torch.inference_mode():
        assert torch.equal(load_checkpoint(str(path)).model(input_ids=ids).logits, model()(input_ids=ids).logits)


def test_parts_of_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a model in .*got 'adapter'"):
        load_checkpoint(str(write(tmp_path / "m.gguf", {"general.type": "adapter"})))


def test_an_adapter_beside_a_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="merge"):
        load_checkpoint(str(path))


def test_saving_again_keeps_the_model(tmp_path: Path, saved: Callable[..., Path]) -> None:
    factors = converter_factors(500000.0, 8.0, 8192)
    path = write(tmp_path / "m.gguf", tensors={"rope_freqs.weight": factors}, theta=500000.0)
    found = load_checkpoint(str(path)).model
    again = load_checkpoint(str(saved(found, "again"))).model
    assert torch.equal(again.model.rotary_emb.inv_freq, found.model.rotary_emb.inv_freq)
    assert fingerprint(again) == fingerprint(found)


@pytest.mark.parametrize("kept", [0.3, 0.9], ids=["in its head", "in its tensors"])
def test_a_file_that_was_cut_off_is_told_as_that(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "m.gguf")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(CheckpointError, match="cut off or damaged: fetch it again"):
        load_checkpoint(str(path), cache=tmp_path / "cache")


def test_a_damaged_text_of_a_file_is_no_matter_of_json(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes().replace(b"context_length", b"context_l\xffngth"))
    with pytest.raises(CheckpointError, match="cut off or damaged: fetch it again") as raised:
        load_checkpoint(str(path), cache=tmp_path / "cache")
    assert "JSON" not in str(raised.value)
