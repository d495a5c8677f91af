"""Draw unit vectors of the weight space from (seed, index); none is ever stored.

Every family of directions maps i.i.d. Gaussian noise over all D coordinates to a vector of one global unit norm:

    sphere    the noise itself: uniform on the unit sphere (Xu et al. 2024, §4.3)
    profile   in each tensor the norm of a given Δw: random rounding with the same allocation over layers
    shrink    profile, and in each tensor the cosine that Δw has with w: rounding shrinks, random steps inflate
    filter    in each output channel the norm of w there (Li et al. 2018, "Visualizing the Loss Landscape …")
    layer     the noise in some of the tensors, nothing elsewhere

and ``along`` is one given vector, Δw itself or an eigenvector.

``family_of`` makes the families that users name; ``FAMILIES`` lists them for its error, and the help of ``--family``
repeats it (``landscape.survey.request``, ``landscape.radius``). A family that moves only some of the tensors must be
known to ``moved_tensors``, which reads the selection from the family's name.

Noise comes from numpy's counter-based Philox keyed by (seed, index, tensor name): the same on every machine, in any
order and in parallel, while ``torch.randn`` differs between CPU types. (numpy reserves the right to change its normal
generator between versions; a test holds known values.)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.positions.selection import selected, selects
from quant.errors import UsageError
from quant.philox import philox
from quant.space import Slot, Vector, WeightSpace

FAMILIES = "sphere, filter or layer:TENSORS"
"""Families that a user can name."""


@dataclass(frozen=True)
class Direction:
    """A unit vector ``ê``, held as float32 tensors and one factor."""

    parts: dict[str, Tensor]
    """Its tensors before normalisation, by the slot's name."""
    factor: float
    """Factor that brings their global norm to 1."""

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``."""
        return self.parts[slot.name] * self.factor


def noise(slot: Slot, seed: int, index: int) -> Tensor:
    """Draw standard normal noise in the shape of a slot, keyed by (seed, index, name)."""
    generator = np.random.Generator(philox("direction", seed, index, slot.name))
    return torch.from_numpy(generator.standard_normal(slot.shape, dtype=np.float32))


@dataclass(frozen=True)
class Family(ABC):
    """A family of directions, numbered from 0."""

    space: WeightSpace

    @property
    @abstractmethod
    def name(self) -> str:
        """Name all that determines direction ``index``, except the index: part of the identity of every probe."""

    @abstractmethod
    def part(self, slot: Slot, index: int) -> Tensor:
        """Return direction ``index`` in one slot, in float32, before its global norm is brought to 1."""

    def draw(self, index: int) -> Direction:
        """Draw direction ``index``.

        Raises:
            UsageError: if the family has no such direction, or the vector is zero.
        """
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # numpy draws without holding the GIL
            drawn = pool.map(lambda slot: self.part(slot, index), self.space)
            parts = dict(zip((s.name for s in self.space), drawn, strict=True))
        square = math.fsum(float(np.einsum("ij,ij->", p.numpy(), p.numpy(), dtype=np.float64)) for p in parts.values())
        if square == 0:
            raise UsageError(
                "expected a vector that is not zero as a direction, got zero: the point lies at w itself; "
                "use another point"
            )
        return Direction(parts, 1 / math.sqrt(square))


class RandomFamily(Family):
    """A family whose directions are noise in all tensors, each shaped by itself."""

    seed: int
    """Seed of the noise, a field of each subclass, which chooses its place and its default."""

    @abstractmethod
    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Shape standard normal noise in one slot."""

    def part(self, slot: Slot, index: int) -> Tensor:
        """Draw the noise and shape it."""
        return self.shaped(slot, noise(slot, self.seed, index))


@dataclass(frozen=True)
class Sphere(RandomFamily):
    """Directions uniform on the unit sphere of R^D."""

    seed: int = 0

    @property
    def name(self) -> str:
        """``sphere/seed=0``."""
        return f"sphere/seed={self.seed}"

    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Return the noise itself: a tensor's share of ‖ê‖² is its share of the coordinates, in expectation."""
        return normals


