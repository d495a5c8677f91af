"""Tiny random models of the three architectures: the reference implementations are transformers' own."""

from __future__ import annotations

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

VOCABULARY = 61


def gpt2(seed: int = 0) -> nn.Module:
    """Fused, transposed ``Conv1D`` matrices."""
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.1,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _make(GPT2LMHeadModel, config, seed)


def opt(seed: int = 0) -> nn.Module:
    """OPT as most sizes are: pre-LN, no projections."""
    return _make(OPTForCausalLM, _opt_config(), seed)


def opt_350m(seed: int = 0) -> nn.Module:
    """OPT-350m's oddities: post-LN, and embeddings narrower than the stack, with projections outside the space."""
    return _make(OPTForCausalLM, _opt_config(word_embed_proj_dim=8, do_layer_norm_before=False), seed)


def llama(seed: int = 0) -> nn.Module:
    """Grouped-query attention: two query heads share one key and value head."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return _make(LlamaForCausalLM, config, seed)


ARCHITECTURES = {"gpt2": gpt2, "opt": opt, "opt-350m": opt_350m, "llama": llama}


def windows(count: int, length: int = 12, seed: int = 0) -> torch.Tensor:
    """Random token windows, (count, length)."""
    return torch.randint(0, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


def _opt_config(**changes: object) -> OPTConfig:
    options = {"word_embed_proj_dim": 16, "do_layer_norm_before": True, **changes}
    return OPTConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, ffn_dim=32, num_attention_heads=2,
        max_position_embeddings=64, dropout=0.1, pad_token_id=1, bos_token_id=2, eos_token_id=2, **options,
    )  # fmt: skip


def _make(kind: type, config: object, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(config).eval()
