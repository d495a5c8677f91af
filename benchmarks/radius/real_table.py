"""Evaluate a table of losses of a real model, from which `resample.py` draws searches.

    python -m benchmarks.radius.real_table --model opt-nano
    python -m benchmarks.radius.real_table --model path/to/gpt-neox --data path/to/wikitext-2 --windows 64

A search of `landscape radius` finds R first. Then all directions are evaluated on all windows at the steps of the grid
next to R, and a few directions at the other steps that a search can visit. Every loss goes through the cache
(`--work`), so that an interrupted run resumes, and one with more windows or steps evaluates only what is new. The table
is kept in ``benchmarks/radius/tables``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.radius.loss_table import HERE, Array, LossTable, step_of
from landscape.estimators.radius_search import START, STRIDE, grid
from landscape.positions.directions import Sphere
from landscape.probing.losses import RadialLosses
from landscape.radius import RadiusRequest, search_radius
from landscape.session.session import Session

DIRECTIONS = 64
STANDING_IN = 2  # directions at the distances where all lie on one side of the level
TOGETHER = 8  # directions between two reports


def near(radius: float, steps: int) -> list[int]:
    """List the grid indices with all directions: so many steps on either side of the two around R.

    Args:
        radius: R on the grid: its index, were it a distance of the grid.
        steps: Number of further steps on either side.
    """
    upper = math.ceil(radius)
    return list(range(upper - 1 - steps, upper + steps + 1))


def far(first: int, last: int) -> list[int]:
    """List the other grid indices that a search can visit: the pilot's strides, and the way back from the last one.

    Args:
        first: Lowest grid index with all directions.
        last: Highest grid index with all directions.
    """
    low = min(START, STRIDE * math.floor(first / STRIDE))
    high = max(START, STRIDE * math.ceil(last / STRIDE))
    visited = {*range(low, high + 1, STRIDE), *range(last + 1, STRIDE * math.ceil(last / STRIDE) + 1)}
    return sorted(visited - set(range(first, last + 1)))


def collect(session: Session, known: Mapping[int, Array], windows: int) -> LossTable:
    """Assemble a table from the NLL sums (n_d, n_w) known at each grid index."""
    some, indices = session.windows[:windows], sorted(known)
    totals = np.full((DIRECTIONS, len(indices), windows), np.nan, np.float32)
    for at, index in enumerate(indices):
        totals[: len(known[index]), at] = known[index]
    losses = session.radial(Sphere(session.subject.space, session.request.seed), some)
    center, tokens = losses.center(windows)
    articles = losses.blocks(windows)
    return LossTable(
        norm=session.subject.norm,
        chance=session.subject.chance,
        tokens=tokens,
        center=center,
        articles=np.arange(windows) if articles is None else articles,
        indices=np.array(indices),
        counts=np.array([len(known[index]) for index in indices]),
        totals=totals,
    )


def evaluate(losses: RadialLosses, norm: float, indices: list[int], size: tuple[int, int]) -> dict[int, Array]:
    """Evaluate the first directions at some distances, and report on the way.

    Args:
        losses: The losses along the directions.
        norm: ‖w‖, the unit of the grid.
        indices: Grid indices of the distances.
        size: Numbers of directions and windows.

    Returns:
        The NLL sums (n_d, n_w) at each grid index.
    """
    (directions, windows), lambdas = size, [grid(index, norm) for index in indices]
    for some in range(min(TOGETHER, directions), directions, TOGETHER):
        losses.totals(some, lambdas, windows)
        print(f"  steps {indices}: {some} of {directions} directions", flush=True)
    totals = losses.totals(directions, lambdas, windows)
    return {index: totals[:, at] for at, index in enumerate(indices)}


def measure(session: Session, most: int, steps: int) -> LossTable:
    """Find R, and evaluate a table around it."""
    norm, windows = session.subject.norm, min(most, len(session.windows))
    losses = session.radial(Sphere(session.subject.space, session.request.seed))
    found = search_radius(session, losses, 0.05).radius.value
    if found is None:
        raise SystemExit("expected a model whose R is reached, got a censored one")
    at = step_of(found, norm)
    print(f"R = {found:.4g} = {found / norm:.4f} ‖w‖, at step {at:.2f} of the grid", flush=True)
    inner = near(at, steps)
    outer = evaluate(losses, norm, far(min(inner), max(inner)), (STANDING_IN, windows))
    return collect(session, outer | evaluate(losses, norm, inner, (DIRECTIONS, windows)), windows)


def main() -> None:
    """Evaluate the distances that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="opt-nano")
    parser.add_argument("--data", help="corpus (default: that of `landscape radius`)")
    parser.add_argument("--seed", type=int, default=0, help="of directions and windows")
    parser.add_argument("--windows", type=int, default=64, help="most windows (default: 64)")
    parser.add_argument(
        "--steps", type=int, default=1, help="steps of the grid on either side of the two around R (default: 1)"
    )
    parser.add_argument("--work", type=Path, help="cache folder (default: the user's)")
    options = parser.parse_args()
    request = RadiusRequest(options.model, options.data, seed=options.seed, store=options.work)
    with Session.open(request) as session:
        measure(session, options.windows, options.steps).save(HERE / "tables" / f"{Path(options.model).name}.npz")
        session.store.compact()


if __name__ == "__main__":
    main()