@dataclass(frozen=True)
class Profile(RandomFamily):
    """Directions with the per-tensor norms of a perturbation Δw.

    Along them ``w + t·Σ‖Δw_l‖ĝ_l`` lies at ``λ = t‖Δw‖``, so ``ρ_prof = 1/t½ = ‖Δw‖/R_prof``. Unlike ρ it does not
    change when one matrix is scaled by c and the next by 1/c and the function stays as it was.
    """

    delta: Vector
    """The perturbation whose allocation over the tensors is copied."""
    label: str
    """Identity of the perturbation: the recipe of its point."""
    seed: int = 0

    @property
    def name(self) -> str:
        """``profile/<label>/seed=0``."""
        return f"profile/{self.label}/seed={self.seed}"

    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Scale the noise to the norm of Δw in the slot."""
        length = float(self.delta.tensor(slot).double().norm())
        return normals * (length / float(normals.double().norm()))


@dataclass(frozen=True)
class Shrink(RandomFamily):
    """Directions with the per-tensor norms of a perturbation Δw and its per-tensor cosines with w.

    Rounding at the scale of least squared error leaves ⟨w_RTN, Δw⟩ = 0 in every tensor, so it makes w shorter, while a
    random step, all but orthogonal to w, makes it longer. These directions are random but for that.
    """

    center: Vector
    delta: Vector
    """The perturbation whose norms and cosines are copied."""
    label: str
    """Identity of the perturbation: the recipe of its point."""
    seed: int = 0

    @property
    def name(self) -> str:
        """``shrink/<label>/seed=0``."""
        return f"shrink/{self.label}/seed={self.seed}"

    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Keep Δw's own part along w in the slot; the rest of its norm is noise orthogonal to w."""
        w, delta = (vector.tensor(slot).cpu().double() for vector in (self.center, self.delta))
        g, square = normals.double(), w.square().sum()
        onto_w = w / square if square > 0 else w  # a tensor of zeros has no direction to shrink along
        along = (delta * w).sum() * onto_w
        across = g - (g * w).sum() * onto_w
        rest = (delta.square().sum() - along.square().sum()).clamp(min=0).sqrt()
        shrunk: Tensor = along + rest * across / across.norm()
        return shrunk.float()


@dataclass(frozen=True)
class Filter(RandomFamily):
    """Directions with the per-channel norms of w, which undo the scale invariance of ReLU networks."""

    center: Vector
    seed: int = 0

    @property
    def name(self) -> str:
        """``filter/seed=0``."""
        return f"filter/seed={self.seed}"

    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Scale the noise in each output channel of the slot to the norm of w there."""
        w = self.center.tensor(slot).float().cpu()
        lengths = torch.linalg.vector_norm(w, dim=slot.input_dim, keepdim=True)
        scaled: Tensor = normals * (lengths / torch.linalg.vector_norm(normals, dim=slot.input_dim, keepdim=True))
        return scaled


@dataclass(frozen=True)
class Layers(Family):
    """Directions uniform on the unit sphere of some of the tensors."""

    slots: str
    """Selection of the tensors: see ``landscape.positions.selection``."""
    seed: int = 0

    def __post_init__(self) -> None:
        selected(self.slots, self.space)  # raises if it selects none, before any work

    @property
    def name(self) -> str:
        """``layer:<selection>/seed=0``."""
        return f"layer:{self.slots}/seed={self.seed}"

    def part(self, slot: Slot, index: int) -> Tensor:
        """Draw the sphere's noise if the slot is selected, else zeros: with all tensors selected it is the sphere."""
        return noise(slot, self.seed, index) if selects(self.slots, slot) else torch.zeros(slot.shape)


@dataclass(frozen=True)
class Along(Family):
    """The one direction of a given vector."""

    vector: Vector
    label: str
    """Identity of the vector: the recipe of its point, say."""

    @property
    def name(self) -> str:
        """``along/<label>``."""
        return f"along/{self.label}"

    def part(self, slot: Slot, index: int) -> Tensor:
        """Return the vector in the slot.

        Raises:
            UsageError: for any index but 0.
        """
        if index != 0:
            raise UsageError(f"expected direction 0 along {self.label}, which is the only one, got {index}")
        return self.vector.tensor(slot).float().cpu()


def moved_tensors(name: str) -> str | None:
    """Return the selection of tensors that the family of this name moves; None if it moves all."""
    if not name.startswith("layer:"):
        return None
    return name.removeprefix("layer:").rpartition("/seed=")[0]


def family_of(text: str, space: WeightSpace, center: Vector, seed: int) -> Family:
    """Make the family that a user names: ``sphere``, ``filter`` or ``layer:<selection>``; others belong to a point.

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
    raise UsageError(f"expected {FAMILIES} as family of directions, got {text!r}")
