"""Write the codes and scales of points into an HDF5 group, one matrix at a time.

    <k>/                name, method and scheme as attributes; k counts the points of the result from 0
        <matrix>/codes      int8, in the stored shape of the matrix
        <matrix>/scale      float32; (1, 1) for the matrix, else one for each output, or output and group of inputs
        <matrix>/zero       float32, in the shape of scale; only on an asymmetric grid
        <matrix>/levels     float32; only of a float format: magnitudes of the codes 0, 1, 2, …
        <matrix>/weights    float32; in place of the others for a point that is on no grid

A weight is ``(code − zero) × scale``, the scale of its output, and of its group of ``group`` neighbouring inputs if
that is above 0. In a float format it is ``sign of code × levels[|code|] × scale``. ``input_axis`` is the axis of the
inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from landscape.exports.hdf5_file import Group, write_array, write_attributes
from landscape.survey.result import SurveyResult
from quant.errors import PointError
from quant.grid import GridTensor
from quant.point import PointTensor, WeightPoint
from quant.space import Slot, WeightSpace


@dataclass(frozen=True, eq=False)
class ModelPoints:
    """The weights of points of one model."""

    space: WeightSpace
    points: Mapping[str, WeightPoint]
    """By the names of the points in the result; may be read lazily from a store."""


def write_points(group: Group, found: SurveyResult, weights: ModelPoints) -> None:
    """Write points under their place in the result.

    Raises:
        PointError: if the result lacks one of them, or one does not fit the space.
    """
    places = {point.name: index for index, point in enumerate(found.points)}
    for name, point in weights.points.items():
        if name not in places:
            raise PointError(f"expected points of the result ({', '.join(places)}), got {name}")
        written = group.create_group(str(places[name]))
        scheme = str(point.scheme or "on no grid")
        write_attributes(written, {"name": name, "method": point.method, "scheme": scheme})
        for slot in weights.space:
            if slot.name not in point.parts:
                raise PointError(f"point {name} has no weights for {slot.name}; was it made for another model?")
            _write_part(written.create_group(slot.name), slot, point.parts[slot.name])


def _write_part(group: Group, slot: Slot, part: PointTensor) -> None:
    write_attributes(group, {"input_axis": slot.input_dim})
    if not isinstance(part, GridTensor):
        values = part.detach().cpu().float().numpy()
        write_array(group, "weights", values, "", "Weights, in the stored shape of the matrix.")
        return
    grid = part.grid
    write_attributes(group, {"low": grid.low, "high": grid.high, "group": grid.group or 0})
    codes = part.codes.detach().cpu().numpy().astype(np.int8, copy=False)
    meaning = "(code - zero) * scale" if grid.codebook is None else "sign(code) * levels[abs(code)] * scale"
    write_array(group, "codes", codes, "", f"Codes; a weight is {meaning}.")
    if grid.codebook is not None:
        levels = np.array(grid.codebook.magnitudes, np.float32)
        write_array(group, "levels", levels, "", "Magnitudes of the codes 0, 1, 2, ...")
    write_array(group, "scale", grid.scale.detach().cpu().numpy(), "", "Scales, by output and group of inputs.")
    if grid.zero is not None:
        write_array(group, "zero", grid.zero.detach().cpu().numpy(), "", "Codes that stand for 0.")
