from __future__ import annotations

import pytest
from transformers import (
    BloomConfig,
    CodeGenConfig,
    Gemma3Config,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MptConfig,
    OPTConfig,
    RwkvConfig,
)

from quant.checkpoints.context import context_of


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (LlamaConfig(max_position_embeddings=64), 64),
        (GPT2Config(n_positions=32), 32),
        (OPTConfig(max_position_embeddings=48), 48),
        (CodeGenConfig(n_positions=2048, n_ctx=16), 16),
        (MptConfig(max_seq_len=40), 40),  # its ALiBi is a table of 40 positions
        (RwkvConfig(context_length=24), 24),
        (Gemma3Config(text_config={"max_position_embeddings": 96, "num_hidden_layers": 2}), 96),
        (BloomConfig(), None),
        (MambaConfig(), None),
        (LlamaConfig(max_position_embeddings=64, seq_length=True), 64),
    ],
)
def test_the_least_limit_that_a_configuration_names(config: object, limit: int | None) -> None:
    assert context_of(config) == limit
