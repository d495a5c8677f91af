"""Measure a trained model as `landscape` does: its losses on each split, beside those of its words' frequencies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.models.texts import TrainingText
from benchmarks.rows import Row
from quant import Checkpoint, load_checkpoint, load_corpus, mean_nll, window_nll

LENGTH = 512
"""Tokens of a window."""
TRAIN_WINDOWS = 64
"""Windows of the train split, where all would take minutes; validation and test are measured whole."""


def measure(folder: Path, text: TrainingText, cache: Path) -> Row:
    """Return the sizes and the losses of a checkpoint, in nats per token.

    Args:
        folder: The checkpoint, which is opened as any other.
        text: The text that it was trained on.
        cache: Folder for the token ids of the text.
    """
    checkpoint = load_checkpoint(str(folder))
    length = min(LENGTH, checkpoint.context or LENGTH)
    corpus = load_corpus(text.data, checkpoint, length, cache=cache)
    few = min(TRAIN_WINDOWS, len(corpus.splits["train"]))
    return {
        "fingerprint": checkpoint.fingerprint[:16],
        "parameters": checkpoint.model.num_parameters(),
        "dimension": checkpoint.space.dimension,
        "vocabulary": len(checkpoint.tokenizer),
        "loss": {
            "train": loss(checkpoint, corpus.windows("train", few)),
            "validation": loss(checkpoint, corpus.windows("validation")),
            "test": loss(checkpoint, corpus.windows("test")),
            "unigram": unigram_loss(text.counts(), corpus.windows("test")),
        },
    }


def loss(checkpoint: Checkpoint, windows: Tensor) -> float:
    """Return the NLL per scored token of windows, (n, L)."""
    return round(mean_nll([window_nll(checkpoint.model, window) for window in windows]), 5)


def unigram_loss(counts: np.ndarray, windows: Tensor) -> float:
    """Return the NLL per scored token of windows where each token has its frequency in the training text.

    Args:
        counts: (V,) occurrences of each token; one is added to each, so that none is impossible.
        windows: (n, L) token ids; the first of each window is not scored.
    """
    frequencies = (counts + 1) / (counts + 1).sum()
    return round(float(-np.log(frequencies)[windows[:, 1:].numpy()].mean()), 5)
