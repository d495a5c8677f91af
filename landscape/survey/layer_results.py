"""Measure the change of each matrix of a point."""

from __future__ import annotations

from collections.abc import Mapping

from landscape.positions.selection import matrix_type
from landscape.survey.layers import LayerResult
from quant.point import WeightPoint
from quant.space import Slot, Vector, WeightSpace
from quant.statistics import grid_counts


def layer_results(
    space: WeightSpace, center: Vector, point: WeightPoint, errors: Mapping[str, Mapping[str, float]]
) -> tuple[LayerResult, ...]:
    """Measure every matrix of a point, in flat order, one after the other.

    Args:
        space: The weight space.
        center: The pretrained weights ``w``.
        point: The point.
        errors: Layer-wise errors by matrix and split, as far as they are known.
    """
    return tuple(_layer(slot, center, point, errors.get(slot.name, {})) for slot in space)


def _layer(slot: Slot, center: Vector, point: WeightPoint, error: Mapping[str, float]) -> LayerResult:
    weight = center.tensor(slot).float()
    delta = point.tensor(slot).to(weight.device).float() - weight
    zeros, clipped = (None, None)
    if point.scheme is not None:
        zeros, clipped = (n / slot.size for n in grid_counts(point.grid_tensor(slot).to(weight.device), weight))
    return LayerResult(
        name=slot.name,
        block=slot.block,
        kind=matrix_type(slot),
        weights=slot.size,
        norm=float(weight.double().norm()),
        distance=float(delta.double().norm()),
        zeros=zeros,
        clipped=clipped,
        damping=_damping(point, slot),
        error=dict(error),
    )


def _damping(point: WeightPoint, slot: Slot) -> float | None:
    """Return the damping that made the codes of a matrix, from the provenance of GPTQ."""
    if point.provenance.get("method") != "gptq":
        return None
    record = point.provenance["layers"][slot.name]
    return record["damping"] if record["chosen"] == "gptq" else None
