"""Compare the experts that --exclude leaves outside the weight space with the model's."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from quant.checkpoints.checkpoint import Checkpoint
from quant.external.outside import check_same, rounding
from quant.point import PointTensor
from quant.space import WeightSpace


def with_excluded_experts(checkpoint: Checkpoint) -> WeightSpace:
    """Return the weight space with all experts, since files and the model name excluded ones differently."""
    parameters = {name for name, _ in checkpoint.model.named_parameters()}
    excluded = [entry.name for entry in checkpoint.space.outside if entry.kind == "excluded"]
    return WeightSpace.of(checkpoint.model, [glob.escape(name) for name in excluded if name in parameters])


def rounded_experts(
    checkpoint: Checkpoint,
    space: WeightSpace,
    parts: Mapping[str, PointTensor],
    packed: Callable[[str], bool],
    folder: Path,
) -> dict[str, float]:
    """Return how far each excluded expert that is quantized is from the model's, in units of its norm.

    Args:
        checkpoint: The model, at its own weights.
        space: Its weight space with all experts.
        parts: The stored matrices of that space.
        packed: Whether the matrix of this name is quantized.
        folder: The folder they are from; for the message.

    Raises:
        PointError: if one that is not quantized is not the model's own.
    """
    inside, distances = {slot.name for slot in checkpoint.space}, {}
    for slot in space:
        if slot.name in inside:
            continue
        own, stored = slot.slice(checkpoint.model.get_parameter(slot.parameter)), parts[slot.name]
        assert isinstance(stored, Tensor)
        if packed(slot.name):
            distances[slot.name] = rounding(slot.name, own, stored, folder)
        else:
            check_same(slot.name, own, stored, folder)
    return distances
