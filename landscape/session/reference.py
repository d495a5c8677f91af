"""What a model that knows less than the language would lose: other levels than chance to measure a basin against."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def unigram_entropy(tokens: Tensor) -> float:
    """The loss of a guess that knows how frequent every token is, and nothing else.

    The entropy of a sample is too low, since types that it lacks have no share in it: (K − 1)/2N is added for N tokens
    of K types (Miller 1955).

    Args:
        tokens: Ids of a text, of any shape.

    Returns:
        Nats per token.
    """
    counts = torch.bincount(tokens.flatten()).double()
    counts = counts[counts > 0]
    total = float(counts.sum())
    return math.log(total) - float((counts * counts.log()).sum()) / total + (len(counts) - 1) / (2 * total)
