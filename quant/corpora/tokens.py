"""Find the token with which a text begins, and check that a model knows the tokens that it is given."""

from __future__ import annotations

from quant.architecture import vocabulary_size
from quant.checkpoints.checkpoint import Checkpoint
from quant.errors import CorpusError, UsageError


def beginning_of_text(checkpoint: Checkpoint) -> int | None:
    """Return the tokenizer's beginning-of-text token; None if it has none, or the model does not know it."""
    first = checkpoint.tokenizer.bos_token_id
    return None if first is None or first >= vocabulary_size(checkpoint.model) else int(first)


def prepended_token(checkpoint: Checkpoint) -> int:
    """Return the token that ``--bos`` puts before every window.

    Raises:
        UsageError: if the tokenizer has none, or the model does not know it.
    """
    first = beginning_of_text(checkpoint)
    if first is None:
        raise UsageError(
            f"expected a beginning-of-text token in the tokenizer of {checkpoint.name}, found none; leave --bos out"
        )
    return first


def first_sampled_token(checkpoint: Checkpoint) -> int:
    """Return the token before all that a model writes: beginning of text, or in a tokenizer without it end of text.

    Raises:
        CorpusError: if the tokenizer has neither, or the model does not know it.
    """
    tokenizer = checkpoint.tokenizer
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if first is None:
        raise CorpusError(
            f"expected a beginning- or end-of-text token in the tokenizer of {checkpoint.name}, found neither"
        )
    known = checkpoint.model.get_input_embeddings().num_embeddings
    check_token(first, known, f"as the first of a text in the tokenizer of {checkpoint.name}")
    return int(first)


def check_token(token: int, vocabulary: int, where: str) -> None:
    """Check that a token id is one of the model's.

    Args:
        token: The id.
        vocabulary: How many ids the model knows.
        where: Where the token is from, to end the message: ``in tales train``.

    Raises:
        CorpusError: if it is not.
    """
    if not 0 <= token < vocabulary:
        raise CorpusError(f"expected token ids below {vocabulary}, the model's vocabulary, got {token} {where}")
