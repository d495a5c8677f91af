"""Check that a point of another tool differs from the model only inside the weight space, and record it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quant.checkpoints.checkpoint import Checkpoint
from quant.errors import PointError, first_line
from quant.identity import function_fields

_INERT = re.compile("drop|initializer|init_std|_token_id|quantization_config|compression_config|aux_loss|router_logits")
"""Fields that tools change or only training reads; tensors and token ids are compared elsewhere."""


def check_architecture(source: Path, found: str, checkpoint: Checkpoint) -> None:
    """Check that a model is of the checkpoint's type.

    Raises:
        PointError: if it is not.
    """
    expected = checkpoint.model.config.model_type
    if found != expected:
        raise PointError(
            f"expected a model of type {expected} in {source}, got {found}; name the checkpoint that was quantized"
        )


def check_function(source: Path, config: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Check that a folder's configuration gives the checkpoint's function, in every field that both have.

    The loss at a point is that of the checkpoint's function: with another activation or rotary base in the folder, it
    would not be the loss of the model in it.

    Args:
        source: The folder.
        config: Its config.json.
        checkpoint: The model that was quantized.

    Raises:
        PointError: if a field differs on which a forward pass may depend.
    """
    own = checkpoint.model.config
    try:
        other = type(own).from_dict(
            {k: v for k, v in config.items() if k not in ("quantization_config", "compression_config")}
        )
    except Exception as error:  # any error of a configuration's own checks
        raise PointError(
            f"expected a configuration of type {own.model_type} in {source}, got: {first_line(error)}"
        ) from error
    for field, (ours, theirs) in _differences(function_fields(own), function_fields(other)).items():
        raise PointError(
            f"expected {field} {ours!r} in config.json of {source}, as the checkpoint has it, got {theirs!r}: the same "
            "weights are another function with it; name the checkpoint that was quantized"
        )


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return both values of each field that differs, fields of nested configurations among them."""
    found: dict[str, tuple[Any, Any]] = {}
    for field in ours.keys() & theirs.keys():
        if _INERT.search(field) or (field == "tie_word_embeddings" and not theirs[field]):
            continue  # a head of its own is compared as a tensor
        own, other = ours[field], theirs[field]
        if isinstance(own, dict) and isinstance(other, dict):
            found |= {f"{field}.{inner}": pair for inner, pair in _differences(own, other).items()}
        elif not _equal(own, other):
            found[field] = own, other
    return dict(sorted(found.items()))


def _equal(own: object, other: object) -> bool:
    if isinstance(own, int | float) and isinstance(other, int | float):
        return math.isclose(own, other, rel_tol=1e-6)  # a GGUF file has such numbers in float32
    return own == other


def check_same(name: str, own: Tensor, stored: Tensor, source: Path, passed: Collection[torch.dtype] = ()) -> None:
    """Check that a tensor outside the space is the model's own, up to the rounding of the dtypes of both.

    Each of the two may be a rounding of one original: off by eps/2 of it at most, or by half of the smallest number.

    Args:
        name: Its name in the model.
        own: The model's tensor.
        stored: The other tool's tensor.
        source: The file or folder of the latter; for the message.
        passed: Dtypes to which it may have been rounded before its present one.

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
    """Return whether two tensors of one shape are roundings of one original.

    Args:
        own: The model's tensor.
        stored: The other tool's tensor.
        passed: Dtypes to which either may have been rounded before its present one.
        roundings: How many times each of the two may have been rounded.
    """
    dtypes = [torch.finfo(dtype) for dtype in (own.dtype, stored.dtype, *passed) if dtype.is_floating_point]
    eps = roundings * max((d.eps for d in dtypes), default=0.0)
    least = roundings * max((d.tiny * d.eps for d in dtypes), default=0.0)  # the smallest subnormal number
    ours, theirs = own.detach().cpu().double(), stored.double()
    return bool(((ours - theirs).abs() <= eps * torch.maximum(ours.abs(), theirs.abs()) + least).all())


def rounding(name: str, own: Tensor, stored: Tensor, source: Path) -> float:
    """Return how far an integer-rounded tensor is from the model's, in units of the model's norm.

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
    """Make the record of a point that another tool made; hashes identify the file, so only its name is kept."""
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
