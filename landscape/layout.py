"""Where a landscape is probed: the centre, rays, points and the segments between them, as plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from landscape.directions import Family
from landscape.paths import CENTER, At, OnRay, on_segment
from landscape.plan import ProbePlan, Window
from landscape.wanted import Wanted

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


def point_plan(labels: Iterable[str], windows: tuple[Window, ...]) -> ProbePlan:
    """The points themselves."""
    return ProbePlan.of([At(label) for label in labels], windows)


def ray_plan(
    family: Family, directions: int, lambdas: Sequence[float], windows: tuple[Window, ...], pairs: bool = False
) -> ProbePlan:
    """Every direction at every distance, direction by direction, so that each is drawn once; ±ê where in pairs."""
    signs = (1, -1) if pairs else (1,)
    positions = (OnRay(family.name, index, s * lam) for index in range(directions) for s in signs for lam in lambdas)
    return ProbePlan.of(positions, windows)


def segment_plan(ends: Iterable[tuple[str, str]], alphas: Sequence[float], windows: tuple[Window, ...]) -> ProbePlan:
    """Every segment at every α."""
    return ProbePlan.of((on_segment(a, b, alpha) for a, b in ends for alpha in alphas), windows)


def segment_alphas(count: int) -> tuple[float, ...]:
    """``count`` positions from end to end, and one beyond each."""
    return (-BEYOND, *(float(a) for a in np.linspace(0, 1, count)), 1 + BEYOND)


def segment_ends(points: Sequence[Wanted]) -> Iterator[tuple[Wanted | None, Wanted]]:
    """W (None) with each point, then the points of each scheme with one another where a pair tells something."""
    for scheme in dict.fromkeys(point.scheme for point in points):
        family = [point for point in points if point.scheme == scheme]
        yield from ((None, point) for point in family)
        yield from ((a, b) for a, b in combinations(family, 2) if {a.method, b.method} in PAIRS)


def segment_labels(points: Sequence[Wanted], labels: dict[Wanted, str]) -> tuple[tuple[str, str], ...]:
    """The labels of the ends of every segment."""
    return tuple((CENTER if a is None else labels[a], labels[b]) for a, b in segment_ends(points))


def nominal_probes(
    points: Sequence[Wanted], new: Sequence[Wanted], rays: int, alphas: int, radial: int, every: int
) -> int:
    """How many probes points that do not exist yet will ask for, and the rays: the forecast's count.

    Args:
        points: All points of the run.
        new: Those that are still to be made.
        rays: Positions on rays that are not known to be cached.
        alphas: Positions per segment, its ends included.
        radial: Windows of the radial splits.
        every: Windows of all splits.
    """
    segments = sum(1 for a, b in segment_ends(points) if a in new or b in new)
    return rays * radial + len(new) * every + segments * (alphas - 2) * radial
