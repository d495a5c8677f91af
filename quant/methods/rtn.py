"""Round to nearest: ``w_RTN = Q(w)`` (Xu et al. 2024, §3.2)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from quant.grid import GridTensor
from quant.point import WeightPoint
from quant.scale import find_grid
from quant.scheme import QuantScheme
from quant.space import Slot, Vector, WeightSpace
from quant.versions import library_versions


def rtn(space: WeightSpace, center: Vector, scheme: QuantScheme) -> WeightPoint:
    """Round ``w`` to the nearest point of the grid. GPTQ and QAFT of the same scheme use its grids.

    Args:
        space: The weight space.
        center: The pretrained weights ``w``.
        scheme: Bit width, granularity and scale search.

    Raises:
        PointError: if a weight is not finite.
        UsageError: if the groups of a float format do not fit a matrix.
    """
    scheme.check_fits(space)

    def part(slot: Slot) -> GridTensor:
        weight = center.tensor(slot).float()
        return find_grid(slot, weight, scheme).quantize(weight)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # numpy's sort and search release the GIL
        parts = dict(zip((s.name for s in space), pool.map(part, space), strict=True))
    record = {"method": "rtn", "scheme": str(scheme), "versions": library_versions()}
    return WeightPoint("rtn", scheme, parts, record)
