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
"""Distance in α by which segments are followed beyond their ends."""
REFINED = 0.25
"""Share of the refinements allowed that a segment takes on average. Straight ones take none, those with a ridge all: on
opt-nano at five bit widths and two scales, 2.6 of 11."""


def segment_plan(
    alphas: Mapping[tuple[str, str], Sequence[float]], windows: tuple[Window, ...], fidelity: bool = False
) -> ProbePlan:
    """Plan every segment at its own α, given by the labels of its ends."""
    positions = (on_segment(*ends, alpha) for ends, each in alphas.items() for alpha in each)
    return ProbePlan.of(positions, windows, fidelity)


def plane_plan(a: str, b: str, lattice: PlaneLattice, windows: tuple[Window, ...]) -> ProbePlan:
    """Plan the plane through w and two points, given by their labels, row by row."""
    return ProbePlan.of((on_plane(a, b, s, t) for s, t in lattice.affine.reshape(-1, 2).tolist()), windows)


def segment_alphas(count: int) -> tuple[float, ...]:
    """Return the first α of every segment: ``count`` from end to end, and one beyond each end."""
    return (-BEYOND, *(float(a) for a in np.linspace(0, 1, count)), 1 + BEYOND)


def segment_ends(points: Sequence[AnySpec]) -> Iterator[tuple[AnySpec | None, AnySpec]]:
    """Yield (None, point) for each point, where None is w, then the pairs whose methods are joined, grid by grid."""
    for scheme in dict.fromkeys(point.scheme for point in points):
        on_grid = [point for point in points if point.scheme == scheme]
        yield from ((None, point) for point in on_grid)
        yield from ((a, b) for a, b in combinations(on_grid, 2) if _joined(a, b))


def _joined(a: AnySpec, b: AnySpec) -> bool:
    """Return whether the table of methods joins the methods of two points by a segment."""
    if isinstance(a, ExternalSpec) or isinstance(b, ExternalSpec):
        return False
    return a.method in METHODS[b.method].joined or b.method in METHODS[a.method].joined


def segment_labels(points: Sequence[AnySpec], labels: dict[AnySpec, str]) -> tuple[tuple[str, str], ...]:
    """Return the labels of the ends of every segment."""
    return tuple((CENTER if a is None else labels[a], labels[b]) for a, b in segment_ends(points))


def nominal_probes(
    points: Sequence[AnySpec],
    new: Sequence[AnySpec],
    n_rays: int,
    n_alphas: int,
    n_refinements: int,
    n_radial_windows: int,
    n_windows: int,
) -> int:
    """Count the probes that new points and rays will need, for the forecast.

    Points with equal weights share their probes, so that there can be fewer; how many of the refinements are made is
    known when the losses are.

    Args:
        points: All points of the run.
        new: Points still to be made.
        n_rays: Number of positions on rays that are not known to be cached.
        n_alphas: Number of positions per segment at first, its two ends included.
        n_refinements: Number of positions that may be added to each segment.
        n_radial_windows: Number of windows of the radial splits.
        n_windows: Number of windows of all splits.
    """
    segments = sum(1 for a, b in segment_ends(points) if a in new or b in new)
    along = segments * positions_along(n_alphas, n_refinements)
    return round((n_rays + along) * n_radial_windows) + len(new) * n_windows


def positions_along(n_alphas: int, n_refinements: int) -> float:
    """Return how many positions of their own segments have on average, for the forecast: their ends are points."""
    return len(segment_alphas(n_alphas)) - 2 + REFINED * n_refinements
