"""Hold one unit vector of the weight space, or what draws it again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from quant.errors import UsageError
from quant.normals import HOST, in_threads
from quant.space import Slot, WeightSpace


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector ``ê``: tensors that are held, tensors that are drawn wherever they are read, and one factor."""

    parts: Mapping[str, Tensor]
    """Tensors that are held, before normalisation, by the slot's name."""
    redraw: Callable[[Slot], Tensor]
    """Draws any other tensor, before normalisation."""
    factor: float = 1.0
    """Factor that brings the global norm to 1."""

    @classmethod
    def normalized(
        cls,
        space: WeightSpace,
        parts: Mapping[str, Tensor],
        redraw: Callable[[Slot], Tensor],
        threads: int,
        stopped: Callable[[], bool],
    ) -> Direction:
        """Bring a vector to norm 1, computed in float64.

        Args:
            space: The weight space.
            parts: See ``Direction``.
            redraw: See ``Direction``.
            threads: Number of threads, which changes no bit.
            stopped: Asked between tensors.

        Raises:
            UsageError: if the vector is zero.
            CancelledError: if ``stopped`` answered True.
        """
        direction = cls(parts, redraw)

        def square(slot: Slot) -> Tensor | float:
            check_wanted(stopped)
            part = direction.raw(slot)
            if part.device != HOST:
                return torch.sum(part * part, dtype=torch.float64)  # not read yet: the device goes on with the next one
            return float(np.einsum("ij,ij->", part.numpy(), part.numpy(), dtype=np.float64))

        total = math.fsum(float(each) for each in in_threads(square, space.slots, threads if parts else 1))
        if total == 0:
            raise UsageError(
                "expected a vector that is not zero as a direction, got zero: the point lies at w itself; "
                "use another point"
            )
        return replace(direction, factor=1 / math.sqrt(total))

    def raw(self, slot: Slot) -> Tensor:
        """Return its part in ``slot`` before normalisation."""
        held = self.parts.get(slot.name)
        return self.redraw(slot) if held is None else held

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``."""
        return self.raw(slot) * self.factor


def check_wanted(stopped: Callable[[], bool]) -> None:
    """End a draw that nobody waits for any more.

    Raises:
        CancelledError: if ``stopped`` answers True.
    """
    if stopped():
        raise CancelledError("expected a draw that is still wanted, it was stopped")
