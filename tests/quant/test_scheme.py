"""Names of grids, read back."""

from __future__ import annotations

from itertools import product

import pytest

from quant.errors import UsageError
from quant.scheme import QuantScheme

SCALES = ("exact", "histogram", "histogram-torch", "absmax", "mse")


def test_a_scheme_is_read_back_from_the_name_of_its_grid() -> None:
    for bits, scale, unit in product((2, 8), SCALES, ("tensor", "channel", "group:32", "group:128")):
        for symmetric in (True, False) if scale == "absmax" else (True,):
            scheme = QuantScheme(bits, scale, unit, symmetric)  # type: ignore[arg-type]
            assert QuantScheme.of_grid(bits, scheme.grid) == scheme


@pytest.mark.parametrize("grid", ["", "exactly", "exact-per-group", "exact-per-channel8", "absmax-per-row", "exact-"])
def test_what_is_no_name_of_a_grid_is_refused(grid: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        QuantScheme.of_grid(4, grid)
