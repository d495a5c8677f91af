"""Whether what another tool made differs from the model only inside the weight space, and the record of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quant.checkpoint import Checkpoint
from quant.errors import PointError


def check_architecture(source: Path, found: str, checkpoint: Checkpoint) -> None:
    """See that a model is of the checkpoint's kind.

    Raises:
        PointError: if it is not.
    """
    expected = checkpoint.model.config.model_type
    if found != expected:
        raise PointError(
            f"expected a model of type {expected} in {source}, got {found}; name the checkpoint that was quantized"
        )


def check_same(name: str, own: Tensor, stored: Tensor, source: Path, passed: Collection[torch.dtype] = ()) -> None:
    """See that a tensor outside the space is the model's own, up to the rounding of the dtypes of both.

    Each of the two may be a rounding of one original: off by eps/2 of it at most, or by half of the smallest number.

    Args:
        name: What it is called in the model.
        own: The model's.
        stored: The other tool's.
        source: Where that one is from; for the message.
        passed: Dtypes that it may have been rounded to before it had the one it has now.

    Raises:
        PointError: if it is another tensor.
    """
    if own.shape != stored.shape:
        raise PointError(
            f"expected shape {tuple(own.shape)} in {name}, {source} has {tuple(stored.shape)}; "
            "name the checkpoint that was quantized"
        )
    if not is_same(own, stored, passed):
        difference = _relative(own.detach().cpu().double(), stored.double())
        raise PointError(
            f"expected {name} of {source} to be the checkpoint's, it differs by {difference:.2g} of its "
            "norm; it lies outside the weight space, so the loss at this point would be that of another function"
        )


def is_same(own: Tensor, stored: Tensor, passed: Collection[torch.dtype] = (), roundings: int = 1) -> bool:
    """Whether two tensors of one shape are roundings of one original.

    Args:
        own: The model's.
        stored: The other tool's.
        passed: Dtypes that either may have been rounded to before it had the one it has now.
        roundings: How many times each of the two may have been rounded.
    """
    dtypes = [torch.finfo(dtype) for dtype in (own.dtype, stored.dtype, *passed) if dtype.is_floating_point]
    eps = roundings * max((d.eps for d in dtypes), default=0.0)
    least = roundings * max((d.tiny * d.eps for d in dtypes), default=0.0)  # the smallest subnormal number
    ours, theirs = own.detach().cpu().double(), stored.double()
    return bool(((ours - theirs).abs() <= eps * torch.maximum(ours.abs(), theirs.abs()) + least).all())


def rounding(name: str, own: Tensor, stored: Tensor, source: Path) -> float:
    """How far an integer-rounded tensor is from the model's, in units of the norm of the latter.

    Raises:
        PointError: if it is another tensor: rounding to nearest never goes further than to zero, a distance of 1.
    """
    distance = _relative(own.detach().cpu().double(), stored.double()) if own.shape == stored.shape else float("inf")
    if not distance < 1:
        raise PointError(
            f"expected {name} of {source} to be a rounding of the checkpoint's, it differs by {distance:.2g} of its "
            "norm; name the checkpoint that was quantized"
        )
    return distance


def provenance(
    name: str,
    source: Path,
    kind: str,
    hashes: Mapping[str, str],
    quantization: Mapping[str, Any] | None,
    unfolded: Mapping[str, Any] | None = None,
    rounded: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The record of a point that another tool made; of the path only the last part, since the hashes identify it."""
    more = {"unfolded": unfolded, "rounded_outside": rounded}
    return {
        **{key: dict(value) for key, value in more.items() if value},
        "method": name,
        "source": source.name,
        "format": kind,
        "sha256": dict(hashes),
        "quantization_config": dict(quantization) if quantization else None,
    }


def _relative(own: Tensor, stored: Tensor) -> float:
    return float((own - stored).norm() / own.norm())
