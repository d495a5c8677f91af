"""Put scales that a tool folded into tensors outside the space back into the matrices that read them.

AWQ and SmoothQuant multiply the inputs of matrices by scales and divide the layer before them by the same scales: the
model is the same function, in other coordinates. Where a norm (or a bias) of a folder differs from the checkpoint's for
this reason, the fold is undone here, so that the point is a vector of the checkpoint's own coordinates.

1. **Norms.** ``r = stored / original``, one number a feature; the inputs of the matrices that read the norm times r.
   The function is the stored model's up to the rounding of float32, whatever r is, and r carries the rounding in which
   the norm is stored. ``quant.external.flow`` finds the matrices that read it, and tests that nothing else does.
2. **Pairs.** AWQ also divides rows of one matrix (v, up) and multiplies the inputs of the next (o, down). No tensor
   outside the space shows it, unless the first matrix has a bias: the fold is a choice of coordinates (a gauge), not of
   a function. ``nearest``, the default, takes for each row the scale that brings it nearest to the original,
   ``⟨A, A₀⟩ / ⟨A, A⟩``, because ‖Δw‖ should measure the rounding and not the fold. The scale is fitted on A alone, and
   taken only if B comes nearer to its original as well, which noise does not do. ``stored`` leaves pairs as they are. A
   bias that was folded fixes the scale, in either gauge.

A fold that cannot be undone is an error with the reason: a weight of zero, a norm read by more than linear layers
(experts, a router, the residual of post-LN), a bias that was not scaled with its weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quant.checkpoints.checkpoint import Checkpoint
from quant.external.flow import is_matrix, is_norm, trace
from quant.external.folds import Folded, NormFolds, PairFolds
from quant.external.gauge import Gauge
from quant.external.outside import is_same
from quant.space import Slot


@dataclass(frozen=True)
class Unfolding:
    """The factors that bring stored matrices into the checkpoint's coordinates; empty if nothing was folded."""

    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    """Per slot, a factor for each input, float64."""
    outputs: Mapping[str, Tensor] = field(default_factory=dict)
    """Per slot, a factor for each output."""
    explained: frozenset[str] = frozenset()
    """Tensors of the model that differ in the folder only by the fold."""
    record: Mapping[str, Any] | None = None
    """Record of the undone folds, for the provenance."""

    def apply(self, slot: Slot, weight: Tensor) -> Tensor:
        """Return a stored matrix in the checkpoint's coordinates, float32; itself if it is in them."""
        if slot.name not in self.inputs and slot.name not in self.outputs:
            return weight
        unfolded = weight.double()
        for factors, axis in ((self.inputs.get(slot.name), slot.input_dim), (self.outputs.get(slot.name), _out(slot))):
            if factors is not None:
                unfolded = unfolded * (factors[:, None] if axis == 0 else factors[None, :])
        return unfolded.float()


def find_unfolding(
    checkpoint: Checkpoint,
    source: Path,
    stored: Mapping[str, Callable[[], Tensor]],
    weight: Callable[[Slot], Tensor],
    gauge: Gauge = "nearest",
) -> Unfolding:
    """Find the scales that a tool folded into the tensors outside the space, and the factors that undo them.

    Args:
        checkpoint: The model, at its own weights; run a few times on a few tokens if anything was folded.
        source: The folder of the tensors; for the messages.
        stored: Readers of the stored tensors outside the space, by their names in the model.
        weight: Function that reads a stored matrix of the space.
        gauge: The coordinates of pairs, see the head of this module.

    Raises:
        PointError: if a norm or bias was changed in a way that cannot be undone.
    """
    moved = _moved(checkpoint, stored)
    if not moved:
        return Unfolding()
    folded = Folded(checkpoint, source, stored, weight)
    norms = [name for name in moved if name not in folded.slots]
    biases = [name for name in moved if name in folded.slots]
    with torch.no_grad():
        flow = trace(checkpoint.model)
        ratios = NormFolds(folded, flow).unfold(norms)
        pairs = PairFolds(folded, flow, gauge == "nearest").unfold(biases) if biases or gauge == "nearest" else {}
    record = {"gauge": gauge, "norms": ratios, "pairs": pairs}
    return Unfolding(folded.inputs, folded.outputs, frozenset(folded.explained), record)


def _moved(checkpoint: Checkpoint, stored: Mapping[str, Callable[[], Tensor]]) -> dict[str, list[str]]:
    """Return the norms, and the matrices of the space, of which a vector outside the space differs: which ones do."""
    model, state = checkpoint.model, checkpoint.model.state_dict()
    matrices = {slot.name.removesuffix(".weight") for slot in checkpoint.space}
    found: dict[str, list[str]] = {}
    for name, read in stored.items():
        module, _, last = name.rpartition(".")
        if name not in state or state[name].ndim != 1:
            continue
        owner = model.get_submodule(module)
        if is_norm(owner) or (last == "bias" and module in matrices and is_matrix(owner)):
            tensor = read()
            if tensor.shape == state[name].shape and not is_same(state[name], tensor):
                found.setdefault(module, []).append(last)
    return found


def _out(slot: Slot) -> int:
    return 1 - slot.input_dim
