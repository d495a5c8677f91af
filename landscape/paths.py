"""Positions: coordinates on rays and segments, and the atlas that turns them into weights.

A position is a recipe: small, hashable, and written into the store as the identity of a probe. The atlas knows the
centre, the points and the direction families, and reads the weights at a position one tensor at a time; besides the
centre it holds at most one direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.directions import Direction, Family
from quant.center import Center
from quant.space import Slot, Vector

CENTER = "w"
"""Label of the pretrained weights."""


@dataclass(frozen=True)
class At:
    """A point itself: the centre or a quantized one."""

    label: str
    """``w``, or the label of a point in the atlas."""

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class OnRay:
    """``w + λ ê``."""

    family: str
    """Name of the direction family."""
    index: int
    """Which direction of it."""
    lam: float
    """λ: ℓ2 distance from w; negative for the way along −ê."""

    def __str__(self) -> str:
        return f"ray/{self.family}/index={self.index}/lam={self.lam.hex()}"


@dataclass(frozen=True)
class OnSegment:
    """``(1 − α) a + α b``, in the interior or beyond; the ends are ``At``."""

    a: str
    """Label of the end at α = 0."""
    b: str
    """Label of the end at α = 1."""
    alpha: float

    def __str__(self) -> str:
        return f"segment/{self.a}/{self.b}/alpha={self.alpha.hex()}"


Position = At | OnRay | OnSegment


def on_segment(a: str, b: str, alpha: float) -> Position:
    """The position at α, which is the end itself at 0 and 1: no probe of it is made twice."""
    if alpha in (0.0, 1.0):
        return At(b if alpha else a)
    return OnSegment(a, b, alpha)


@dataclass(frozen=True)
class Ray:
    """The vector ``w + λ ê``."""

    center: Vector
    direction: Vector
    lam: float

    def tensor(self, slot: Slot) -> Tensor:
        """Its part in ``slot``, in float32."""
        w = self.center.tensor(slot).float()
        return torch.add(w, self.direction.tensor(slot).to(w.device), alpha=self.lam)


@dataclass(frozen=True)
class Segment:
    """The vector ``(1 − α) a + α b``: to the bit ``a`` at 0 and ``b`` at 1."""

    a: Vector
    b: Vector
    alpha: float

    def tensor(self, slot: Slot) -> Tensor:
        """Its part in ``slot``, in float32."""
        a = self.a.tensor(slot).float()
        return (1 - self.alpha) * a + self.alpha * self.b.tensor(slot).to(a.device, torch.float32)


class Atlas:
    """Knows the weights at every position of a landscape."""

    def __init__(self, center: Center, points: Mapping[str, Vector], families: Mapping[str, Family]) -> None:
        """Make an atlas.

        Args:
            center: The pretrained weights.
            points: Points by label.
            families: Direction families by name.
        """
        self.center = center
        self._points = {CENTER: center, **points}
        self._families = dict(families)
        self._drawn: tuple[str, int, Direction] | None = None

    def vector(self, position: Position) -> Vector:
        """The weights at a position, to be read tensor by tensor."""
        match position:
            case At(label):
                return self._points[label]
            case OnSegment(a, b, alpha):
                return Segment(self._points[a], self._points[b], alpha)
            case OnRay(family, index, lam):
                return Ray(self.center, self._direction(family, index), lam)

    def _direction(self, family: str, index: int) -> Direction:
        """Draw a direction, once for all λ in a row; the last one is let go before the next is made."""
        if self._drawn is None or self._drawn[:2] != (family, index):
            self._drawn = None
            self._drawn = (family, index, self._families[family].draw(index))
        return self._drawn[2]
