"""Check that the pristine copy gives the weights back to the bit, in the narrowest dtype that can."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quant.center import Center, preserved
from quant.space import Slot, WeightSpace
from tests import tiny

INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.float16: torch.int16}


class Holder(nn.Module):
    """A model of one matrix."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(weight, requires_grad=False)


def center_of(weight: Tensor) -> tuple[Center, Slot]:
    slot = Slot("w", (weight.shape[0], weight.shape[1]), transposed=False, block=0, offset=0)
    return Center.of(Holder(weight), WeightSpace((slot,))), slot


def bits(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().view(INTEGERS[tensor.dtype]).numpy()


def float32_of(words: list[int]) -> Tensor:
    return torch.from_numpy(np.array(words, dtype=np.uint32).view(np.float32)).reshape(1, -1)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
def test_a_matrix_is_kept_in_the_dtype_that_it_was_stored_in(stored: torch.dtype) -> None:
    weight = torch.randn(80, 70, generator=torch.Generator().manual_seed(0)).to(stored).float()
    center, slot = center_of(weight)
    assert center.weights["w"].dtype == stored
    assert center.tensor(slot).dtype == torch.float32
    np.testing.assert_array_equal(bits(center.tensor(slot)), bits(weight))


@pytest.mark.parametrize(
    ("name", "words", "kept"),
    [
        ("-0.0, infinities and one bfloat16 subnormal", [0x80000000, 0x7F800000, 0xFF800000, 0x00010000], "bfloat16"),
        ("a float16 subnormal that bfloat16 lacks", [0x33C02000, 0x80000000], "float32"),
        ("a float16 number that bfloat16 lacks", [0x3F802000, 0x80000000], "float16"),
        ("float16's least subnormal with a number of many bits", [0x33800000, 0x3F802000], "float16"),
        ("a float32 subnormal", [0x00000001, 0x3F800000], "float32"),
        ("a quiet NaN, of which conversions make what they like", [0x7FC00000, 0x3F800000], "any"),
        ("a NaN with a payload", [0x7FC00001, 0x3F800000], "float32"),
        ("a signalling NaN", [0x7F810000, 0x3F800000], "float32"),
        ("more than float16 holds", [0x47802000, 0x3F800000], "float32"),
    ],
)
def test_special_values_are_given_back_to_the_bit(name: str, words: list[int], kept: str) -> None:
    weight = float32_of(words)
    center, slot = center_of(weight)
    assert kept in ("any", str(center.weights["w"].dtype).removeprefix("torch.")), name
    np.testing.assert_array_equal(bits(center.tensor(slot)), np.array([words], dtype=np.uint32).view(np.int32))


def test_one_weight_at_the_end_of_a_matrix_decides() -> None:
    weight = torch.ones(100, 100)
    weight[-1, -1] = 1 / 3
    center, slot = center_of(weight)
    assert center.weights["w"].dtype == torch.float32
    assert float(center.tensor(slot)[-1, -1]) == float(weight[-1, -1])


def test_float64_and_half_precision_models_come_back_in_their_own_dtype() -> None:
    for weight in (torch.full((2, 3), 1 / 3, dtype=torch.float64), torch.full((2, 3), 1 / 3).double()):
        center, slot = center_of(weight)
        assert center.tensor(slot).dtype == torch.float64
        np.testing.assert_array_equal(bits(center.tensor(slot)), bits(weight))
    center, slot = center_of(torch.full((2, 3), 1.5, dtype=torch.float16))
    assert center.weights["w"].dtype == center.tensor(slot).dtype == torch.float16


def test_the_copy_is_no_view_of_the_model() -> None:
    for weight in (torch.ones(4, 4), torch.full((4, 4), 1 / 3), torch.ones(4, 4, dtype=torch.bfloat16)):
        center, slot = center_of(weight)
        before = center.tensor(slot).clone()
        weight.zero_()
        assert torch.equal(center.tensor(slot), before)


@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_a_model_from_bfloat16_is_restored_to_the_bit_from_half_the_memory(name: str) -> None:
    model = tiny.ARCHITECTURES[name]().to(torch.bfloat16).float()
    space = WeightSpace.of(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with preserved(model, space) as center:
        assert sum(w.numel() * w.element_size() for w in center.weights.values()) == 2 * space.dimension
        for _, weight in space.weights(model):
            weight.fill_(torch.nan)
    after = model.state_dict()
    assert all(torch.equal(after[key].view(torch.int32), before[key].view(torch.int32)) for key in before)
