"""Collect Hessians of the layer-wise error: the Gram matrix of the inputs that each matrix reads.

For a matrix W (out, in) that reads x over n tokens, the Hessian of its squared output error per token is
``H = 2/n Σ x xᵀ``, the same for each row of W. Matrices that read the same input, as query, key and value do, share it.
The tokens of an expert are those that are routed to it.
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
    """2/n Σ x xᵀ, (in, in), in float32 or better; (0, 0) for an expert to which no token was routed."""
    magnitude: Tensor
    """mean|x| of every input, (in,), float64."""
    tokens: int
    """n, the number of tokens."""


_Read = tuple[Slot, int]
"""A distinct input of a window: the first matrix that reads it, and how many inputs it was the first to read before."""


class GramMatrices:
    """Σ x xᵀ of every distinct input tensor in a block, and which matrices read it."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], tuple[_Read, Tensor]] = {}  # inputs of the present window, kept alive
        self._led: Counter[Slot] = Counter()  # in the present window
        self._reads: dict[Slot, Counter[_Read]] = {}
        self._times: Counter[_Read] = Counter()
        self._sums: dict[_Read, Tensor] = {}
        self._magnitudes: dict[_Read, Tensor] = {}
        self._tokens: Counter[_Read] = Counter()

    def end_window(self) -> None:
        """Release the inputs of a window."""
        self._open.clear()
        self._led.clear()

    def observe(self, slot: Slot, x: Tensor) -> None:
        """Add an input, (tokens, in), of a matrix; one that another matrix has read unchanged counts once, for both."""
        identity = (x.data_ptr(), x.shape, x.stride(), x._version)
        known = self._open.get(identity)
        read = known[0] if known else (slot, self._led[slot])
        self._reads.setdefault(slot, Counter())[read] += 1
        if known is None:
            self._open[identity] = read, x
            self._led[slot] += 1
            self._times[read] += 1
            self._add(read, x)

    def _add(self, read: _Read, x: Tensor) -> None:
        flat = x.to(torch.promote_types(x.dtype, torch.float32))
        if read not in self._sums:
            self._sums[read] = flat.new_zeros(flat.shape[1], flat.shape[1])
            self._magnitudes[read] = flat.new_zeros(flat.shape[1], dtype=torch.float64)
        self._sums[read].addmm_(flat.T, flat)
        self._magnitudes[read] += flat.abs().sum(0, dtype=torch.float64)
        self._tokens[read] += len(flat)

    def hessians(self, slots: Sequence[Slot]) -> list[SharedHessian]:
        """Return the Hessian of each group of matrices that read the same inputs, in the order of reading.

        Every matrix is in one group; experts to which no token was routed come last, alone and without a Hessian.

        Raises:
            PointError: if a matrix read nothing, and is not an unused expert of a layer.
        """
        self.end_window()
        self._check(slots)
        groups: dict[frozenset[_Read], list[Slot]] = {}
        for reader, counts in self._reads.items():
            groups.setdefault(frozenset(counts), []).append(reader)
        order = {slot: position for position, slot in enumerate(slots)}
        shared = Counter(read for reads in groups for read in reads)
        found: list[SharedHessian] = []
        for group, readers in groups.items():
            reads = sorted(group, key=lambda read: (order[read[0]], read[1]))
            tokens = sum(self._tokens[read] for read in reads)
            if tokens:
                hessian = self._sum([(read, shared[read] > 1) for read in reads]).mul_(2 / tokens)
                magnitude = torch.stack([self._magnitudes[read] for read in reads]).sum(0) / tokens
                members = sorted(readers, key=order.__getitem__)
                found.append(SharedHessian(tuple(members), hessian, magnitude, tokens))
        calibrated = {slot for each in found for slot in each.slots}
        nothing = torch.empty(0, 0), torch.empty(0), 0
        return found + [SharedHessian((slot,), *nothing) for slot in slots if slot not in calibrated]

    def _sum(self, reads: Sequence[tuple[_Read, bool]]) -> Tensor:
        """Add up the sums of these inputs, in the memory of the first unless another group needs it."""
        (read, needed), *others = reads
        total = self._sums[read].clone() if needed else self._sums.pop(read)
        for other, _ in others:
            total += self._sums[other]
        return total

    def _check(self, slots: Sequence[Slot]) -> None:
        used = {slot.siblings for slot in self._reads}
        for slot in slots:
            counts = self._reads.get(slot)
            if counts is None and not (slot.expert and slot.siblings in used):
                raise PointError(
                    f"expected calibration tokens to reach {slot.name}, none did; use more --calibration-windows or "
                    "another text, or leave it out with --exclude"
                )
            if counts is not None and any(count != self._times[read] for read, count in counts.items()):
                raise PointError(
                    f"expected {slot.name} to read an input of {next(iter(counts))[0].name} in every window or in "
                    "none, it does in some; it cannot be calibrated"
                )
