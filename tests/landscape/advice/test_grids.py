"""The grids to advise on: groups that fit the matrices, and scales to compare."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from landscape.advice.grids import candidates, common_group, left_out, ragged
from quant import WeightSpace
from quant.scheme import QuantScheme
from quant.space import Slot


def space(*inputs: int) -> WeightSpace:
    """Matrices with these numbers of inputs, and as many outputs."""
    return WeightSpace(tuple(Slot(f"layer.{i}", (8, n), False, block=i, offset=0) for i, n in enumerate(inputs)))


@pytest.mark.parametrize(
    ("inputs", "group"),
    [
        ((128, 512), 128),
        ((576, 1536), 64),
        ((2048, 5632), 128),
        ((96,), 32),
        ((48, 80), 16),
        ((24,), None),
        ((7,), None),
    ],
)
def test_the_largest_common_group_divides_all_matrices(inputs: Sequence[int], group: int | None) -> None:
    assert common_group(space(*inputs)) == group
    if group is not None:
        assert all(n % group == 0 for n in inputs)
        assert not any(128 % g == 0 and all(n % g == 0 for n in inputs) for g in range(group + 1, 129))


def schemes(bits: int, granularity: str, scales: tuple[str, ...], *inputs: int) -> list[tuple[QuantScheme, ...]]:
    return [each.schemes for each in candidates((bits,), (granularity,), scales, space(*inputs))]  # type: ignore[arg-type]


def test_groups_fit_the_model() -> None:
    assert schemes(4, "group", ("absmax",), 576, 1536) == [(QuantScheme(4, "absmax", "group:64"),)]
    assert schemes(4, "group:128", ("absmax",), 576) == [(QuantScheme(4, "absmax", "group:128"),)]
    assert schemes(4, "group", ("absmax",), 7) == []


def test_groups_of_one_size_are_one_grid() -> None:
    found = list(candidates((4,), ("group", "group:64"), (), space(64)))
    assert [each.granularity for each in found] == ["group:64"]


def test_without_a_scale_one_that_clips_nothing_is_compared_with_one_of_least_error() -> None:
    tensor, channel = schemes(4, "tensor", (), 64)[0], schemes(4, "channel", (), 64)[0]
    assert [scheme.scale for scheme in tensor] == ["exact", "absmax"]
    assert [scheme.scale for scheme in channel] == ["absmax", "mse"]
    assert [scheme.scale for scheme in schemes(8, "channel", (), 64)[0]] == ["absmax"]


def test_scales_that_are_asked_for_are_grids_of_their_own() -> None:
    assert schemes(3, "channel", ("absmax", "mse"), 64) == [
        (QuantScheme(3, "absmax", "channel"),), (QuantScheme(3, "mse", "channel"),),
    ]  # fmt: skip


def test_float_formats_are_grids_of_their_own_and_those_that_do_not_fit_are_left_out() -> None:
    found = list(candidates((4, "nvfp4", "mxfp4", "fp8"), ("channel",), ("absmax",), space(48)))
    assert [(each.bits, each.granularity, each.schemes[0].format) for each in found] == [
        (4, "channel", None), (4, "group:16", "nvfp4"), (8, "channel", "fp8"),
    ]  # fmt: skip
    (words,) = left_out((4, "nvfp4", "mxfp4", "fp8"), ("channel",), space(48))
    assert words.startswith("mxfp4 is left out: ")
    assert "groups of 32 inputs in every matrix for mxfp4, got 48" in words


def test_groups_that_no_size_fits_are_said_to_be_left_out() -> None:
    assert list(left_out((4,), ("channel", "group"), space(24))) == [
        "groups are left out: no group of 16 or more divides the inputs of all matrices"
    ]
    assert list(left_out((4,), ("channel", "group:8"), space(24))) == []
    assert list(left_out(("fp8",), ("group",), space(24))) == []


def test_groups_that_leave_a_rest_are_named_with_the_matrix_and_one_that_fits() -> None:
    words = ragged("group:128", space(128, 576))
    assert words is not None
    assert "groups of 128 do not divide the 576 inputs of layer.1" in words
    assert f"groups of {math.gcd(128, 576)} divide all matrices" in words
    assert "no group of 16 or more divides all matrices" in (ragged("group:16", space(24)) or "")
    assert ragged("group:64", space(128, 576)) is None
    assert ragged("channel", space(7)) is None
