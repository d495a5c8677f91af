"""Sample the corpus ``self``: windows that the model itself writes.

A pretrained model is not an exact minimum of the loss on any available text: it may be under-trained, tuned to
instructions, or dequantized. On its own samples it is one. The expected NLL of data drawn from p_w under the model p_v
is the cross entropy H(p_w, p_v) = H(p_w) + KL(p_w ‖ p_v), whose global minimum over all v, not only a local one, is at
v = w. So on ``self`` the centre of the landscape is a minimum by construction, and any rise around it is divergence.

This holds only for exact samples: temperature 1, the whole vocabulary, no top-k, no top-p, no id suppressed, and no
stop at the end-of-text token. Every window starts by itself from the beginning-of-text token.

A token changes where a sum that is rounded otherwise falls on the other side of its uniform. So each kind of device and
precision of products has samples of its own, and what a run measures does not depend on which run came before.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quant.checkpoints.checkpoint import Checkpoint
from quant.corpora.sampling import sample
from quant.corpora.tokens import first_sampled_token
from quant.errors import UsageError
from quant.files.cache import check_kept
from quant.files.hashed_files import fault_of_unread, read_hashed, write_hashed
from quant.numerics import HIGHEST, matmul_precision
from quant.philox import uniforms

BATCH = 8
"""Windows sampled together, always: a window's neighbours, and so its logits to the last bit, do not depend on how many
are requested."""


def sample_windows(
    checkpoint: Checkpoint,
    seq_len: int,
    sizes: Mapping[str, int | None],
    seed: int,
    cache: Path,
    warn: Callable[[str], None] = warnings.warn,
) -> dict[str, Tensor]:
    """Sample the windows of each split, or read those that were sampled before.

    Args:
        checkpoint: The model, at ``w``.
        seq_len: Length L of a window, its first token included.
        sizes: Number of windows of each split.
        seed: Seed of the samples.
        cache: Folder; the samples are kept in its ``self``, one file per batch, by model, kind of device and precision.
        warn: Function for one line about a damaged file, or about a model that must be sampled slowly.

    Returns:
        For each split in ``sizes``, (n, L) int64.

    Raises:
        UsageError: if a size is missing, since the number of samples has no end.
        CorpusError: if the tokenizer has no first token, the model's output is not finite, or it is not causal.
        StoreError: if the cache cannot be written.
    """
    if not sizes or None in sizes.values():
        raise UsageError(
            "expected a number of windows for each split, got none; self is sampled without end: "
            "set the number of windows"
        )
    first = first_sampled_token(checkpoint)
    name = "-".join([f"seed{seed}-length{seq_len}-first{first}", *_computation(checkpoint)])
    folder = cache / "self" / checkpoint.fingerprint[:16] / name
    splits, say = {}, _once(warn)
    for split, count in sizes.items():
        paths = [folder / f"{split}-{index:05d}.safetensors" for index in range(-(-int(count or 0) // BATCH))]
        batches = [
            _cached_batch(path, checkpoint, first, seq_len, seed, split, index, say) for index, path in enumerate(paths)
        ]
        splits[split] = torch.cat(batches)[:count]
    return splits


def _once(warn: Callable[[str], None]) -> Callable[[str], None]:
    """Return the same function, which passes on no line twice: many batches would repeat it."""
    said: set[str] = set()

    def say(line: str) -> None:
        if line not in said:
            said.add(line)
            warn(line)

    return say


def recipe_fingerprint(checkpoint: Checkpoint, seq_len: int, seed: int) -> str:
    """Return the sha256 over all that determines the samples, whatever their number."""
    recipe = ["self", checkpoint.fingerprint, first_sampled_token(checkpoint), seq_len, seed, *_computation(checkpoint)]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()


def _computation(checkpoint: Checkpoint) -> list[str]:
    """Return the kinds of devices and the precision on which the last bits of logits depend: ``["cuda", "high"]``.

    Nothing stands for a CPU at the highest precision. The dtype is in the model's fingerprint.
    """
    kinds, precision = sorted({device.type for device in checkpoint.devices}), checkpoint.matmul_precision
    return [] if kinds == ["cpu"] and precision == HIGHEST else [*kinds, precision]


def _cached_batch(
    path: Path,
    checkpoint: Checkpoint,
    first: int,
    seq_len: int,
    seed: int,
    split: str,
    index: int,
    warn: Callable[[str], None],
) -> Tensor:
    """Read one batch of windows, (BATCH, L); sample it again where the file is not to the bit what was written."""
    recipe = {"recipe": json.dumps([recipe_fingerprint(checkpoint, seq_len, seed), split, index])}
    read = read_hashed(path, recipe)
    if read is None:
        if fault := fault_of_unread(path, "is damaged, or was left by another version"):
            warn(f"{path} {fault}: its windows are sampled again")
        check_kept(path.parent)  # before the windows are sampled, which takes long
        rows = range(index * BATCH, (index + 1) * BATCH)
        drawn = np.stack([uniforms(seq_len - 1, "self", seed, split, row) for row in rows])
        with matmul_precision(checkpoint.matmul_precision):
            sampled = sample(checkpoint, first, torch.from_numpy(drawn), warn)
        write_hashed(path, {"ids": sampled}, recipe)
        return sampled
    return read[0]["ids"]
