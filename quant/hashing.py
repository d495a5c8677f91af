"""Identity by content: the bytes of tensors, and hashes of token ids."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The raw bytes of a tensor, row-major, without a copy where it is contiguous on the host."""
    flat = tensor.detach().contiguous().cpu().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def token_hash(windows: Tensor) -> str:
    """sha256 of token ids as int64 in the machine's byte order, row-major."""
    return hashlib.sha256(tensor_bytes(windows.to(torch.int64))).hexdigest()
