"""Read the texts that the models learn, and their tokenizers, as token ids ready for training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from benchmarks.models.raw_tales import new_stories
from data.corpus import END, join, parse
from data.vocabulary import train_tokenizer
from quant.checkpoints.embedded import EMBEDDED, embedded
from quant.corpora.texts import TALES, Text, read_texts

VOCABULARY = 2048
"""Tokens of the tokenizer of WikiText-2."""
SPREAD = 64
"""Validation windows on which the training curve is measured, spread evenly: two seconds where all would take forty."""


@dataclass(frozen=True, eq=False)
class TrainingText:
    """A text in the tokens of a model."""

    data: str
    """The name under which ``landscape --data`` reads it."""
    tokenizer: PreTrainedTokenizerBase
    """Tokenizer of the text; token 0 begins a document."""
    documents: list[np.ndarray]
    """Token ids of each document to train on, beginning with token 0."""
    validation: np.ndarray
    """Token ids of the validation split in one piece."""

    @property
    def tokens(self) -> int:
        """Number of tokens to train on, each counted once."""
        return sum(map(len, self.documents))

    @property
    def fingerprint(self) -> str:
        """A hash of the tokens to train on."""
        return hashlib.sha256(np.concatenate(self.documents).tobytes()).hexdigest()[:8]

    def counts(self) -> np.ndarray:
        """Return how often each token occurs in the documents, (vocabulary,)."""
        return np.bincount(np.concatenate(self.documents), minlength=len(self.tokenizer))

    def spread(self, length: int) -> np.ndarray:
        """Return ``SPREAD`` validation windows at even distances, joined; all of them where there are fewer."""
        rows = self.validation[: len(self.validation) // length * length].reshape(-1, length)
        return rows[np.linspace(0, len(rows) - 1, min(SPREAD, len(rows))).astype(int)].ravel()


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> np.ndarray:
    """Return the token ids of a text as it stands."""
    return np.array(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def tales(raw: Path | None) -> TrainingText:
    """Read the built-in tales in the tokens of opt-nano.

    Args:
        raw: Folder of raw stories to train on besides, as far as they are new; None for none.
    """
    splits = {split: parse(text.content) for split, text in read_texts(TALES).items()}
    known = [story for stories in splits.values() for story in stories]
    stories = splits["train"] + (new_stories(raw, known) if raw else [])
    tokenizer = AutoTokenizer.from_pretrained(embedded(EMBEDDED))
    documents = [encode(tokenizer, join([story])) for story in stories]
    return TrainingText(TALES, tokenizer, documents, encode(tokenizer, join(splits["validation"])))


def wikitext(data: str, positions: int) -> TrainingText:
    """Read WikiText-2, or another text, and train a tokenizer on its train split.

    Args:
        data: Its name, as ``landscape --data`` takes it.
        positions: The longest window of the model, in tokens.
    """
    splits = read_texts(data)
    pieces = articles(splits["train"])
    tokenizer = train_tokenizer(pieces, END, VOCABULARY, positions)
    begin = np.array([tokenizer.bos_token_id])
    documents = [np.concatenate([begin, encode(tokenizer, piece)]) for piece in pieces]
    return TrainingText(data, tokenizer, documents, encode(tokenizer, splits["validation"].content))


def articles(text: Text) -> list[str]:
    """Return the articles of a text; the whole text where they are not known."""
    starts = text.starts or (0,)
    ends = (*starts[1:], len(text.content))
    return [text.content[start:end] for start, end in zip(starts, ends, strict=True)]
