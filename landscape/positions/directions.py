"""Unit-sphere directions of the weight space, drawn from (seed, index) and never stored.

Every family maps i.i.d. Gaussian noise over all D coordinates to a vector of one global unit norm:

    sphere    the noise itself: uniform on the unit sphere (Xu et al. 2024, §4.3)
    profile   in each tensor the norm of a given Δw: random rounding with the same allocation over layers
    shrink    profile, and in each tensor the cosine that Δw has with w: rounding shrinks, random steps inflate
    filter    in each output channel the norm of w there (Li et al. 2018, "Visualizing the Loss Landscape …")
    layer     the noise in some of the tensors, nothing elsewhere

and ``along`` is one given vector, Δw itself or an eigenvector, for what only it can show.

Noise comes from numpy's counter-based Philox keyed by (seed, index, tensor name): the same on every machine, in any
order and in parallel, while ``torch.randn`` differs between CPU types. (numpy reserves the right to change its normal
generator between versions; a test holds known values.)
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from landscape.positions.selection import selected, selects
from quant.errors import UsageError
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

    def part(self, slot: Slot, index: int) -> Tensor:
        """Direction number ``index``, from 0, in one slot, before its global norm is brought to 1."""
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

    def part(self, slot: Slot, index: int) -> Tensor:
        """The noise itself: a tensor's share of the norm is its share of the coordinates, in expectation."""
        return noise(slot, self.seed, index)

    def draw(self, index: int) -> Direction:
        """One global norm."""
        return _normalised(self, self.space, index)


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

    def part(self, slot: Slot, index: int) -> Tensor:
        """Noise scaled to the norm of Δw in the slot."""
        g = noise(slot, self.seed, index)
        length = float(self.delta.tensor(slot).double().norm())
        return g * (length / float(g.double().norm()))

    def draw(self, index: int) -> Direction:
        """Noise scaled in each tensor to the norm of Δw there."""
        return _normalised(self, self.space, index)


@dataclass(frozen=True)
class Shrink:
    """Directions with the per-tensor norms of a perturbation Δw and its per-tensor cosines with w.

    Rounding at the scale of least squared error leaves ⟨w_RTN, Δw⟩ = 0 in every tensor, so it makes w shorter, while a
    random step, all but orthogonal to w, makes it longer. These directions are random but for that.
    """

    space: WeightSpace
    center: Vector
    delta: Vector
    """The perturbation whose norms and cosines are copied."""
    label: str
    """What identifies the perturbation: the recipe of its point."""
    seed: int = 0

    @property
    def name(self) -> str:
        """``shrink/<label>/seed=0``."""
        return f"shrink/{self.label}/seed={self.seed}"

    def part(self, slot: Slot, index: int) -> Tensor:
        """Δw's own part along w in the slot, and noise orthogonal to w for the rest of its norm."""
        w, delta = (vector.tensor(slot).cpu().double() for vector in (self.center, self.delta))
        g, square = noise(slot, self.seed, index).double(), w.square().sum()
        onto_w = w / square if square > 0 else w  # a tensor of zeros has no direction to shrink along
        along = (delta * w).sum() * onto_w
        across = g - (g * w).sum() * onto_w
        rest = (delta.square().sum() - along.square().sum()).clamp(min=0).sqrt()
        shrunk: Tensor = along + rest * across / across.norm()
        return shrunk.float()

    def draw(self, index: int) -> Direction:
        """In each tensor Δw's own part along w, and noise orthogonal to w for the rest of its norm."""
        return _normalised(self, self.space, index)


@dataclass(frozen=True)
class Layers:
    """Directions uniform on the unit sphere of some of the tensors."""

    space: WeightSpace
    slots: str
    """Which: see ``landscape.positions.selection``."""
    seed: int = 0

    def __post_init__(self) -> None:
        selected(self.slots, self.space)  # says now that it selects none

    @property
    def name(self) -> str:
        """``layer:<selection>/seed=0``."""
        return f"layer:{self.slots}/seed={self.seed}"

    def part(self, slot: Slot, index: int) -> Tensor:
        """The sphere's noise if the slot is selected, else zeros."""
        return noise(slot, self.seed, index) if selects(self.slots, slot) else torch.zeros(slot.shape)

    def draw(self, index: int) -> Direction:
        """The sphere's noise in the tensors selected, so that a direction of all of them is the sphere's."""
        return _normalised(self, self.space, index)


def layers_of(name: str) -> str | None:
    """The tensors that a family of this name moves, if it is one of ``Layers``; None for families that move all."""
    if not name.startswith("layer:"):
        return None
    return name.removeprefix("layer:").rpartition("/seed=")[0]


@dataclass(frozen=True)
class Along:
    """The one direction of a given vector."""

    space: WeightSpace
    vector: Vector
    label: str
    """What identifies the vector: the recipe of its point, say."""

    @property
    def name(self) -> str:
        """``along/<label>``."""
        return f"along/{self.label}"

    def part(self, slot: Slot, index: int) -> Tensor:
        """The vector in the slot.

        Raises:
            UsageError: for any index but 0.
        """
        if index != 0:
            raise UsageError(f"expected direction 0 along {self.label}, which is the only one, got {index}")
        return self.vector.tensor(slot).float().cpu()

    def draw(self, index: int) -> Direction:
        """The vector over its norm, unaltered.

        Raises:
            UsageError: for any index but 0.
        """
        return _normalised(self, self.space, index)


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

    def part(self, slot: Slot, index: int) -> Tensor:
        """Noise scaled in each output channel of the slot to the norm of w there."""
        g, w = noise(slot, self.seed, index), self.center.tensor(slot).float().cpu()
        lengths = torch.linalg.vector_norm(w, dim=slot.input_dim, keepdim=True)
        scaled: Tensor = g * (lengths / torch.linalg.vector_norm(g, dim=slot.input_dim, keepdim=True))
        return scaled

    def draw(self, index: int) -> Direction:
        """Noise scaled in each output channel to the norm of w there."""
        return _normalised(self, self.space, index)


def family_of(text: str, space: WeightSpace, center: Vector, seed: int) -> Family:
    """The family that a user names: ``sphere``, ``filter`` or ``layer:<selection>``; the others belong to a point.

    Raises:
        UsageError: for any other name, or a selection of nothing.
    """
    kind, _, slots = text.partition(":")
    if text == "sphere":
        return Sphere(space, seed)
    if text == "filter":
        return Filter(space, center, seed)
    if kind == "layer" and slots:
        return Layers(space, slots, seed)
    raise UsageError(f"expected sphere, filter or layer:TENSORS as family of directions, got {text!r}")


def _normalised(family: Family, space: WeightSpace, index: int) -> Direction:
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # numpy draws without holding the GIL
        drawn = pool.map(lambda slot: family.part(slot, index), space)
        parts = dict(zip((s.name for s in space), drawn, strict=True))
    square = math.fsum(float(np.einsum("ij,ij->", p.numpy(), p.numpy(), dtype=np.float64)) for p in parts.values())
    if square == 0:
        raise UsageError("expected a vector that is not zero as a direction; the point lies at w itself")
    return Direction(parts, 1 / math.sqrt(square))
