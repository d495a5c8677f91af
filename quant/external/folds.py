"""Find what each fold of a folder multiplied, from the tensors on both sides of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from quant.checkpoints.checkpoint import Checkpoint
from quant.errors import PointError
from quant.external.flow import Flow, gain_offset, powers_of_two
from quant.external.outside import is_same
from quant.external.pairs import Pair, find_pairs
from quant.space import Slot

_ROUNDINGS = 3
"""Roundings of a folded tensor: of the original, of the scale, and of their quotient."""


class Folded:
    """A folder whose folds are being undone: its tensors, and the factors found so far."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        source: Path,
        stored: Mapping[str, Callable[[], Tensor]],
        weight: Callable[[Slot], Tensor],
    ) -> None:
        """Bind the folder to its checkpoint; for the arguments see ``quant.external.unfolding.find_unfolding``."""
        self.model, self.source, self.weight = checkpoint.model, source, weight
        self.state = checkpoint.model.state_dict()
        self.slots = {slot.name.removesuffix(".weight"): slot for slot in checkpoint.space}
        self._stored = stored
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.explained: set[str] = set()

    def own(self, module: str, kind: str) -> Tensor:
        """Return the checkpoint's tensor."""
        tensor: Tensor = self.state[f"{module}.{kind}"]
        return tensor

    def stored(self, module: str, kind: str) -> Tensor:
        """Return the folder's tensor, or the checkpoint's where the folder has none."""
        name = f"{module}.{kind}"
        return self._stored[name]() if name in self._stored else self.state[name].cpu()

    def differs(self, module: str, why: str, kind: str = "weight") -> PointError:
        """Make the error for a fold that cannot be undone."""
        return PointError(
            f"expected {module}.{kind} of {self.source} to be the checkpoint's, or to have scales in it that can be "
            f"undone; it differs, and {why}; it lies outside the weight space, so the loss at this point would be that "
            "of another function"
        )


class NormFolds:
    """Scales in norms, taken over by the inputs of the matrices that read them."""

    def __init__(self, folded: Folded, flow: Flow) -> None:
        """Bind to a folder and to the record of one forward pass of the model."""
        self.folded, self.flow = folded, flow

    def unfold(self, norms: list[str]) -> dict[str, list[float]]:
        """Undo the folds into norms; return the least and the greatest ratio of each.

        Raises:
            PointError: if another module reads one, or its weight or bias does not allow it.
        """
        self._check_readers(norms)
        return {norm: self._unfold_norm(norm) for norm in norms}

    def _check_readers(self, norms: list[str]) -> None:
        """Check that the norms feed linear layers and nothing else, all at once."""
        for norm in norms:
            if not self.flow.readers[norm]:
                raise self.folded.differs(norm, "no linear layer reads it directly")
        outputs = {
            norm: powers_of_two(self.folded.own(norm, "weight").numel(), seed, self.folded.own(norm, "weight"))
            for seed, norm in enumerate(norms)
        }
        inputs = {reader: 1 / outputs[norm] for norm in norms for reader in self.flow.readers[norm]}
        if norms and not self.flow.moves(outputs, inputs):
            culprit = next((n for n in norms if not self._alone(n, outputs[n])), norms[0])
            raise self.folded.differs(culprit, "more than linear layers reads it (experts, a router, a residual)")

    def _alone(self, norm: str, factors: Tensor) -> bool:
        return self.flow.moves({norm: factors}, dict.fromkeys(self.flow.readers[norm], 1 / factors))

    def _unfold_norm(self, norm: str) -> list[float]:
        """Scale the inputs of the readers; return the least and the greatest ratio."""
        ratio = self._ratio(norm)
        if f"{norm}.bias" in self.folded.state:
            own, stored = self.folded.own(norm, "bias"), self.folded.stored(norm, "bias")
            passed = (own.dtype, self.folded.stored(norm, "weight").dtype)
            if not is_same(own.double().cpu() * ratio, stored, passed, _ROUNDINGS):
                raise self.folded.differs(norm, "its bias was not scaled with its weight")
        self.folded.explained |= {f"{norm}.weight", f"{norm}.bias"}
        for reader in self.flow.readers[norm]:
            if reader in self.folded.slots:
                self.folded.inputs[self.folded.slots[reader].name] = ratio
            else:
                self._check_reader_outside(norm, reader, ratio)
        return [float(ratio.min()), float(ratio.max())]

    def _ratio(self, norm: str) -> Tensor:
        offset = gain_offset(self.folded.model.get_submodule(norm))
        if offset is None:
            raise self.folded.differs(norm, "its weight is not a factor of its output")
        own = self.folded.own(norm, "weight").double().cpu() + offset
        ratio = (self.folded.stored(norm, "weight").double() + offset) / own
        dead = int((~torch.isfinite(ratio)).sum()) or int((ratio <= 0).sum())
        if dead:
            raise self.folded.differs(norm, f"{dead} of its {ratio.numel()} weights are zero or changed their sign")
        return ratio

    def _check_reader_outside(self, norm: str, reader: str, ratio: Tensor) -> None:
        """Check that the tool also scaled a head or router that reads the norm."""
        name = f"{reader}.weight"
        own, stored = self.folded.state[name].cpu(), self.folded.stored(reader, "weight").double()
        transposed = not isinstance(self.folded.model.get_submodule(reader), nn.Linear)
        unfolded = stored * (ratio[:, None] if transposed else ratio[None, :])
        passed = (own.dtype, self.folded.stored(reader, "weight").dtype, self.folded.stored(norm, "weight").dtype)
        if unfolded.shape != own.shape or not is_same(own, unfolded, passed, _ROUNDINGS):
            raise self.folded.differs(norm, f"{reader}, outside the weight space, reads it and was not scaled with it")
        self.folded.explained.add(name)


