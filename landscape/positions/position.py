"""Name positions: coordinates on rays, segments and planes, and parts of points.

A position is a recipe: small, hashable, and written into the store as the identity of a probe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from landscape.positions.directions import moved_tensors
from landscape.positions.parts import PARTS, Part
from landscape.positions.selection import ALL_TENSORS, selected
from quant.space import WeightSpace

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


@dataclass(frozen=True)
class OnPlane:
    """``w + s (a − w) + t (b − w)``; the three points themselves are ``At``."""

    a: str
    """Label of the point at s = 1, t = 0."""
    b: str
    """Label of the point at s = 0, t = 1."""
    s: float
    t: float

    def __str__(self) -> str:
        return f"plane/{self.a}/{self.b}/s={self.s.hex()}/t={self.t.hex()}"


@dataclass(frozen=True)
class OnParts:
    """Some tensors at ``w`` plus parts of a point's Δw, all others at w or at the point."""

    point: str
    """Label of the point."""
    parts: tuple[Part, ...]
    """Parts of its Δw, in the order of ``landscape.positions.parts.PARTS``; all of them for the point, none for
    ``w``."""
    slots: str
    """Selection of the tensors: see ``landscape.positions.selection``."""
    rest: str
    """Label of the vector that the other tensors are taken from: ``w``, or the point again."""

    def __str__(self) -> str:
        parts = "+".join(self.parts) or "none"
        return f"parts/{self.point}/{parts}/slots={self.slots}/rest={self.rest}"


Position = At | OnRay | OnSegment | OnPlane | OnParts


def on_segment(a: str, b: str, alpha: float) -> Position:
    """Name the position at α, which is the end itself at 0 and 1: no probe of it is made twice."""
    if alpha in (0.0, 1.0):
        return At(b if alpha else a)
    return OnSegment(a, b, alpha)


def on_plane(a: str, b: str, s: float, t: float) -> Position:
    """Name the position at (s, t), which is one of the three points at (0, 0), (1, 0) and (0, 1)."""
    corners = {(0.0, 0.0): CENTER, (1.0, 0.0): a, (0.0, 1.0): b}
    return At(corners[s, t]) if (s, t) in corners else OnPlane(a, b, s, t)


def with_parts(point: str, parts: Iterable[Part] = PARTS, slots: str = ALL_TENSORS) -> Position:
    """Name ``w`` plus these parts of a point's Δw, in these tensors alone."""
    return _on_parts(point, frozenset(parts), slots, CENTER)


def without_parts(point: str, parts: Iterable[Part] = PARTS, slots: str = ALL_TENSORS) -> Position:
    """Name a point with these parts of its Δw undone, in these tensors."""
    return _on_parts(point, frozenset(PARTS) - frozenset(parts), slots, point)


def _on_parts(point: str, kept: frozenset[Part], slots: str, rest: str) -> Position:
    """Name the position, the point or w itself where all or nothing of Δw is kept: no probe is made twice."""
    if slots == ALL_TENSORS and len(kept) in (0, len(PARTS)):
        return At(point if kept else CENTER)
    return OnParts(point, tuple(part for part in PARTS if part in kept), slots, rest)


def common_blocks(space: WeightSpace, position: Position) -> tuple[str, int]:
    """Find the first blocks in which a position has the weights of a label, to the bit.

    Returns:
        The label, and the number of these blocks.

    Raises:
        UsageError: if a selection selects nothing.
    """
    match position:
        case OnParts(slots=slots, rest=rest):
            return rest, min(slot.block for slot in selected(slots, space))
        case At(label):
            return label, 0
        case OnRay(family=family) if moved := moved_tensors(family):
            return CENTER, min(slot.block for slot in selected(moved, space))
        case _:
            return CENTER, 0
