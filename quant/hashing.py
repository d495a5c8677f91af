"""Hash content for identity: the bytes of tensors, files and token ids."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Return the raw bytes of a tensor, row-major, without a copy where it is contiguous on the host."""
    flat = tensor.detach().contiguous().cpu().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def token_hash(windows: Tensor) -> str:
    """Return the sha256 of token ids as int64 in the machine's byte order, row-major."""
    return hashlib.sha256(tensor_bytes(windows.to(torch.int64))).hexdigest()


def token_record(windows: Tensor) -> dict[str, Any]:
    """Return the record of token windows in a point's provenance: ``{"sha256": …, "shape": [n, L]}``."""
    return {"sha256": token_hash(windows), "shape": list(windows.shape)}
