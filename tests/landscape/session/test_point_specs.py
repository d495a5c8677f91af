"""Check which points widths and methods ask for, integer grids and float formats together."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from landscape.anatomy.request import AnatomyRequest
from landscape.quantize import QuantizeRequest
from landscape.session.forecast import forecast_of
from landscape.session.point_methods import METHODS
from landscape.session.point_specs import FreeSpec, PointSpec, free_specs, point_specs
from landscape.session.presets import PRESETS
from quant.errors import UsageError
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace


def test_scales_and_granularities_multiply_integer_grids_alone() -> None:
    specs = point_specs(("rtn",), (4, "nvfp4"), ("exact", "absmax"), ("tensor", "channel"))
    assert [spec.name for spec in specs] == [
        "rtn-int4-exact", "rtn-nvfp4", "rtn-int4-exact-per-channel", "rtn-int4-absmax", "rtn-int4-absmax-per-channel",
    ]  # fmt: skip
    assert [spec.width for spec in point_specs(("rtn",), ("fp8", "mxfp4"), ("exact",))] == [8, 4]


@pytest.mark.parametrize("form", ["nvfp4", "mxfp4", "fp8"])
def test_methods_make_float_formats_or_refuse_them(form: str) -> None:
    able = {"rtn", "gptq", "qaft", "qaft-from-gptq"} | ({"qaft-lsq"} if form == "fp8" else set())
    for name in (name for name, row in METHODS.items() if row.needs_grid):
        if name in able:
            assert PointSpec(name, QuantScheme.of_format(form)).name == f"{name}-{form}"
        else:
            with pytest.raises(UsageError, match=f"for {form}, got {name}; run {name} apart"):
                PointSpec(name, QuantScheme.of_format(form))


def test_the_control_of_a_float_format_is_that_of_its_bits() -> None:
    specs = free_specs(("qaft",), (8, 4, "nvfp4", "fp8"), PRESETS["quick"])  # whose rates at 8 bits are others
    assert {spec.name: spec.bits for spec in specs} == {"w_ft-int8-fp8": {8}, "w_ft-int4-nvfp4": {4}}
    assert FreeSpec("w_ft", ("nvfp4",)).name == "w_ft-nvfp4"
    assert FreeSpec("w_ft", ("nvfp4",)).width == 4


@pytest.mark.parametrize(
    "more", [{"scale": "absmax"}, {"granularity": "channel"}, {"scale": "absmax", "symmetric": False}]
)
def test_what_applies_to_integer_grids_is_refused_with_a_float_format_alone(more: dict) -> None:
    assert QuantizeRequest(bits="fp8").spec.name == "gptq-fp8"
    with pytest.raises(UsageError, match=r"expected an integer width among --bits with --(scale|granularity), got fp8"):
        QuantizeRequest(bits="fp8", **more)


def test_a_plan_of_bits_takes_an_integer_grid() -> None:
    with pytest.raises(UsageError, match="expected a bit width as --bits with --plan-bits"):
        AnatomyRequest(bits="nvfp4", plan_bits=(4, 3))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a float format from nvfp4, mxfp4, fp8, got 'nf4'"):
        QuantizeRequest(bits="nf4")


def test_a_forecast_refuses_groups_that_do_not_fit_a_matrix() -> None:
    subject: Any = SimpleNamespace(space=WeightSpace((Slot("fc.weight", (8, 40), False, 0, 0),)))
    (spec,) = point_specs(("gptq",), ("nvfp4",), ("exact",))
    with pytest.raises(UsageError, match=r"expected groups of 16 inputs .* got 40 inputs in fc\.weight"):
        forecast_of(subject, PRESETS["quick"], [spec], [])


def test_recipes_of_float_formats_name_them() -> None:
    names = {json.dumps(QuantScheme.of_format(form).record) for form in ("nvfp4", "mxfp4", "fp8")}
    assert len(names) == 3
    assert all(json.loads(name)["format"] in ("nvfp4", "mxfp4", "fp8") for name in names)
