"""Check rounding to levels against torch's own casts, and against a search over all levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quant.codebook import Codebook
from quant.float_format import E2M1, E2M3, E4M3, magnitudes

FINITE = torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn)


def test_the_levels_are_those_of_the_formats() -> None:
    assert E2M1 == (0, 0.5, 1, 1.5, 2, 3, 4, 6)
    assert FINITE.float().tolist() == list(E4M3)
    e5m2 = torch.arange(124, dtype=torch.uint8).view(torch.float8_e5m2)
    assert e5m2.float().tolist() == list(magnitudes(5, 2, 124))
    assert (E2M3[1], E2M3[8], E2M3[-1]) == (0.125, 1, 7.5)


def numbers() -> torch.Tensor:
    """Levels, midpoints, their neighbours, and numbers between and beyond."""
    levels = torch.tensor(E4M3)
    middles = (levels[1:] + levels[:-1]) / 2
    exact = torch.cat([levels, middles])
    around = [exact, torch.nextafter(exact, exact + 1), torch.nextafter(exact, exact - 1)]
    drawn = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 3, 20_000)
    found = torch.cat([*around, drawn])
    return torch.cat([found, -found])


def test_e4m3_rounds_as_torch_casts() -> None:
    values = numbers().clamp(-448, 448)
    cast = values.to(torch.float8_e4m3fn)
    book = Codebook(E4M3)
    assert torch.equal(book.nearest(values), cast.float())
    bits = cast.view(torch.uint8).int()
    codes = (bits & 127) * (1 - 2 * (bits >> 7))
    assert torch.equal(book.encode(values).int(), codes)
    assert torch.equal(book.decode(codes.float()), cast.float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [E2M1, E2M3, E4M3], ids=["e2m1", "e2m3", "e4m3"])
def test_the_nearest_level_is_found_and_ties_go_to_the_even_code(levels, dtype: torch.dtype) -> None:
    values = numbers().to(dtype)
    distances = np.abs(np.abs(values.double().numpy())[:, None] - np.array(levels))
    nearest = distances.min(1, keepdims=True)
    tied = distances == nearest
    even = np.where(tied.sum(1) == 1, tied.argmax(1), (tied & (np.arange(len(levels)) % 2 == 0)).argmax(1))
    found = Codebook(levels).encode(values)
    assert found.dtype == dtype
    assert (np.abs(found.numpy()) == even).all()
    assert torch.equal(found.sign()[found != 0], values.sign()[found != 0])


def test_numbers_that_are_none_stay_so_and_infinity_saturates() -> None:
    values = torch.tensor([torch.nan, torch.inf, -torch.inf])
    for found in (Codebook(E2M1).nearest(values), Codebook(E2M1).encode(values)):
        assert bool(found[0].isnan())
        assert found[1] == -found[2] > 0


def test_what_is_covered_ends_half_a_step_beyond_the_last_level() -> None:
    """The code after E2M1's 6 would be even and take the tie; that after E4M3's 448 would be odd."""
    for levels, tie, held in ((E2M1, 7.0, False), (E4M3, 464.0, True)):
        at = torch.tensor(tie)
        values = torch.stack([torch.nextafter(at, at - 1), at, torch.nextafter(at, at + 1), torch.tensor(torch.nan)])
        for signed in (values, -values):
            assert Codebook(levels).covers(signed).tolist() == [True, held, False, False]
