from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.errors import PointError
from quant.external.packing import awq_weight, gptq_weight, neighbours, scaled, signed_codes, signed_zeros, unpack
from tests.quant.external import packers

# sha256 of the words that the tools' own packers wrote for ``packers.pattern``: AutoGPTQ 0.7.1 (``qlinear_cuda``),
# AutoAWQ 0.2.7 (``WQLinear_GEMM.from_linear``), compressed-tensors 0.20.0 (``pack_to_int32``), all on a CPU.
GPTQ_WORDS = {2: "e10f4c9eeb06c5d3", 3: "4e87433fe28feae9", 4: "b70d1ff631173bd1", 8: "f982bb9f86dcf73d"}
AWQ_WORDS = "5cca18bf00c5322f"
COMPRESSED_WORDS = {4: "be1c7e4053459854", 8: "b7ee4cfdd768eed9"}


def drawn(shape: tuple[int, ...], low: int, high: int, seed: int = 0) -> packers.Ints:
    return np.random.default_rng(seed).integers(low, high, shape)


def half_scales(shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(9).uniform(0.01, 0.1, shape)).half()


def by_hand(codes: packers.Ints, zeros: packers.Ints, scales: Tensor, groups: packers.Ints) -> Tensor:
    """``(q − z) · s`` in float64, one weight at a time; zeros and scales are (out, groups)."""
    weight = np.zeros(codes.shape)
    for o, i in np.ndindex(*codes.shape):
        weight[o, i] = (codes[o, i] - zeros[o, groups[i]]) * float(scales[o, groups[i]])
    return torch.from_numpy(weight).float()


@pytest.mark.parametrize("bits", GPTQ_WORDS)
def test_packers_of_the_tests_write_the_bytes_of_autogptq(bits: int) -> None:
    words = packers.gptq(*packers.pattern(32, 64, 4, bits), bits)
    assert packers.digest(words["qweight"], words["qzeros"]) == GPTQ_WORDS[bits]


def test_packers_of_the_tests_write_the_bytes_of_autoawq() -> None:
    words = packers.awq(*packers.pattern(32, 64, 4, 4))
    assert packers.digest(words["qweight"], words["qzeros"]) == AWQ_WORDS


@pytest.mark.parametrize("bits", COMPRESSED_WORDS)
def test_packers_of_the_tests_write_the_bytes_of_compressed_tensors(bits: int) -> None:
    codes, zeros = (part - 2 ** (bits - 1) for part in packers.pattern(12, 42, 6, bits))
    words = packers.compressed(codes, bits, zeros)
    assert packers.digest(words["weight_packed"], words["weight_zero_point"]) == COMPRESSED_WORDS[bits]


@pytest.mark.parametrize(("bits", "count"), list(product(range(1, 9), [1, 31, 32, 75])))
def test_fields_come_back_at_every_width(bits: int, count: int) -> None:
    rows = drawn((3, count), 0, 2**bits)
    rows[0] = 2**bits - 1  # every sign bit is set
    assert torch.equal(unpack(packers.bit_stream(rows, bits), bits, count).long(), torch.from_numpy(rows))


@pytest.mark.parametrize(
    ("bits", "less_one", "shuffled"),
    [*product(GPTQ_WORDS, [True], [False, True]), *product(GPTQ_WORDS, [False], [True])],
)
def test_gptq_weights_are_code_less_zero_times_scale(bits: int, less_one: bool, shuffled: bool) -> None:
    codes, zeros = drawn((32, 64), 0, 2**bits), drawn((32, 4), int(less_one), 2**bits, seed=1)
    groups = np.arange(64) // 16
    if shuffled:
        groups = np.random.default_rng(2).permutation(groups)
    scales = half_scales((32, 4))
    words = packers.gptq(codes, zeros, bits, less_one)
    got = gptq_weight(
        words["qweight"],
        words["qzeros"],
        scales.T.contiguous(),
        torch.from_numpy(groups).int(),
        bits,
        zeros_less_one=less_one,
    )
    assert torch.equal(got, by_hand(codes, zeros, scales, groups))


def test_ambiguous_gptq_zero_point_is_refused() -> None:
    zeros = np.ones((32, 1), np.int64)
    words = packers.gptq(drawn((32, 32), 0, 16), zeros, 4)
    arguments = words["qweight"], words["qzeros"], half_scales((1, 32)), torch.zeros(32, dtype=torch.int32), 4
    gptq_weight(*arguments, zeros_less_one=True)
    words["qzeros"][0, 1] |= 0xF << 8
    with pytest.raises(PointError, match="gptq_v2"):
        gptq_weight(*arguments, zeros_less_one=True)
    gptq_weight(*arguments, zeros_less_one=False)


