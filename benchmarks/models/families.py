"""List the families: the configuration of each model, the text that it learns, and for how long.

Every matrix of the blocks has a multiple of 128 inputs, so that groups of 128, 32 and 16 fit. Token 0 begins and ends a
text and token 1 is padding, in the tokenizers of both texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from data.train import Recipe

RECIPE = Recipe(
    layers=4,
    dropout=0.0,
    dropout_steps=0,
    batch_tokens=1024,  # the budget is a few million tokens: smaller steps, and more of them, use it best
    aligned=0.1,
    tail=0,
    floor=0.02,
    seed=1,
)
"""The recipe that all families share; the optimizer, its rate and its clipping are those of opt-nano."""
_TOKENS: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}


@dataclass(frozen=True)
class Family:
    """A small model of one family, and how it is trained."""

    name: str
    """Name of the model, and of its folder."""
    text: Literal["wikitext-2", "tales"]
    """The text that it learns."""
    features: str
    """The parts that set the family apart, in a few words."""
    steps: int
    """Training steps, for about 25 minutes on one slow core."""
    config: Callable[[Recipe, int], PreTrainedConfig]
    """Function from a recipe and the number of token ids to a configuration."""
    layers: int = RECIPE.layers
    """Number of blocks."""

    @property
    def recipe(self) -> Recipe:
        """Return everything that decides the weights, apart from the family and its text."""
        return replace(RECIPE, layers=self.layers, steps=self.steps)

    def build(self, recipe: Recipe, vocabulary: int) -> PreTrainedModel:
        """Return a freshly initialised model; the seed is torch's."""
        return AutoModelForCausalLM.from_config(self.config(recipe, vocabulary))


def _gpt_neox(recipe: Recipe, vocabulary: int) -> PreTrainedConfig:
    """Return a small Pythia: parallel blocks, partly rotary, fused and interleaved QKV, an untied head."""
    return GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.hidden,
        intermediate_size=4 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=recipe.positions,
        tie_word_embeddings=False,
        **_TOKENS,
    )


def _gpt2(recipe: Recipe, vocabulary: int) -> PreTrainedConfig:
    """Return a small GPT-2: transposed Conv1D matrices, fused QKV, learned positions."""
    return GPT2Config(
        vocab_size=vocabulary,
        n_embd=recipe.hidden,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        n_positions=recipe.positions,
        activation_function="gelu_pytorch_tanh",  # the same function as gelu_new in one kernel
        resid_pdrop=recipe.dropout,
        embd_pdrop=recipe.dropout,
        attn_pdrop=0.0,
        **_TOKENS,
    )


def _qwen3(recipe: Recipe, vocabulary: int) -> PreTrainedConfig:
    """Return a small Qwen3: norms of q and k, grouped queries, heads wider than the stream, SwiGLU."""
    return Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=recipe.hidden,
        intermediate_size=3 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads // 2,
        head_dim=2 * recipe.hidden // recipe.heads,
        max_position_embeddings=recipe.positions,
        tie_word_embeddings=True,
        **_TOKENS,
    )


def _gemma3(recipe: Recipe, vocabulary: int) -> PreTrainedConfig:
    """Return a small Gemma 3: norms after attention and MLP too, GeGLU, local and global attention in turn."""
    width = 2 * recipe.hidden // recipe.heads
    return Gemma3TextConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.hidden,
        intermediate_size=3 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=1,
        head_dim=width,
        query_pre_attn_scalar=width,
        sliding_window=recipe.positions // 4,
        layer_types=["sliding_attention" if i % 2 == 0 else "full_attention" for i in range(recipe.layers)],
        max_position_embeddings=recipe.positions,
        **_TOKENS,
    )


FAMILIES = {
    family.name: family
    for family in (
        Family("gpt-neox", "wikitext-2", "parallel blocks, partly rotary, fused QKV, untied head", 3000, _gpt_neox),
        Family("gpt2", "tales", "transposed Conv1D, fused QKV, learned positions", 3000, _gpt2, layers=5),
        Family("qwen3", "wikitext-2", "norms of q and k, grouped queries, SwiGLU", 3000, _qwen3),
        Family("gemma3", "tales", "norms before and after, GeGLU, local and global attention", 3000, _gemma3),
    )
}
"""The families, in the order of training."""
