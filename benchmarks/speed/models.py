"""Build the models that speed is measured on: shapes of real ones with random weights, or a real one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

SMOLLM_VOCABULARY = 49152
SMOLLM_BLOCKS = 30
WIDE_VOCABULARY = 151_936
"""|V| of Qwen2."""


@dataclass(frozen=True)
class Options:
    """Settings of a benchmark."""

    rounds: int = 9
    """Pairs of neighbours that a ratio is the median of."""
    model: str | None = None
    """Name of a model, whose weights and tokens the forward passes take; None for random ones in SmolLM2's shapes."""
    blocks: int = SMOLLM_BLOCKS
    """Number of blocks of the random model, for tests."""


def random_llama(
    *, vocabulary: int, blocks: int, width: int = 576, inner: int = 1536, heads: int = 9, groups: int = 3,
    positions: int = 2048,
) -> nn.Module:  # fmt: skip
    """Build a Llama with random weights and a tied head."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=blocks,
        num_attention_heads=heads, num_key_value_heads=groups, max_position_embeddings=positions,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def smollm(blocks: int = SMOLLM_BLOCKS) -> nn.Module:
    """Build a model in the shape of SmolLM2-135M, or of its first blocks."""
    return random_llama(vocabulary=SMOLLM_VOCABULARY, blocks=blocks)


def random_tokens(windows: int, length: int, vocabulary: int = SMOLLM_VOCABULARY) -> Tensor:
    """Draw windows of random token ids, (windows, length)."""
    return torch.randint(0, vocabulary, (windows, length), generator=torch.Generator().manual_seed(0))


def subject(options: Options, windows: int, length: int) -> tuple[nn.Module, Tensor]:
    """Return the model of the options, and windows of token ids, (windows, length).

    A named model is loaded as `landscape` loads it. Its windows are random too: no forward pass depends on them.
    """
    if options.model is None:
        return smollm(options.blocks), random_tokens(windows, length)
    from quant.checkpoints.checkpoint import load_checkpoint

    model = load_checkpoint(options.model, dtype="float32", device="cpu").model
    return model, random_tokens(windows, length, model.get_input_embeddings().num_embeddings)
