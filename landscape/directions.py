"""Unit-sphere directions of the weight space, drawn from (seed, index) and never stored.

Every family maps i.i.d. Gaussian noise over all D coordinates to a vector of one global unit norm:

    sphere    the noise itself: uniform on the unit sphere (Xu et al. 2024, §4.3)
    profile   in each tensor the norm of a given Δw: random rounding with the same allocation over layers
    filter    in each output channel the norm of w there (Li et al. 2018, "Visualizing the Loss Landscape …")

Noise comes from numpy's counter-based Philox keyed by (seed, index, tensor name): the same on every machine, in any
order and in parallel, while ``torch.randn`` differs between CPU types. (numpy reserves the right to change its normal
generator between versions; a test holds known values.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from quant.philox import philox
from quant.space import Slot, Vector, WeightSpace


@dataclass(frozen=True)
class Direction:
    """A unit vector ``ê``, held as float32 tensors and one factor."""

    parts: dict[str, Tensor]
    """Its tensors before normalisation, by the slot's name."""
    factor: float
    """What brings their global norm to 1."""

    def tensor(self, slot: Slot) -> Tensor:
        """Its part in ``slot``."""
        return self.parts[slot.name] * self.factor


class Family(Protocol):
    """A way to draw directions; its name is part of the identity of every probe made along them."""

    @property
    def name(self) -> str:
        """Says all that determines direction ``index``, except the index."""
        ...

    def draw(self, index: int) -> Direction:
        """Direction number ``index``, from 0."""
        ...


def noise(slot: Slot, seed: int, index: int) -> Tensor:
    """Standard normal noise in the shape of a slot, keyed by (seed, index, name)."""
    generator = np.random.Generator(philox("direction", seed, index, slot.name))
    return torch.from_numpy(generator.standard_normal(slot.shape, dtype=np.float32))


@dataclass(frozen=True)
class Sphere:
    """Directions uniform on the unit sphere of R^D."""

    space: WeightSpace
    seed: int = 0

    @property
    def name(self) -> str:
        """``sphere/seed=0``."""
        return f"sphere/seed={self.seed}"

    def draw(self, index: int) -> Direction:
        """One global norm: a tensor's share of it is its share of the coordinates, in expectation."""
        return _normalised(self.space, lambda slot: noise(slot, self.seed, index))


@dataclass(frozen=True)
class Profile:
    """Directions with the per-tensor norms of a perturbation Δw.

    Along them ``w + t·Σ‖Δw_l‖ĝ_l`` lies at ``λ = t‖Δw‖``, so ``ρ_prof = 1/t½ = ‖Δw‖/R_prof``. Unlike ρ it does not
    change when one matrix is scaled by c and the next by 1/c and the function stays as it was.
    """

    space: WeightSpace
    delta: Vector
    """The perturbation whose allocation over the tensors is copied."""
    label: str
    """What identifies the perturbation: the recipe of its point."""
    seed: int = 0

    @property
    def name(self) -> str:
        """``profile/<label>/seed=0``."""
        return f"profile/{self.label}/seed={self.seed}"

    def draw(self, index: int) -> Direction:
        """Noise scaled in each tensor to the norm of Δw there."""

        def part(slot: Slot) -> Tensor:
            g = noise(slot, self.seed, index)
            length = float(self.delta.tensor(slot).double().norm())
            return g * (length / float(g.double().norm()))

        return _normalised(self.space, part)


@dataclass(frozen=True)
class Filter:
    """Directions with the per-channel norms of w, which undo the scale invariance of ReLU networks."""

    space: WeightSpace
    center: Vector
    seed: int = 0

    @property
    def name(self) -> str:
        """``filter/seed=0``."""
        return f"filter/seed={self.seed}"

    def draw(self, index: int) -> Direction:
        """Noise scaled in each output channel to the norm of w there."""

        def part(slot: Slot) -> Tensor:
            g, w = noise(slot, self.seed, index), self.center.tensor(slot).float().cpu()
            lengths = torch.linalg.vector_norm(w, dim=slot.input_dim, keepdim=True)
            scaled: Tensor = g * (lengths / torch.linalg.vector_norm(g, dim=slot.input_dim, keepdim=True))
            return scaled

        return _normalised(self.space, part)


def _normalised(space: WeightSpace, part: Callable[[Slot], Tensor]) -> Direction:
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # numpy draws without holding the GIL
        parts = dict(zip((s.name for s in space), pool.map(part, space), strict=True))
    square = math.fsum(float(np.einsum("ij,ij->", p.numpy(), p.numpy(), dtype=np.float64)) for p in parts.values())
    return Direction(parts, 1 / math.sqrt(square))
