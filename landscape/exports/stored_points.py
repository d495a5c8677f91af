"""Read the weights of the points of a run from the store, without its model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from landscape.exports.weights import ModelPoints
from landscape.probing.store import Store
from landscape.session.point_maker import point_label
from landscape.survey.result import StoredPoint, SurveyResult
from quant.errors import PointError
from quant.point import WeightPoint
from quant.space import WeightSpace


def stored_points(
    found: SurveyResult,
    root: Path | None = None,
    again: str = "its command",
    warn: Callable[[str], None] = warnings.warn,
) -> ModelPoints:
    """Find the weights of the points of a run; they are then read from disk one matrix at a time.

    Points of other tools are not among them: their weights are in files of their own.

    Args:
        found: The run.
        root: The cache folder; None for the one that the run used.
        again: Command that makes the points again, for the error.
        warn: Takes one line about a damaged file.

    Raises:
        PointError: if the record does not say where its points are, a point is gone, or another run made it again with
            other weights.
        StoreError: if the store cannot be read.
    """
    if not found.slots:
        raise PointError(f"expected a run that says where its points are, got one of an older version; run {again}")
    space = WeightSpace(found.slots)
    root = Path(found.run.store).parent if root is None else root
    store = Store(root, space.identity(found.subject.fingerprint), found.subject.dtype, warn=warn)
    stored = {point.name: point.stored for point in found.points if point.stored is not None}
    return ModelPoints(space, {name: _find(store, space, name, place, again) for name, place in stored.items()})


def _find(store: Store, space: WeightSpace, name: str, place: StoredPoint, again: str) -> WeightPoint:
    point = store.load_point(place.recipe, space)
    if point is None:
        raise PointError(
            f"expected the point {name} in {store.folder}, found none: it was removed, or the cache is another one; "
            f"name that with --store, or make the point again: {again}"
        )
    if point_label(point, space) != place.label:
        raise PointError(
            f"expected the weights of {name} that this run measured in {store.folder}, found others, which another run "
            f"made since; measure them: {again}"
        )
    return point
