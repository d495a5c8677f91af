"""Read the state of a training run, and take it only if every number of it is one that the run itself could have saved.

The hash of its file shows damage. Another version of this package, or another hand, writes a right hash over anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quant.errors import StoreError
from quant.files.hashed_files import read_hashed
from quant.files.json_text import parse_object

Layout = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and dtype of every tensor of a state, by its name ``kind/name``."""
_ROW = {"rate", "epoch", "validation_nll"}
_MORE = {"training_nll", "test_nll"}
"""Entries of a row of the curve that may be missing, or null."""


@dataclass(frozen=True)
class TrainingState:
    """The place of a run between two epochs."""

    rate_index: int
    epoch: int
    """Epochs of this rate that are done."""
    watched: object
    """Hash of the watched windows; None if none were."""
    curve: list[dict[str, Any]]
    """Fields of the rows of the curve."""
    parts: Mapping[str, Mapping[str, Tensor]]
    """Tensors by kind and name."""


def read_state(path: Path, layout: Callable[[bool], Layout], rates: int, epochs: int) -> TrainingState | None:
    """Read a state.

    Args:
        path: The file.
        layout: Function from whether a rate has begun to the tensors that a state then has.
        rates: Number of rates of the run.
        epochs: Number of epochs of each.

    Returns:
        The state; None if the file is missing or damaged, or is not the state of such a run.
    """
    read = read_hashed(path, {})
    if read is None:
        return None
    tensors, metadata = read
    try:
        place = parse_object(metadata.get("run", ""), path, StoreError, nonfinite=True)
    except StoreError:
        return None
    rate_index, epoch, curve = place.get("rate_index", -1), place.get("epoch", -1), place.get("curve")
    if not _is_count(rate_index, rates) or not _is_count(epoch, epochs - 1):
        return None
    if not isinstance(curve, list) or not curve or not all(map(_is_row, curve)):
        return None
    expected, found = layout(epoch > 0), {name: kind_of(tensor) for name, tensor in tensors.items()}
    if found != expected:
        return None
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, inner = name.partition("/")
        parts.setdefault(kind, {})[inner] = tensor
    return TrainingState(rate_index, epoch, place.get("watched"), curve, parts)


def kind_of(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
    """Return the shape and the dtype of a tensor, as a ``Layout`` has them."""
    return tuple(tensor.shape), tensor.dtype


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_row(row: Any) -> bool:
    """Return whether a row of the curve has its numbers, and no others."""
    if not isinstance(row, dict) or not _ROW <= row.keys() <= _ROW | _MORE or not _is_count(row["epoch"], 2**53):
        return False
    return all(type(v) in (int, float) or (v is None and key in {"rate", *_MORE}) for key, v in row.items())