class PairFolds:
    """Scales moved from the rows of one matrix to the inputs of the next."""

    def __init__(self, folded: Folded, flow: Flow, nearest: bool) -> None:
        """Bind to a folder, after its norms were unfolded; ``nearest`` is the gauge of that name."""
        self.folded, self.flow, self.nearest = folded, flow, nearest

    def unfold(self, biases: list[str]) -> dict[str, list[float]]:
        """Undo the folds from one matrix into the next; return the least and the greatest scale of each pair.

        Args:
            biases: The matrices whose bias was changed, which fixes their scale.

        Raises:
            PointError: if one of them has no pair, or its scale cannot be undone.
        """
        scales: dict[str, list[float]] = {}
        for pair in find_pairs(self.flow, self.folded.slots):
            fixed = pair.first in biases
            if not (fixed or self.nearest):
                continue
            found = self._scale(pair, fixed)
            if found is None:
                continue
            first, second = self.folded.slots[pair.first], self.folded.slots[pair.second]
            rows = torch.ones(pair.outputs, dtype=torch.float64)
            rows[pair.rows] = found
            self.folded.outputs[first.name], self.folded.inputs[second.name] = rows, 1 / found[pair.of_input]
            scales[f"{pair.first} → {pair.second}"] = [float(found.min()), float(found.max())]
        for name in biases:
            if f"{name}.bias" not in self.folded.explained:
                raise self.folded.differs(name, "no matrix follows it that its scale could be moved to", "bias")
        return scales

    def _scale(self, pair: Pair, fixed: bool) -> Tensor | None:
        """Return one number per row that undoes the fold; None if there is none."""
        a, b = self.folded.slots[pair.first], self.folded.slots[pair.second]
        stored, own = self._rows(a, pair), _by_output(a, self.folded.state[a.name])[pair.rows]
        scale = (stored * own).sum(1) / stored.square().sum(1)
        scale = torch.where(scale.isfinite() & (scale > 0), scale, 1.0)
        if fixed:
            scale = self._bias_scale(pair, scale if self.nearest else torch.ones_like(scale))
        after, before = _by_output(b, self.folded.weight(b)), _by_output(b, self.folded.state[b.name])
        if float((after / scale[pair.of_input] - before).norm()) < float((after - before).norm()):
            return scale
        if fixed:
            raise self.folded.differs(pair.first, f"{pair.second} was not scaled against it", "bias")
        return None

    def _bias_scale(self, pair: Pair, otherwise: Tensor) -> Tensor:
        """Return ``original / stored`` of the bias, or the scale from the weights where the bias gives none."""
        own, stored = self.folded.own(pair.first, "bias"), self.folded.stored(pair.first, "bias")
        wide, narrow = own.double().cpu(), stored.double()
        outside = torch.ones(len(wide), dtype=torch.bool)
        outside[pair.rows] = False
        if bool(outside.any()) and not is_same(own[outside.to(own.device)], stored[outside]):
            raise self.folded.differs(pair.first, "rows of it changed that the next matrix does not read", "bias")
        wide, narrow = wide[pair.rows], narrow[pair.rows]
        least = max(torch.finfo(t.dtype).tiny * torch.finfo(t.dtype).eps for t in (own, stored))
        silent = torch.maximum(wide.abs(), narrow.abs()) <= least
        scale = torch.where(silent, otherwise, wide / narrow)
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise self.folded.differs(pair.first, "numbers in it are zero or changed their sign", "bias")
        self.folded.explained.add(f"{pair.first}.bias")
        return scale

    def _rows(self, slot: Slot, pair: Pair) -> Tensor:
        """Return the rows of the first matrix that feed the second, after the norms were unfolded."""
        rows = _by_output(slot, self.folded.weight(slot))[pair.rows]
        factors = self.folded.inputs.get(slot.name)
        return rows if factors is None else rows * factors


def _by_output(slot: Slot, weight: Tensor) -> Tensor:
    """Return a matrix as (out, in), float64, on the CPU."""
    wide = weight.detach().cpu().double()
    return wide.T if slot.transposed else wide