def test_awq_weights_are_code_less_zero_times_scale() -> None:
    codes, zeros, scales = drawn((24, 32), 0, 16), drawn((24, 4), 0, 16, seed=1), half_scales((24, 4))
    words = packers.awq(codes, zeros)
    got = awq_weight(words["qweight"], words["qzeros"], scales.T.contiguous(), 32)
    assert torch.equal(got, by_hand(codes, zeros, scales, np.arange(32) // 8))


@pytest.mark.parametrize(("bits", "asymmetric", "shuffled"), list(product([2, 4, 8], [False, True], [False, True])))
def test_compressed_weights_are_code_less_zero_times_scale(bits: int, asymmetric: bool, shuffled: bool) -> None:
    half = 2 ** (bits - 1)
    codes, scales = drawn((12, 42), -half, half), half_scales((12, 6))
    zeros = drawn((12, 6), -half, half, seed=1) if asymmetric else np.zeros((12, 6), np.int64)
    words = packers.compressed(codes, bits, zeros)
    groups = np.arange(42) // 7
    if shuffled:
        groups = np.random.default_rng(2).permutation(groups)
    got = scaled(
        signed_codes(words["weight_packed"], bits, (12, 42)),
        scales,
        signed_zeros(words["weight_zero_point"], bits, (12, 6)) if asymmetric else None,
        torch.from_numpy(groups) if shuffled else None,
    )
    assert torch.equal(got, by_hand(codes, zeros, scales, groups))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (4, 1), (4, 2)])
def test_scale_per_tensor_channel_or_group(shape: tuple[int, ...]) -> None:
    codes = torch.from_numpy(drawn((4, 6), -8, 8))
    scale = torch.rand(shape) + 0.5
    per_weight = scale.repeat_interleave(3, 1) if shape == (4, 2) else scale
    assert torch.equal(scaled(codes, scale, None, None), codes.float() * per_weight)
    unused = torch.full((6,), -1)
    assert torch.equal(scaled(codes, scale, None, unused), codes.float() * per_weight)


def test_plain_zero_points_are_read_as_they_are() -> None:
    zeros = torch.tensor([[1, -2], [3, -4], [5, -6]], dtype=torch.int8)
    assert torch.equal(signed_zeros(zeros, 4, (3, 2)), zeros.int())
    assert torch.equal(signed_zeros(zeros[:1, 0], 4, (1, 1)), zeros[:1, :1].int())
    assert torch.equal(signed_zeros(zeros[0, 0], 4, (1, 1)), zeros[:1, :1].int())
    assert torch.equal(signed_zeros(zeros[:, 0], 4, (3, 1)), zeros[:, :1].int())


ZEROS = torch.arange(8, dtype=torch.int8).reshape(4, 2)
words = torch.zeros(32, 4, dtype=torch.int32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unpack(words, 4, 33), r"expected 5 int32 words.*got int32 of shape \(32, 4\)"),
        (lambda: unpack(words.long(), 4, 32), "got int64"),
        (lambda: gptq_weight(words, words, torch.ones(32, 4), torch.zeros(33), 4, zeros_less_one=True), "whole 32"),
        (lambda: signed_codes(words, 4, (31, 32)), "31 packed rows"),
        (lambda: signed_zeros(words[:1].float(), 4, (1, 4)), "integer zero-points"),
        (lambda: signed_zeros(ZEROS.T, 8, (4, 2)), r"zero-points of shape \(4, 2\), got torch.int8 \(2, 4\)"),
        (lambda: signed_zeros(ZEROS.flatten(), 8, (4, 2)), r"zero-points of shape \(4, 2\), got torch.int8 \(8,\)"),
        (lambda: scaled(words, torch.ones(31, 1), None, None), "32 rows"),
        (lambda: scaled(words, torch.ones(32, 3), None, None), "3 groups for 4 inputs"),
        (lambda: scaled(words, torch.ones(32, 2), None, torch.tensor([0, 1, 2, 0])), "0 to 1 in g_idx, got 0 to 2"),
        (lambda: scaled(words, torch.ones(32, 2), None, torch.tensor([0, 1])), r"weight_g_idx of shape \(4,\)"),
        (
            lambda: scaled(words, torch.ones(32, 2), signed_zeros(words[:4], 4, (32, 2)), None),
            r"weight_zero_point, as integers, of shape \(32, 2\), got \(32, 4\)",
        ),
        (
            lambda: scaled(words, torch.ones(32, 2), signed_zeros(words[:4, :0], 4, (32, 2)), None),
            r"weight_zero_point, as integers, of shape \(32, 2\), got",
        ),
        (lambda: awq_weight(words, words, torch.ones(4, 32), 31), r"qweight of shape \(31, 4\)"),
        (lambda: awq_weight(words, words, torch.ones(4, 32), 32), r"qzeros of shape \(4, 4\)"),
        (lambda: awq_weight(words, words, torch.ones(4, 30), 32), "whole 32-bit words"),
        (lambda: neighbours(4, 0), "0 groups"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_one_line(call: object, message: str) -> None:
    with pytest.raises(PointError, match=message) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
