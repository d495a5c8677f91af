"""Train the tokenizers of the small models: byte-level BPE, on the train split alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD = "<pad>"  # torch.nn.Embedding never trains the padding row, so it must not be the row of </s>
VOCABULARY = 1024
"""Tokens of opt-nano."""


def train_tokenizer(texts: Iterable[str], end: str, size: int, positions: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose text round trip is exact and which adds no special token by itself.

    Args:
        texts: The train split.
        end: The token that begins and ends a document.
        size: Number of tokens.
        positions: The longest window of the model, in tokens.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[end, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=end,
        eos_token=end,
        pad_token=PAD,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
