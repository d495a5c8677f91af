from __future__ import annotations

import re

import pytest
import torch

from quant.errors import PointError
from quant.grid import GridTensor, make_grid
from quant.point import PointTensor, WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot

SLOT, SCHEME = Slot("w", (2, 3), False, 0, 0), QuantScheme(3)


def codes(*shape: int) -> GridTensor:
    return GridTensor(torch.zeros(shape, dtype=torch.int8), make_grid(SLOT, SCHEME, torch.ones(1, 1)))


def test_a_grid_tensor_is_handed_out_as_it_is() -> None:
    part = codes(2, 3)
    assert WeightPoint("rtn", SCHEME, {"w": part}).grid_tensor(SLOT) is part


@pytest.mark.parametrize(
    ("parts", "found"),
    [({}, "nothing"), ({"w": torch.zeros(2, 3)}, "floats"), ({"w": codes(3, 2)}, "shape (3, 2)")],
    ids=["none", "floats", "transposed"],
)
def test_a_part_without_codes_is_refused_in_one_line(parts: dict[str, PointTensor], found: str) -> None:
    message = f"expected codes of shape (2, 3) for w in rtn-int3-exact, got {found}; make the point "
    with pytest.raises(PointError, match=re.escape(message)) as raised:
        WeightPoint("rtn", SCHEME, parts).grid_tensor(SLOT)
    assert "\n" not in str(raised.value)
