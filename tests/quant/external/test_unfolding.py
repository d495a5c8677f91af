from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from quant.checkpoint import Checkpoint, load_checkpoint
from quant.errors import PointError, UsageError
from quant.external import load_external
from tests import tiny
from tests.quant.external import folding
from tests.quant.external.folding import GEMMA2, GPT2, LLAMA, OPT, PHI3, UP_DOWN, V_O, Folds

Save = Callable[..., Path]
TOKENS = tiny.windows(4)
SIZES = {
    "vocab_size": tiny.VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": 0, "head_dim": 4,
}  # fmt: skip


def make(kind: type, config: type, **changes: object) -> Callable[[], nn.Module]:
    options = {**SIZES, **changes}

    def made() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return kind(config(**options)).eval()

    return made


def phi3() -> nn.Module:
    options = {key: value for key, value in SIZES.items() if key != "head_dim"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Phi3ForCausalLM(Phi3Config(**{**options, "num_key_value_heads": 4})).eval()


MODELS: dict[str, tuple[Callable[[], nn.Module], Folds, Sequence[tuple[str, str]], dict[str, object]]] = {
    "llama, grouped queries": (tiny.llama, LLAMA, [UP_DOWN], {}),
    "llama, v into o of grouped queries": (tiny.llama, LLAMA, [V_O], {"head": 4}),
    "llama": (make(LlamaForCausalLM, LlamaConfig, num_key_value_heads=4), LLAMA, [V_O, UP_DOWN], {}),
    "qwen2, biases": (make(Qwen2ForCausalLM, Qwen2Config, num_key_value_heads=4), LLAMA, [V_O, UP_DOWN], {}),
    "qwen3, norms of heads": (make(Qwen3ForCausalLM, Qwen3Config), LLAMA, [UP_DOWN], {}),
    "phi3, fused": (phi3, PHI3, [("mlp.gate_up_proj", "mlp.down_proj")], {"last_rows": True}),
    "gemma, 1 + w": (make(GemmaForCausalLM, GemmaConfig), LLAMA, [UP_DOWN], {"offset": 1.0}),
    "gemma2": (make(Gemma2ForCausalLM, Gemma2Config), GEMMA2, [UP_DOWN], {"offset": 1.0}),
    "opt, biases and relu": (tiny.opt, OPT, [("self_attn.v_proj", "self_attn.out_proj"), ("fc1", "fc2")], {}),
    "gpt2, transposed": (tiny.gpt2, GPT2, [], {}),
}  # fmt: skip


def opened(saved: Save, made: Callable[[], nn.Module], name: str = "model") -> Checkpoint:
    return load_checkpoint(str(saved(folding.lively(made()), name)))


@pytest.mark.parametrize("gauge", ["nearest", "stored"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("form", "dtype"), [("awq", torch.float32), ("compressed", torch.float16), ("plain", torch.float32)])
def test_unfolded_point_is_the_folders_own_function(
    saved: Save, tmp_path: Path, model: str, form: str, dtype: torch.dtype, gauge: str
) -> None:
    made, norms, pairs, options = MODELS[model]
    if dtype == torch.float16:  # so that what is not folded is as it was
        made = partial(lambda first: first().half().float(), made)
    checkpoint = opened(saved, made)
    if dtype == torch.float16:
        checkpoint = load_checkpoint(str(saved(checkpoint.model.half(), "halved")))
    before = copy.deepcopy(checkpoint.model.state_dict())
    exact = folding.write(tmp_path / "theirs", checkpoint, form, lambda m: folding.fold(m, norms, pairs, **options), dtype)
    point = load_external(tmp_path / "theirs", checkpoint, "theirs", gauge)
    print(model, form, folding.loss(exact, TOKENS), folding.loss(folding.at(checkpoint, point), TOKENS) - folding.loss(exact, TOKENS), folding.relative_distance(checkpoint, point))
    tolerance = 1e-3 if dtype == torch.float16 and model.startswith(("opt", "gpt2", "qwen2")) else 1e-6
    assert folding.loss(folding.at(checkpoint, point), TOKENS) == pytest.approx(folding.loss(exact, TOKENS), abs=tolerance)
    assert all(torch.equal(tensor, before[name]) for name, tensor in checkpoint.model.state_dict().items())
