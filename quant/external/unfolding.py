"""Scales that a tool folded into the tensors outside the space, put back into the matrices that read them.

AWQ and SmoothQuant multiply the inputs of matrices by scales and divide what is before them by the same: the model is
the same function, in other coordinates. Where a norm (or a bias) of a folder differs from the checkpoint's for that
reason, the fold is undone here, so that the point is a vector of the checkpoint's own coordinates.

1. **Norms.** ``r = stored / original``, one number a feature; the inputs of the matrices that read the norm times r. The
   function is the stored model's up to the rounding of float32, whatever r is, and r carries the rounding in which the
   norm is stored. Which matrices read it is seen, and that nothing else does is tried (``quant.external.flow``).
2. **Pairs.** AWQ also divides rows of one matrix (v, up) and multiplies the inputs of the next (o, down). From outside
   this cannot be seen, since no tensor of the checkpoint moves, unless the first matrix has a bias. It is a choice of
   coordinates (a gauge), not of a function: ``nearest``, the default, takes for each row the scale that brings it nearest
   to the original, ``⟨A, A₀⟩ / ⟨A, A⟩``, because ‖Δw‖ should measure the rounding and not the fold. It is fitted on A
   alone, and taken only if B comes nearer to its original as well, which noise does not do. ``stored`` leaves it out.
   A bias that was folded fixes the scale, in either gauge.

What cannot be undone is an error that says why: a weight of zero, a norm that is read by something else than linear
layers (experts, a router, the residual of post-LN), a bias that was not scaled with its weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from quant.checkpoint import Checkpoint
from quant.errors import PointError, UsageError
from quant.external.flow import Flow, gain_offset, is_matrix, is_norm, powers_of_two, trace
from quant.external.outside import is_same
from quant.external.pairs import Pair, find_pairs
from quant.space import Slot

Gauge = Literal["nearest", "stored"]
GAUGES: tuple[Gauge, ...] = get_args(Gauge)

_ROUNDINGS = 3
"""A folded tensor was rounded as the original, as the scale, and as their quotient."""


@dataclass(frozen=True)
class Unfolding:
    """The factors that bring stored matrices into the checkpoint's coordinates; empty if nothing was folded."""

    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    """Per slot, a factor for each input, float64."""
    outputs: Mapping[str, Tensor] = field(default_factory=dict)
    """Per slot, a factor for each output."""
    explained: frozenset[str] = frozenset()
    """Tensors of the model that differ in the folder by nothing but the fold."""
    record: Mapping[str, Any] | None = None
    """What was undone, for the provenance."""

    def apply(self, slot: Slot, weight: Tensor) -> Tensor:
        """A stored matrix in the checkpoint's coordinates, float32; itself if it is in them."""
        if slot.name not in self.inputs and slot.name not in self.outputs:
            return weight
        unfolded = weight.double()
        for factors, axis in ((self.inputs.get(slot.name), slot.input_dim), (self.outputs.get(slot.name), _out(slot))):
            if factors is not None:
                unfolded = unfolded * (factors[:, None] if axis == 0 else factors[None, :])
        return unfolded.float()


def check_gauge(gauge: str) -> None:
    """See that a gauge is known.

    Raises:
        UsageError: if it is not.
    """
    if gauge not in GAUGES:
        raise UsageError(f"expected a gauge {' or '.join(GAUGES)}, got {gauge!r}")


def find_unfolding(
    checkpoint: Checkpoint,
    source: Path,
    stored: Mapping[str, Callable[[], Tensor]],
    weight: Callable[[Slot], Tensor],
    gauge: Gauge = "nearest",
) -> Unfolding:
    """Find what a tool folded into the tensors outside the space, and how to undo it.

    Args:
        checkpoint: The model, at its own weights; run a few times on a few tokens if something was folded.
        source: Where the tensors are from; for the messages.
        stored: Readers of the stored tensors outside the space, by their names in the model.
        weight: Reads a stored matrix of the space.
        gauge: What to do about pairs, see the head of this module.

    Raises:
        PointError: if a norm or bias was changed in a way that cannot be undone.
    """
    moved = _moved(checkpoint, stored)
    if not moved:
        return Unfolding()
    with torch.no_grad():
        return _Finder(checkpoint, source, stored, weight, gauge).find(moved)


