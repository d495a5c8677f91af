"""Report what a quantized point does to the weights, and how to load it."""

from __future__ import annotations

from pathlib import Path

from landscape.session.expert_tokens import ExpertTokens
from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint
from quant.grid import GridTensor
from quant.point import WeightPoint
from quant.space import distance, norm
from quant.statistics import grid_statistics, total


def point_lines(checkpoint: Checkpoint, point: WeightPoint, folder: Path) -> list[str]:
    """Report ‖Δw‖, the rounding error, and the line of Python that loads the point.

    Args:
        checkpoint: The model, its weights restored.
        point: The quantized weights.
        folder: Where they were written.
    """
    center = Center.of(checkpoint.model, checkpoint.space)
    away, length = distance(checkpoint.space, center, point), norm(checkpoint.space, center)
    lines = [f"{point.name} of {checkpoint.name}: ‖Δw‖ = {away:.4g} = {away / length:.4f} ‖w‖"]
    if all(isinstance(part, GridTensor) for part in point.parts.values()):  # AWQ leaves the grid
        grid = total(grid_statistics(checkpoint.space, center, point).values())
        lines.append(
            f"squared error of the weights {grid.over_optimum:.3g} times that of rounding at the exact scale, "
            f"zeros {grid.zero_fraction:.2%}, clipped {grid.clipped_fraction:.2g}"
        )
    experts = ExpertTokens.of(point.provenance)
    lines += [experts.sentence] if experts else []
    return [*lines, f'AutoModelForCausalLM.from_pretrained("{folder}", dtype="float32")']
