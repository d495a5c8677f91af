"""The corpus ``self``: windows that the model itself wrote.

A pretrained model is no exact minimum of the loss on any text we have: it may be under-trained, tuned to instructions,
or dequantized. On its own samples it is. The expected NLL of data drawn from p_w under the model p_v is the cross
entropy H(p_w, p_v) = H(p_w) + KL(p_w ‖ p_v), whose global minimum over all v, not only a local one, is at v = w. So on
``self`` the centre of the landscape is a minimum by construction, and what rises around it is pure divergence.

That holds only for exact samples: temperature 1, the whole vocabulary, no top-k, no top-p, no id suppressed, and no
stop at the end-of-text token. Every window starts on its own from the beginning-of-text token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DynamicCache

from quant.cache import atomic_path
from quant.checkpoint import Checkpoint
from quant.errors import CorpusError, UsageError
from quant.philox import uniforms

BATCH = 8
"""Windows sampled together, always: a window's neighbours, and so its logits to the last bit, are the same however
many are asked for."""


def sample_windows(
    checkpoint: Checkpoint, seq_len: int, sizes: Mapping[str, int | None], seed: int, cache: Path
) -> dict[str, Tensor]:
    """Sample the windows of each split, or read those that were sampled before.

    Args:
        checkpoint: The model, at ``w``.
        seq_len: Length L of a window, its first token included.
        sizes: How many windows of each split.
        seed: Which samples.
        cache: They are kept in ``<cache>/self``, one file a batch.

    Returns:
        For each split in ``sizes``, (n, L) int64.

    Raises:
        UsageError: if a size is not given: there is no natural number of samples.
        CorpusError: if the model has no token to begin with, or its output is not finite.
        StoreError: if the cache cannot be written.
    """
    if not sizes or None in sizes.values():
        raise UsageError("expected a number of windows for each split of the corpus self, which has no end; set them")
    first = _first_token(checkpoint)
    folder = cache / "self" / checkpoint.fingerprint[:16] / f"seed{seed}-length{seq_len}-first{first}"
    splits = {}
    for split, count in sizes.items():
        batches = [
            _cached_batch(folder / f"{split}-{index:05d}.safetensors", checkpoint, first, seq_len, seed, split, index)
            for index in range(-(-int(count or 0) // BATCH))
        ]
        splits[split] = torch.cat(batches)[:count]
    return splits


def recipe_fingerprint(checkpoint: Checkpoint, seq_len: int, seed: int) -> str:
    """sha256 over all that the samples follow from, whatever their number."""
    recipe = ["self", checkpoint.fingerprint, _first_token(checkpoint), seq_len, seed]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()


def _first_token(checkpoint: Checkpoint) -> int:
    """The beginning-of-text token, or for a model without one the end-of-text token."""
    tokenizer = checkpoint.tokenizer
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if first is None:
        raise CorpusError(
            f"expected a beginning- or end-of-text token in the tokenizer of {checkpoint.name}, found neither"
        )
    return int(first)


def _cached_batch(
    path: Path, checkpoint: Checkpoint, first: int, seq_len: int, seed: int, split: str, index: int
) -> Tensor:
    """One batch of windows, (BATCH, L)."""
    if not path.is_file():
        rows = range(index * BATCH, (index + 1) * BATCH)
        drawn = np.stack([uniforms(seq_len - 1, "self", seed, split, row) for row in rows])
        windows = _sample(checkpoint, first, torch.from_numpy(drawn))
        with atomic_path(path) as temporary:
            save_file({"ids": windows}, temporary)
    try:
        return load_file(path)["ids"]
    except (OSError, SafetensorError, KeyError) as error:
        raise CorpusError(
            f"expected sampled windows in {path}, got: {error}; delete it, they are then sampled again"
        ) from error


@torch.inference_mode()
def _sample(checkpoint: Checkpoint, first: int, drawn: Tensor) -> Tensor:
    """Sample windows token by token, each token from one uniform.

    Args:
        checkpoint: The model.
        first: First id of every window.
        drawn: (B, L − 1) uniforms in [0, 1), float64.

    Returns:
        (B, L) int64 on the host.
    """
    model, device = checkpoint.model, checkpoint.model.device
    memory = DynamicCache(config=model.config)
    ids = [torch.full((len(drawn),), first)]
    for step in range(drawn.shape[1]):
        output = model(input_ids=ids[-1][:, None].to(device), past_key_values=memory, use_cache=True)
        ids.append(inverse_cdf(output.logits[:, -1].cpu(), drawn[:, step]))
    return torch.stack(ids, dim=1)


def inverse_cdf(logits: Tensor, uniform: Tensor) -> Tensor:
    """The id k of each row with F(k − 1) ≤ u < F(k), F the cumulative softmax, in float64.

    Args:
        logits: (B, V).
        uniform: (B,) in [0, 1), float64.

    Returns:
        (B,) int64; an id of probability zero is never chosen.

    Raises:
        CorpusError: if a row is not finite.
    """
    cumulative = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)
    total = cumulative[:, -1:]
    if not bool(torch.isfinite(total).all()):
        raise CorpusError(
            "expected finite logits while sampling the corpus self, got NaN or infinity; try --dtype float32"
        )
    below = uniform[:, None] * total  # u ≤ 1 − 2⁻⁵³, so that u·total rounds to less than total
    return torch.searchsorted(cumulative, below, right=True)[:, 0]
