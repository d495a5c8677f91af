"""Names of grids, read back."""

from __future__ import annotations

from itertools import product

import pytest

from quant.errors import UsageError
from quant.float_format import FLOAT_FORMATS
from quant.scheme import QuantScheme, grid_label, read_width, width_bits, width_label, width_name
from quant.slot import Slot

SCALES = ("exact", "histogram", "histogram-torch", "absmax", "mse")


def test_a_scheme_is_read_back_from_the_name_of_its_grid() -> None:
    for bits, scale, unit in product((2, 8), SCALES, ("tensor", "channel", "group:32", "group:128")):
        for symmetric in (True, False) if scale == "absmax" else (True,):
            scheme = QuantScheme(bits, scale, unit, symmetric)  # type: ignore[arg-type]
            assert QuantScheme.of_grid(bits, scheme.grid) == scheme


@pytest.mark.parametrize(("name", "bits", "high"), [("nvfp4", 4, 7), ("mxfp4", 4, 7), ("fp8", 8, 126)])
def test_a_float_format_is_one_name(name: str, bits: int, high: int) -> None:
    scheme = QuantScheme.of_format(name)
    assert (str(scheme), scheme.grid, scheme.bits, scheme.low, scheme.high) == (name, name, bits, -high, high)
    assert QuantScheme.of_grid(bits, name) == QuantScheme(**scheme.record) == scheme
    assert (width_bits(name), width_name(name), width_label(bits, name)) == (bits, name, name)
    assert grid_label(bits, name) == name


def test_the_shapes_of_their_scales() -> None:
    shapes = {name: QuantScheme.of_format(name).scale_shape(Slot("w", (5, 64), False, 0, 0)) for name in FLOAT_FORMATS}
    assert shapes == {"nvfp4": (5, 4), "mxfp4": (5, 2), "fp8": (5, 1)}
    assert QuantScheme.of_format("nvfp4").scale_shape(Slot("w", (64, 5), True, 0, 0)) == (4, 5)


def test_an_integer_grid_is_recorded_as_before_there_were_float_formats() -> None:
    assert QuantScheme(4, "absmax", "group:32").record == {
        "bits": 4, "scale": "absmax", "granularity": "group:32", "symmetric": True,
    }  # fmt: skip
    assert (width_label(4, "exact"), grid_label(4, "exact"), grid_label(4, "exact", " ")) == (
        "int4", "int4-exact", "int4 exact",
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "fp4"}, {"format": "nvfp4", "granularity": "group:32"}, {"format": "nvfp4", "bits": 8},
        {"format": "mxfp4", "scale": "exact"}, {"format": "fp8", "bits": 8, "granularity": "tensor"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_float_format_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match="float format"):
        QuantScheme(**{"bits": 4, "scale": "absmax", "granularity": "group:16"} | wrong)


def test_widths_are_read() -> None:
    assert [read_width(text) for text in ("2", "8", "nvfp4", "fp8")] == [2, 8, "nvfp4", "fp8"]
    for text in ("1", "9", "-4", "4.0", "fp4", "", "²"):
        with pytest.raises(
            UsageError, match="expected bits from 2 to 8, or a float format from nvfp4, mxfp4, fp8, got"
        ):
            read_width(text)


@pytest.mark.parametrize("grid", ["", "exactly", "exact-per-group", "exact-per-channel8", "absmax-per-row", "exact-"])
def test_what_is_no_name_of_a_grid_is_refused(grid: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        QuantScheme.of_grid(4, grid)
