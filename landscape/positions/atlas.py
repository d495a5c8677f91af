"""Turn positions into weights: the vectors at them, read one tensor at a time.

The atlas knows the centre, the points and the direction families. Besides the centre at most one direction is in
memory, which several atlases can share; the next one can be drawn while the model evaluates.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.positions.direction import Direction
from landscape.positions.directions import Family
from landscape.positions.drawing import HeldDirection
from landscape.positions.parts import PARTS, Part, decompose
from landscape.positions.position import CENTER, At, OnParts, OnPlane, OnRay, OnSegment, Position
from landscape.positions.selection import selects
from quant.center import Center
from quant.space import Slot, Vector


@dataclass(frozen=True)
class Ray:
    """The vector ``w + λ ê``."""

    center: Vector
    direction: Vector
    lam: float

    def tensor(self, slot: Slot) -> Tensor:
        """Compute its part in ``slot``, in float32."""
        w = self.center.tensor(slot).float()
        if isinstance(self.direction, Direction):  # its factor and λ in one pass over the tensor
            return torch.add(w, self.direction.raw(slot).to(w.device), alpha=self.lam * self.direction.factor)
        return torch.add(w, self.direction.tensor(slot).to(w.device), alpha=self.lam)


@dataclass(frozen=True)
class Segment:
    """The vector ``(1 − α) a + α b``: to the bit ``a`` at 0 and ``b`` at 1."""

    a: Vector
    b: Vector
    alpha: float

    def tensor(self, slot: Slot) -> Tensor:
        """Compute its part in ``slot``, in float32."""
        a = self.a.tensor(slot).float()
        return (1 - self.alpha) * a + self.alpha * self.b.tensor(slot).to(a.device, torch.float32)


@dataclass(frozen=True)
class Plane:
    """The vector ``(1 − s − t) w + s a + t b``: to the bit w at (0, 0), ``a`` at (1, 0) and ``b`` at (0, 1)."""

    center: Vector
    a: Vector
    b: Vector
    s: float
    t: float

    def tensor(self, slot: Slot) -> Tensor:
        """Compute its part in ``slot``, in float32."""
        w = self.center.tensor(slot).float()
        a, b = (vector.tensor(slot).to(w.device, torch.float32) for vector in (self.a, self.b))
        return (1 - self.s - self.t) * w + self.s * a + self.t * b


@dataclass(frozen=True)
class Patchwork:
    """The vector ``w + parts of Δw`` in some tensors and another vector in the others, both to the bit."""

    center: Vector
    point: Vector
    parts: tuple[Part, ...]
    slots: str
    rest: Vector

    def tensor(self, slot: Slot) -> Tensor:
        """Return its part in ``slot``, to the bit."""
        if not selects(self.slots, slot):
            return self.rest.tensor(slot)
        if len(self.parts) in (0, len(PARTS)):  # needs no grid: any point can be taken tensor by tensor
            return (self.point if self.parts else self.center).tensor(slot)
        return decompose(slot, self.center, self.point).with_parts(self.parts)


class Atlas:
    """The weights at every position of a landscape."""

    def __init__(
        self,
        center: Center,
        points: Mapping[str, Vector],
        families: Mapping[str, Family],
        held: HeldDirection | None = None,
    ) -> None:
        """Make an atlas.

        Args:
            center: The pretrained weights.
            points: Points by label.
            families: Direction families by name.
            held: The direction in memory, to share it with other atlases of the same centre; None for one of its own.
        """
        self.center = center
        self._points = {CENTER: center, **points}
        self._families = dict(families)
        self._held = held or HeldDirection()

    @property
    def points(self) -> Mapping[str, Vector]:
        """Points by label, the centre included."""
        return self._points

    @property
    def families(self) -> Mapping[str, Family]:
        """Direction families by name."""
        return self._families

    def vector(self, position: Position) -> Vector:
        """Return the weights at a position, to be read tensor by tensor."""
        match position:
            case At(label):
                return self._points[label]
            case OnSegment(a, b, alpha):
                return Segment(self._points[a], self._points[b], alpha)
            case OnPlane(a, b, s, t):
                return Plane(self.center, self._points[a], self._points[b], s, t)
            case OnParts(point, parts, slots, rest):
                return Patchwork(self.center, self._points[point], parts, slots, self._points[rest])
            case OnRay(family, index, lam):
                return Ray(self.center, self._held.get(self._families[family], index, self.center), lam)

    def expect(self, position: Position | None) -> None:
        """Prepare for the position that comes next, once nothing is read at the last one any more.

        If it lies along another direction, the one held is released and this one is drawn in the background where cores
        are idle; only inside ``drawing_ahead``. The numbers do not depend on it.
        """
        if isinstance(position, OnRay) and position.family in self._families:
            self._held.expect(self._families[position.family], position.index, self.center)

    def drawing_ahead(self) -> AbstractContextManager[None]:
        """Return the context in which ``expect`` may draw: no thread outlives it."""
        return self._held.drawing_ahead()
