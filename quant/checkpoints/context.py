"""How many tokens a model can take at once, under whatever name its configuration has it."""

from __future__ import annotations

from typing import Any

UNLIMITED = 2048
"""Tokens per window where all that a model takes is asked for, and there is no limit (ALiBi, recurrent models)."""

_NAMES = (
    "max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_target_positions", "max_sequence_length",
    "max_seq_length", "seq_length", "seq_len", "context_length", "model_max_length",
)  # fmt: skip


def context_of(config: Any) -> int | None:
    """Return how many positions a model can take at most.

    Args:
        config: The model's configuration; of several parts the one that reads text counts.

    Returns:
        The least of the limits that it names; None if it names none, as ALiBi and recurrent models do not.
    """
    text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    values = [getattr(text, name, None) for name in _NAMES]
    limits = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value > 0]
    return min(limits) if limits else None
