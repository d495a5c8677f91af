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

Noise comes from raw words of the counter-based Philox, keyed by (seed, index, tensor name), through Box and Muller's
formula: equal up to rounding on every device, in any order and in parallel (see ``quant.normals``), while
``torch.randn`` differs between CPU types and GPUs.

On a CPU a direction is drawn once and held. A device that makes normals itself holds none: it draws each tensor afresh
wherever it is read, and keeps only the factor of the norm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from landscape.positions.direction import Direction, check_wanted
from landscape.positions.selection import selected, selects
from quant.errors import UsageError
from quant.normals import HOST, Key, made_on, many_normals, normals
from quant.space import Slot, Vector, WeightSpace

FAMILIES = "sphere, filter or layer:TENSORS"
"""Families that a user can name."""


DRAW = 2
"""Version of the noise, in the name of every family of noise; raise it when the same key gives other noise.

2   Box and Muller on raw words; version 1, without a version in its names, drew with ``numpy.random.Generator``.
"""

_DRAWN = f"/draw={DRAW}"
Devices = Mapping[str, torch.device]  # by the slot's name


def noise(slot: Slot, seed: int, index: int, device: torch.device = HOST) -> Tensor:
    """Draw standard normal noise in the shape of a slot, keyed by (seed, index, name)."""
    return normals(slot.size, noise_key(slot, seed, index), device).view(slot.shape)


def noise_key(slot: Slot, seed: int, index: int) -> Key:
    """Return the key of the noise in a slot."""
    return ("direction", seed, index, slot.name)


