"""Models as recipes see them, and scripts of recipes as their libraries see them."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any
from unittest.mock import MagicMock

from torch import nn
from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

from landscape.advice.recipe import Original, Recipe
from quant.coverage import VECTORS, coverage
from quant.space import WeightSpace


def original(model: nn.Module, name: str = "org/m", exclude: Sequence[str] = (), **changes: Any) -> Original:
    """A model whose weight space was measured."""
    space = WeightSpace.of(model, exclude)
    outside = any(each.kind != VECTORS for each in coverage(model, space).outside)
    kind = model.config.model_type
    return Original(name, kind, slots=tuple(space), outside=outside, **changes)


def qwen2_moe() -> nn.Module:
    """Routers, stacked experts, and a gate of the shared expert."""
    config = Qwen2MoeConfig(
        vocab_size=61, hidden_size=16, intermediate_size=24, moe_intermediate_size=8,
        shared_expert_intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        num_experts=4, num_experts_per_tok=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return Qwen2MoeForCausalLM(config)


def calls(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Run a script with stand-ins for all that it imports, and return what it gives to each, by the name."""
    library = MagicMock()
    exec(recipe.code, {"__builtins__": {**vars(builtins), "__import__": lambda *names: library}})
    return {name: given for name, _, given in library.mock_calls if name.isidentifier()}