def _moved(checkpoint: Checkpoint, stored: Mapping[str, Callable[[], Tensor]]) -> dict[str, list[str]]:
    """The norms, and the matrices of the space, of which a vector outside the space differs: the fields that do."""
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


class _Finder:
    """The search for one folder."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        source: Path,
        stored: Mapping[str, Callable[[], Tensor]],
        weight: Callable[[Slot], Tensor],
        gauge: Gauge,
    ) -> None:
        self.model, self.source, self.gauge = checkpoint.model, source, gauge
        self.stored, self.state = stored, checkpoint.model.state_dict()
        self.weight = weight
        self.slots = {slot.name.removesuffix(".weight"): slot for slot in checkpoint.space}
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.explained: set[str] = set()

    def find(self, moved: Mapping[str, list[str]]) -> Unfolding:
        flow = trace(self.model)
        norms = [name for name in moved if name not in self.slots]
        biases = [name for name in moved if name in self.slots]
        if norms:
            self._check_readers(flow, norms)
        ratios = {norm: self._unfold_norm(norm, flow.readers[norm]) for norm in norms}
        pairs = self._unfold_pairs(flow, biases) if biases or self.gauge == "nearest" else {}
        record = {"gauge": self.gauge, "norms": ratios, "pairs": pairs}
        return Unfolding(self.inputs, self.outputs, frozenset(self.explained), record)

    def _check_readers(self, flow: Flow, norms: list[str]) -> None:
        """See that the norms feed linear layers and nothing else, all at once."""
        for norm in norms:
            if not flow.readers[norm]:
                raise self._differs(norm, "no linear layer reads it directly")
        outputs = {
            norm: powers_of_two(self._own(norm, "weight").numel(), seed, self._own(norm, "weight"))
            for seed, norm in enumerate(norms)
        }
        inputs = {reader: 1 / outputs[norm] for norm in norms for reader in flow.readers[norm]}
        if not flow.moves(outputs, inputs):
            culprit = next((n for n in norms if not self._alone(flow, n, outputs[n])), norms[0])
            raise self._differs(culprit, "more than linear layers reads it (experts, a router, a residual stream)")

    def _alone(self, flow: Flow, norm: str, factors: Tensor) -> bool:
        return flow.moves({norm: factors}, {reader: 1 / factors for reader in flow.readers[norm]})

    def _unfold_norm(self, norm: str, readers: list[str]) -> list[float]:
        """Scale the inputs of the readers; the least and the greatest ratio."""
        ratio = self._ratio(norm)
        if f"{norm}.bias" in self.state:
            own, stored = self._own(norm, "bias").double().cpu() * ratio, self._stored(norm, "bias")
            if not is_same(
                own, stored, (self._own(norm, "bias").dtype, self._stored(norm, "weight").dtype), _ROUNDINGS
            ):
                raise self._differs(norm, "its bias was not scaled with its weight")
        self.explained |= {f"{norm}.weight", f"{norm}.bias"}
        for reader in readers:
            if reader in self.slots:
                self.inputs[self.slots[reader].name] = ratio
            else:
                self._check_reader_outside(norm, reader, ratio)
        return [float(ratio.min()), float(ratio.max())]

    def _ratio(self, norm: str) -> Tensor:
        offset = gain_offset(self.model.get_submodule(norm))
        if offset is None:
            raise self._differs(norm, "its weight is not a factor of its output")
        own = self._own(norm, "weight").double().cpu() + offset
        ratio = (self._stored(norm, "weight").double() + offset) / own
        dead = int((~torch.isfinite(ratio)).sum()) or int((ratio <= 0).sum())
        if dead:
            raise self._differs(norm, f"{dead} of its {ratio.numel()} weights are zero or changed their sign")
        return ratio

    def _check_reader_outside(self, norm: str, reader: str, ratio: Tensor) -> None:
        """A head, or a router, that reads the norm: the tool must have scaled it too."""
        name = f"{reader}.weight"
        own, stored = self.state[name].cpu(), self._stored(reader, "weight").double()
        transposed = not isinstance(self.model.get_submodule(reader), nn.Linear)
        unfolded = stored * (ratio[:, None] if transposed else ratio[None, :])
        passed = (own.dtype, self._stored(reader, "weight").dtype, self._stored(norm, "weight").dtype)
        if unfolded.shape != own.shape or not is_same(own, unfolded, passed, _ROUNDINGS):
            raise self._differs(norm, f"{reader}, outside the weight space, reads it and was not scaled with it")
        self.explained.add(name)

    def _unfold_pairs(self, flow: Flow, biases: list[str]) -> dict[str, list[float]]:
        """Scale the rows and columns of pairs; the least and the greatest scale of each."""
        scales: dict[str, list[float]] = {}
        for pair in find_pairs(flow, self.slots):
            fixed = pair.first in biases
            if not fixed and self.gauge == "stored":
                continue
            found = self._scale(pair, fixed)
            if found is None:
                continue
            first, second = self.slots[pair.first], self.slots[pair.second]
            rows = torch.ones(pair.outputs, dtype=torch.float64)
            rows[pair.rows] = found
            self.outputs[first.name], self.inputs[second.name] = rows, 1 / found[pair.of_input]
            scales[f"{pair.first} → {pair.second}"] = [float(found.min()), float(found.max())]
        for name in biases:
            if f"{name}.bias" not in self.explained:
                raise self._differs(name, "no matrix follows it that its scale could be moved to", "bias")
        return scales

    def _scale(self, pair: Pair, fixed: bool) -> Tensor | None:
        """One number a row that undoes the fold; None if there is none."""
        a, b = self.slots[pair.first], self.slots[pair.second]
        stored, own = self._rows(a, pair), _by_output(a, self.state[a.name])[pair.rows]
        scale = (stored * own).sum(1) / stored.square().sum(1)
        scale = torch.where(scale.isfinite() & (scale > 0), scale, 1.0)
        if fixed:
            scale = self._bias_scale(pair, scale if self.gauge == "nearest" else torch.ones_like(scale))
        after, before = _by_output(b, self.weight(b)), _by_output(b, self.state[b.name])
        if float((after / scale[pair.of_input] - before).norm()) < float((after - before).norm()):
            return scale
        if fixed:
            raise self._differs(pair.first, f"{pair.second} was not scaled against it", "bias")
        return None

    def _bias_scale(self, pair: Pair, otherwise: Tensor) -> Tensor:
        """``original / stored`` of the bias; where it says nothing, what the weights say."""
        own, stored = self._own(pair.first, "bias"), self._stored(pair.first, "bias")
        wide, narrow = own.double().cpu(), stored.double()
        outside = torch.ones(len(wide), dtype=torch.bool)
        outside[pair.rows] = False
        if bool(outside.any()) and not is_same(own[outside.to(own.device)], stored[outside]):
            raise self._differs(pair.first, "rows of it changed that the next matrix does not read", "bias")
        wide, narrow = wide[pair.rows], narrow[pair.rows]
        least = max(torch.finfo(t.dtype).tiny * torch.finfo(t.dtype).eps for t in (own, stored))
        silent = torch.maximum(wide.abs(), narrow.abs()) <= least
        scale = torch.where(silent, otherwise, wide / narrow)
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise self._differs(pair.first, "numbers in it are zero or changed their sign", "bias")
        self.explained.add(f"{pair.first}.bias")
        return scale

    def _rows(self, slot: Slot, pair: Pair) -> Tensor:
        """The rows of the first matrix that feed the second, after the norms were unfolded."""
        rows = _by_output(slot, self.weight(slot))[pair.rows]
        factors = self.inputs.get(slot.name)
        return rows if factors is None else rows * factors

    def _own(self, module: str, kind: str) -> Tensor:
        return self.state[f"{module}.{kind}"]

    def _stored(self, module: str, kind: str) -> Tensor:
        name = f"{module}.{kind}"
        return self.stored[name]() if name in self.stored else self.state[name].cpu()

    def _differs(self, module: str, why: str, kind: str = "weight") -> PointError:
        return PointError(
            f"expected {module}.{kind} of {self.source} to be the checkpoint's, or to have scales in it that can be "
            f"undone; it differs, and {why}; it lies outside the weight space, so the loss at this point would be that "
            "of another function"
        )


def _by_output(slot: Slot, weight: Tensor) -> Tensor:
    """(out, in), float64, on the CPU."""
    wide = weight.detach().cpu().double()
    return wide.T if slot.transposed else wide


def _out(slot: Slot) -> int:
    return 1 - slot.input_dim