@dataclass(frozen=True)
class Family(ABC):
    """A family of directions, numbered from 0."""

    space: WeightSpace

    @property
    @abstractmethod
    def name(self) -> str:
        """Name all that determines direction ``index``, except the index: part of the identity of every probe."""

    @abstractmethod
    def part(self, slot: Slot, index: int, device: torch.device = HOST) -> Tensor:
        """Return direction ``index`` in one slot, in float32 on a device, before its global norm is brought to 1."""

    def redrawn_on(self, device: torch.device) -> bool:
        """Say whether a direction on this device is drawn wherever it is read, not held."""
        return False

    def parts(
        self, index: int, slots: Sequence[Slot], devices: Devices, threads: int, stopped: Callable[[], bool]
    ) -> dict[str, Tensor]:
        """Return ``part`` of several slots, by their names; the arguments are those of ``draw``."""
        found = {}
        for slot in slots:
            check_wanted(stopped)
            found[slot.name] = self.part(slot, index, devices[slot.name])
        return found

    def draw(
        self,
        index: int,
        beside: Vector | None = None,
        threads: int | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Direction:
        """Draw direction ``index``.

        Args:
            index: Number of the direction.
            beside: Vector whose tensors lie on the devices on which the direction is needed; None for the host.
            threads: Number of threads that draw, which changes no bit; torch's own number if None.
            stopped: Asked from time to time; the draw ends where it answers True.

        Raises:
            UsageError: if the family has no such direction, or the vector is zero.
            CancelledError: if ``stopped`` answered True.
        """
        threads = torch.get_num_threads() if threads is None else threads
        devices = {slot.name: HOST if beside is None else beside.tensor(slot).device for slot in self.space}
        held = [slot for slot in self.space if not self.redrawn_on(devices[slot.name])]
        parts = self.parts(index, held, devices, threads, stopped)

        def redraw(slot: Slot) -> Tensor:
            return self.part(slot, index, devices[slot.name])

        return Direction.normalized(self.space, parts, redraw, threads, stopped)


class RandomFamily(Family):
    """A family whose directions are noise in all tensors, or in some, each shaped by itself."""

    seed: int
    """Seed of the noise, a field of each subclass, which chooses its place and its default."""

    @abstractmethod
    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Shape standard normal noise in one slot, on the device of the noise."""

    def moves(self, slot: Slot) -> bool:
        """Say whether the directions move a slot; they are zero in the others."""
        return True

    def key(self, slot: Slot, index: int) -> Key:
        """Return the key of the noise in a slot."""
        return noise_key(slot, self.seed, index)

    def part(self, slot: Slot, index: int, device: torch.device = HOST) -> Tensor:
        """Draw the noise and shape it."""
        if not self.moves(slot):
            return _zeros(slot, device)
        return self.shaped(slot, normals(slot.size, self.key(slot, index), device).view(slot.shape))

    def redrawn_on(self, device: torch.device) -> bool:
        """Say whether the device makes normals itself."""
        return made_on(device)

    def parts(
        self, index: int, slots: Sequence[Slot], devices: Devices, threads: int, stopped: Callable[[], bool]
    ) -> dict[str, Tensor]:
        """Draw the noise of all slots on the host at once, so that no thread waits for a large one."""
        moved = [slot for slot in slots if self.moves(slot)]
        drawn = many_normals([(slot.size, self.key(slot, index)) for slot in moved], threads, stopped)
        found = {slot.name: _zeros(slot, devices[slot.name]) for slot in slots if not self.moves(slot)}
        while moved:  # each tensor of noise is released before the next one is shaped
            slot, flat = moved.pop(), drawn.pop()
            check_wanted(stopped)
            found[slot.name] = self.shaped(slot, flat.view(slot.shape).to(devices[slot.name]))
        return found


def _zeros(slot: Slot, device: torch.device) -> Tensor:
    """Return zeros in the shape of a slot that take the memory of one number."""
    return torch.zeros(1, 1, device=device).expand(slot.shape)


@dataclass(frozen=True)
class Sphere(RandomFamily):
    """Directions uniform on the unit sphere of R^D."""

    seed: int = 0

    @property
    def name(self) -> str:
        """``sphere/seed=0/draw=2``."""
        return f"sphere/seed={self.seed}{_DRAWN}"

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
        """``profile/<label>/seed=0/draw=2``."""
        return f"profile/{self.label}/seed={self.seed}{_DRAWN}"

    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Scale the noise to the norm of Δw in the slot."""
        if slot.name not in self._lengths:
            self._lengths[slot.name] = float(self.delta.tensor(slot).double().norm())
        return normals * (self._lengths[slot.name] / float(normals.double().norm()))

    @cached_property
    def _lengths(self) -> dict[str, float]:
        """The norms of Δw, by slot: where a direction is drawn anew for every λ, a stored point is read once."""
        return {}


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
        """``shrink/<label>/seed=0/draw=2``."""
        return f"shrink/{self.label}/seed={self.seed}{_DRAWN}"

    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Keep Δw's own part along w in the slot; the rest of its norm is noise orthogonal to w."""
        w, g = self.center.tensor(slot).to(normals.device).double(), normals.double()
        square = w.square().sum()
        onto_w = w / square if square > 0 else w  # a tensor of zeros has no direction to shrink along
        if slot.name not in self._parts:
            delta = self.delta.tensor(slot).to(normals.device).double()
            inner = (delta * w).sum()
            across = delta.square().sum() - (inner * onto_w).square().sum()
            self._parts[slot.name] = float(inner), float(across.clamp(min=0).sqrt())
        inner_product, rest = self._parts[slot.name]
        noise = g - (g * w).sum() * onto_w
        shrunk: Tensor = inner_product * onto_w + rest * noise / noise.norm()
        return shrunk.float()

    @cached_property
    def _parts(self) -> dict[str, tuple[float, float]]:
        """⟨Δw, w⟩ and the norm of the rest of Δw, by slot; see ``Profile``."""
        return {}


@dataclass(frozen=True)
class Filter(RandomFamily):
    """Directions with the per-channel norms of w, which undo the scale invariance of ReLU networks."""

    center: Vector
    seed: int = 0

    @property
    def name(self) -> str:
        """``filter/seed=0/draw=2``."""
        return f"filter/seed={self.seed}{_DRAWN}"

    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Scale the noise in each output channel of the slot to the norm of w there."""
        w = self.center.tensor(slot).to(normals.device, torch.float32)
        lengths = torch.linalg.vector_norm(w, dim=slot.input_dim, keepdim=True)
        scaled: Tensor = normals * (lengths / torch.linalg.vector_norm(normals, dim=slot.input_dim, keepdim=True))
        return scaled


@dataclass(frozen=True)
class Layers(RandomFamily):
    """Directions uniform on the unit sphere of some of the tensors."""

    slots: str
    """Selection of the tensors: see ``landscape.positions.selection``."""
    seed: int = 0

    def __post_init__(self) -> None:
        selected(self.slots, self.space)  # raises if it selects none, before any work

    @property
    def name(self) -> str:
        """``layer:<selection>/seed=0/draw=2``."""
        return f"layer:{self.slots}/seed={self.seed}{_DRAWN}"

    def moves(self, slot: Slot) -> bool:
        """Say whether the slot is selected."""
        return selects(self.slots, slot)

    def shaped(self, slot: Slot, normals: Tensor) -> Tensor:
        """Return the noise itself: with all tensors selected it is the sphere's."""
        return normals


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

    def part(self, slot: Slot, index: int, device: torch.device = HOST) -> Tensor:
        """Return the vector in the slot.

        Raises:
            UsageError: for any index but 0.
        """
        if index != 0:
            raise UsageError(f"expected direction 0 along {self.label}, which is the only one, got {index}")
        return self.vector.tensor(slot).to(device, torch.float32)


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
