"""Find how many tokens a model can take at once, under any name that configurations use for it."""

from __future__ import annotations

from typing import Any

UNLIMITED = 2048
"""Tokens per window of a model without a limit (ALiBi, recurrent models) where the longest window is requested."""

_NAMES = (
    "max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_target_positions", "max_sequence_length",
    "max_seq_length", "seq_length", "seq_len", "context_length", "model_max_length",
)  # fmt: skip


def context_of(config: Any) -> int | None:
    """Return the largest number of positions that a model can take.

    Args:
        config: The model's configuration; if it has several parts, the one that reads text counts.

    Returns:
        The smallest limit that it names; None if it names none, as for ALiBi and recurrent models.
    """
    text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    values = [getattr(text, name, None) for name in _NAMES]
    limits = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value > 0]
    return min(limits) if limits else None
