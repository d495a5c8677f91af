"""Plan the segments and planes of a survey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from landscape.positions.position import CENTER, on_plane, on_segment
from landscape.probing.plan import ProbePlan, Window
from landscape.session.point_methods import METHODS
from landscape.session.point_specs import AnySpec, ExternalSpec
from landscape.survey.plane import PlaneLattice

BEYOND = 0.1
"""How far segments are followed beyond their ends, in α."""


def segment_plan(alphas: Mapping[tuple[str, str], Sequence[float]], windows: tuple[Window, ...]) -> ProbePlan:
    """Plan every segment, by the labels of its ends, at each of its own α."""
    return ProbePlan.of((on_segment(*ends, alpha) for ends, own in alphas.items() for alpha in own), windows)


def plane_plan(a: str, b: str, lattice: PlaneLattice, windows: tuple[Window, ...]) -> ProbePlan:
    """Plan the plane through w and two points, by their labels, row by row."""
    return ProbePlan.of((on_plane(a, b, s, t) for s, t in lattice.affine.reshape(-1, 2).tolist()), windows)


def segment_alphas(count: int) -> tuple[float, ...]:
    """Return ``count`` positions from end to end, and one beyond each: where every segment is probed first."""
    return (-BEYOND, *(float(a) for a in np.linspace(0, 1, count)), 1 + BEYOND)


def segment_ends(points: Sequence[AnySpec]) -> Iterator[tuple[AnySpec | None, AnySpec]]:
    """Yield w (None) with each point, then the pairs of points of each scheme whose methods are joined."""
    for scheme in dict.fromkeys(point.scheme for point in points):
        family = [point for point in points if point.scheme == scheme]
        yield from ((None, point) for point in family)
        yield from ((a, b) for a, b in combinations(family, 2) if _joined(a, b))


def _joined(a: AnySpec, b: AnySpec) -> bool:
    """Return whether a segment between two points of one grid is worth drawing: their methods' rows say so."""
    if isinstance(a, ExternalSpec) or isinstance(b, ExternalSpec):
        return False
    return a.method in METHODS[b.method].joined or b.method in METHODS[a.method].joined


def segment_labels(points: Sequence[AnySpec], labels: dict[AnySpec, str]) -> tuple[tuple[str, str], ...]:
    """Return the labels of the ends of every segment."""
    return tuple((CENTER if a is None else labels[a], labels[b]) for a, b in segment_ends(points))


def nominal_probes(
    points: Sequence[AnySpec], new: Sequence[AnySpec], rays: int, alphas: int, refinements: int, radial: int, every: int
) -> int:
    """Count the probes that new points and the rays will ask for, for the forecast.

    The count is an upper bound: points that turn out to be the same share theirs, and segments without a bend take
    fewer.

    Args:
        points: All points of the run.
        new: Those that are still to be made.
        rays: Positions on rays that are not known to be cached.
        alphas: Positions per segment at first, its two ends included.
        refinements: Positions that may be added to each.
        radial: Windows of the radial splits.
        every: Windows of all splits.
    """
    segments = sum(1 for a, b in segment_ends(points) if a in new or b in new)
    own = len(segment_alphas(alphas)) - 2 + refinements  # the two ends are points
    return rays * radial + len(new) * every + segments * own * radial
