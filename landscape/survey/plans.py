"""Plan the segments and planes of a survey."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from landscape.positions.position import CENTER, on_plane, on_segment
from landscape.probing.plan import ProbePlan, Window
from landscape.session.point_specs import AnySpec, PointSpec
from landscape.survey.plane import PlaneLattice

BEYOND = 0.1
"""How far segments are followed beyond their ends, in α."""
PAIRS: tuple[set[str], ...] = (
    {"rtn", "gptq"},
    {"rtn", "qaft"},
    {"gptq", "qaft"},
    {"gptq", "qaft-from-gptq"},
    {"qaft", "qaft-from-gptq"},
)
"""Methods whose points are joined: the paper's three, and whether QAFT comes back from GPTQ to its basin."""


def segment_plan(alphas: Mapping[tuple[str, str], Sequence[float]], windows: tuple[Window, ...]) -> ProbePlan:
    """Every segment, by the labels of its ends, at each of its own α."""
    return ProbePlan.of((on_segment(*ends, alpha) for ends, own in alphas.items() for alpha in own), windows)


def plane_plan(a: str, b: str, lattice: PlaneLattice, windows: tuple[Window, ...]) -> ProbePlan:
    """The plane through w and two points, by their labels, row by row."""
    return ProbePlan.of((on_plane(a, b, s, t) for s, t in lattice.affine.reshape(-1, 2).tolist()), windows)


def plane_points(points: Iterable[AnySpec]) -> list[tuple[PointSpec, PointSpec]]:
    """GPTQ and QAFT of each grid that has both: with w they span a plane."""
    made = {(p.method, p.scheme): p for p in points if isinstance(p, PointSpec)}
    return [
        (p, made["qaft", scheme])
        for (method, scheme), p in made.items()
        if method == "gptq" and ("qaft", scheme) in made
    ]


def segment_alphas(count: int) -> tuple[float, ...]:
    """``count`` positions from end to end, and one beyond each: where every segment is probed first."""
    return (-BEYOND, *(float(a) for a in np.linspace(0, 1, count)), 1 + BEYOND)


def segment_ends(points: Sequence[AnySpec]) -> Iterator[tuple[AnySpec | None, AnySpec]]:
    """W (None) with each point, then the points of each scheme with one another where a pair tells something."""
    for scheme in dict.fromkeys(point.scheme for point in points):
        family = [point for point in points if point.scheme == scheme]
        yield from ((None, point) for point in family)
        yield from ((a, b) for a, b in combinations(family, 2) if {a.method, b.method} in PAIRS)


def segment_labels(points: Sequence[AnySpec], labels: dict[AnySpec, str]) -> tuple[tuple[str, str], ...]:
    """The labels of the ends of every segment."""
    return tuple((CENTER if a is None else labels[a], labels[b]) for a, b in segment_ends(points))


def nominal_probes(
    points: Sequence[AnySpec], new: Sequence[AnySpec], rays: int, alphas: int, refinements: int, radial: int, every: int
) -> int:
    """How many probes points that do not exist yet will ask for, and the rays: the forecast's count.

    As many as there may be: points that turn out to be the same share theirs, and segments without a bend take fewer.

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
