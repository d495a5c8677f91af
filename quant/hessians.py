"""Hessians of the layer-wise error: the Gram matrix of the inputs that each matrix reads.

The Hessian of a matrix W (out, in) that reads x over n tokens is ``H = 2/n Σ x xᵀ``, that of its squared output error
per token, for each row of W. Matrices that read the same input, as query, key and value do, share it. The tokens of an
expert are those that are routed to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.errors import PointError
from quant.space import Slot


@dataclass(frozen=True)
class SharedHessian:
    """The Hessian of matrices that read the same input, as query, key and value do."""

    slots: tuple[Slot, ...]
    """The matrices, in flat order."""
    hessian: Tensor
    """2/n Σ x xᵀ, (in, in), in float32 or better; (0, 0) for an expert that no token was routed to."""
    magnitude: Tensor
    """mean|x| of every input, (in,), float64."""
    tokens: int
    """n."""


class GramMatrices:
    """Σ x xᵀ of every distinct input tensor in a block, and which matrices read it."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], tuple[Slot, Tensor]] = {}  # inputs of the present window, kept alive
        self._reads: dict[Slot, Counter[Slot]] = {}
        self._led: Counter[Slot] = Counter()
        self._sums: dict[Slot, Tensor] = {}
        self._magnitudes: dict[Slot, Tensor] = {}
        self._tokens: Counter[Slot] = Counter()

    def end_window(self) -> None:
        """Let go of the inputs of a window."""
        self._open.clear()

    def observe(self, slot: Slot, x: Tensor) -> None:
        """Add an input, (tokens, in), of a matrix; what another matrix has read unchanged is counted once, for both."""
        identity = (x.data_ptr(), x.shape, x.stride(), x._version)
        leader, _ = self._open.setdefault(identity, (slot, x))
        self._reads.setdefault(slot, Counter())[leader] += 1
        if leader is slot:
            self._led[slot] += 1
            self._add(slot, x)

    def _add(self, slot: Slot, x: Tensor) -> None:
        if slot.stack is not None:
            x = x[x.any(1)]  # where all experts compute on all tokens, those routed elsewhere are zeros
        flat = x.to(torch.promote_types(x.dtype, torch.float32))
        if slot not in self._sums:
            self._sums[slot] = flat.new_zeros(flat.shape[1], flat.shape[1])
            self._magnitudes[slot] = flat.new_zeros(flat.shape[1], dtype=torch.float64)
        self._sums[slot].addmm_(flat.T, flat)
        self._magnitudes[slot] += flat.abs().sum(0, dtype=torch.float64)
        self._tokens[slot] += len(flat)

    def hessians(self, slots: Sequence[Slot]) -> list[SharedHessian]:
        """Return the Hessian of each group of matrices that read the same inputs, in the order of reading.

        Every matrix is in one group; experts that no token was routed to come last, alone and without a Hessian.

        Raises:
            PointError: if a matrix read nothing, and is no expert that others were preferred to.
        """
        self._open.clear()
        self._check(slots)
        groups: dict[frozenset[Slot], list[Slot]] = {}
        for reader, led_by in self._reads.items():
            groups.setdefault(frozenset(led_by), []).append(reader)
        order = {slot: position for position, slot in enumerate(slots)}
        shared = Counter(leader for leaders in groups for leader in leaders)
        found: list[SharedHessian] = []
        for leaders, readers in groups.items():
            tokens = sum(self._tokens[leader] for leader in leaders)
            if tokens:
                hessian = self._sum([(leader, shared[leader] > 1) for leader in leaders]).mul_(2 / tokens)
                magnitude = torch.stack([self._magnitudes[leader] for leader in leaders]).sum(0) / tokens
                members = sorted(readers, key=order.__getitem__)
                found.append(SharedHessian(tuple(members), hessian, magnitude, tokens))
        calibrated = {slot for each in found for slot in each.slots}
        nothing = torch.empty(0, 0), torch.empty(0), 0
        return found + [SharedHessian((slot,), *nothing) for slot in slots if slot not in calibrated]

    def _sum(self, leaders: Sequence[tuple[Slot, bool]]) -> Tensor:
        """Add up the sums of these leaders, in the memory of the first unless another group needs it."""
        (leader, needed), *others = leaders
        total = self._sums[leader].clone() if needed else self._sums.pop(leader)
        for other, _ in others:
            total += self._sums[other]
        return total

    def _check(self, slots: Sequence[Slot]) -> None:
        used = {slot.siblings for slot in self._reads}
        for slot in slots:
            leaders = self._reads.get(slot)
            if leaders is None and not (slot.expert and slot.siblings in used):
                raise PointError(f"expected calibration tokens to reach {slot.name}, none did; add windows")
            if leaders is not None and any(count != self._led[leader] for leader, count in leaders.items()):
                raise PointError(
                    f"expected {slot.name} to read what {next(iter(leaders)).name} reads, or nothing of it, "
                    "it reads a part; it cannot be calibrated"
                )
