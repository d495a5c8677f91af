"""Report what a quantized point does to the weights, and how to load it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from landscape.formatting import data_size, number
from landscape.report.values import JSON_VERSION, finite_or_none, size_json
from landscape.session.expert_tokens import ExpertTokens
from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint
from quant.grid import GridTensor
from quant.point import WeightPoint
from quant.size import ModelSize, model_size
from quant.space import distance, norm
from quant.statistics import GridStatistics, grid_statistics, reference_scale, total


def point_json(checkpoint: Checkpoint, point: WeightPoint, folder: Path) -> dict[str, Any]:
    """Return the JSON object of ``landscape quantize``.

    ``{schema_version, model, point, distance, norm, rounding: {over_optimum, reference, zero_fraction,
    clipped_fraction}, experts: {matrices, few, none}, size: {space_bits, model_bits, bytes}, export}``; distance is
    ‖Δw‖ and norm ‖w‖; over_optimum is the squared error of the weights in units of that of rounding at the scale named
    by reference (exact, or mse for channels and groups; both are null for a float format, whose scales are given);
    rounding is null for a point off the grid (AWQ); experts and
    size as in ``landscape probe``.

    Args:
        checkpoint: The model, its weights restored.
        point: The quantized weights.
        folder: Where they were written.
    """
    center = Center.of(checkpoint.model, checkpoint.space)
    grid, experts = _rounding(checkpoint, center, point), ExpertTokens.of(point.provenance)
    return {
        "schema_version": JSON_VERSION,
        "model": checkpoint.name,
        "point": point.name,
        "distance": distance(checkpoint.space, center, point),
        "norm": norm(checkpoint.space, center),
        "rounding": None
        if grid is None
        else {
            "over_optimum": finite_or_none(grid.over_optimum),
            "reference": _reference(point),
            "zero_fraction": grid.zero_fraction,
            "clipped_fraction": grid.clipped_fraction,
        },
        "experts": None if experts is None else asdict(experts),
        "size": size_json(_size(checkpoint, point)),
        "export": str(folder),
    }


def point_lines(checkpoint: Checkpoint, point: WeightPoint, folder: Path) -> list[str]:
    """Report ‖Δw‖, the rounding error, and the line of Python that loads the point; see ``point_json``."""
    center = Center.of(checkpoint.model, checkpoint.space)
    away, length = distance(checkpoint.space, center, point), norm(checkpoint.space, center)
    lines = [f"{point.name} of {checkpoint.name}: ‖Δw‖ = {away:.4g} = {away / length:.4f} ‖w‖"]
    if (grid := _rounding(checkpoint, center, point)) is not None:
        reference = _reference(point)
        compared = (
            f"squared error of the weights {grid.over_optimum:.3g} times that of rounding at the {reference} scale, "
            if reference
            else ""  # a float format has no other scale to compare with
        )
        lines.append(f"{compared}zeros {grid.zero_fraction:.2%}, clipped {grid.clipped_fraction:.2g}")
    size, experts = _size(checkpoint, point), ExpertTokens.of(point.provenance)
    lines.append(
        f"{number(size.space_bits, 3)} bits per weight with scales; the whole model at 16 bits a weight elsewhere: "
        f"{number(size.model_bits, 3)} bits per parameter, {data_size(size.bytes)}"
    )
    lines += [experts.sentence] if experts else []
    return [*lines, f'AutoModelForCausalLM.from_pretrained("{folder}", dtype="float32")']


def _size(checkpoint: Checkpoint, point: WeightPoint) -> ModelSize:
    return model_size(checkpoint.model, checkpoint.space, point.scheme)


def _reference(point: WeightPoint) -> str | None:
    assert point.scheme is not None  # it is on a grid
    return reference_scale(point.scheme)


def _rounding(checkpoint: Checkpoint, center: Center, point: WeightPoint) -> GridStatistics | None:
    """Return what rounding does to the weights; None for a point that leaves the grid, as AWQ's does."""
    if not all(isinstance(part, GridTensor) for part in point.parts.values()):
        return None
    return total(grid_statistics(checkpoint.space, center, point).values())
