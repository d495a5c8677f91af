"""Check that a model comes with the tokenizer that cuts its texts."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from quant.errors import CheckpointError

_FILES = ("tokenizer*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "tekken.json")
ADD_TOKENIZER = "add tokenizer.json and tokenizer_config.json of the model, such as with `tokenizer.save_pretrained`"
"""Advice for a folder without a tokenizer."""


def check_tokenizer_files(folder: Path) -> None:
    """Check that a folder has any file of a tokenizer, before its weights are read.

    Raises:
        CheckpointError: if it has none.
    """
    if not any(fnmatchcase(path.name, pattern) for path in folder.iterdir() for pattern in _FILES):
        raise CheckpointError(
            f"expected a tokenizer beside the model in {folder}, found none of its files; {ADD_TOKENIZER}"
        )


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, source: Path) -> None:
    """Check that a tokenizer cuts a text into tokens: without its vocabulary, transformers makes one that does not.

    Raises:
        CheckpointError: if it does not.
    """
    added = set(getattr(tokenizer, "added_tokens_decoder", {}))
    if len(tokenizer) <= len(added):
        raise CheckpointError(
            f"expected a vocabulary in the tokenizer of {source}, found only its settings and {len(added)} added "
            f"tokens; {ADD_TOKENIZER}"
        )
