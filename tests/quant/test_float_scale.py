"""Check the float formats against compressed-tensors, bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quant.center import Center
from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import UsageError
from quant.external.floats import e2m1, scaled_floats
from quant.float_format import E2M1, FLOAT_FORMATS
from quant.grid import channel_view
from quant.methods.rtn import rtn
from quant.scale import find_grid
from quant.scheme import QuantScheme
from quant.space import Slot
from tests.quant.peer_floats import PeerMatrix

NAMES = tuple(FLOAT_FORMATS)


@pytest.mark.parametrize(("name", "same"), [("fp8", False), ("nvfp4", False), ("mxfp4", True)])
def test_compressed_tensors_finds_other_scales_of_the_same_weights_in_bfloat16(name: str, same: bool) -> None:
    """Its scales are computed in the dtype of the weights, so that ours are its own for float32 alone."""
    weight = torch.randn(24, 96, generator=torch.Generator().manual_seed(0)).bfloat16()
    wide, narrow = (PeerMatrix.of(name, each).effective.float() for each in (weight.float(), weight))
    assert torch.equal(wide, narrow) == same


def gaussian(generator: torch.Generator) -> Tensor:
    return torch.randn(24, 96, generator=generator)


def heavy_tailed(generator: torch.Generator) -> Tensor:
    return gaussian(generator) / torch.rand(24, 96, generator=generator) ** 3


def blocks_far_apart(generator: torch.Generator) -> Tensor:
    """Of scales that E4M3 cannot hold together: many of NVFP4's round to 0, or to its smallest numbers."""
    return gaussian(generator) * 2.0 ** torch.randint(-24, 1, (24, 6), generator=generator).repeat_interleave(16, 1)


def with_zeros(generator: torch.Generator) -> Tensor:
    weight = gaussian(generator)
    weight[:, :32], weight[3] = 0, 0
    return weight


def ties(generator: torch.Generator) -> Tensor:
    """Exactly half way between levels of E2M1, where the scale is a power of two."""
    middles = torch.tensor([*E2M1, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    weight = middles[torch.randint(len(middles), (24, 96), generator=generator)]
    weight[:, ::16] = 6
    return weight * (torch.randint(2, (24, 96), generator=generator) * 2 - 1)


KINDS = (gaussian, heavy_tailed, blocks_far_apart, with_zeros, ties)


def check(name: str, weight: Tensor, transposed: bool = False) -> None:
    peer = PeerMatrix.of(name, weight)
    slot = Slot("w", tuple(weight.T.shape if transposed else weight.shape), transposed, 0, 0)  # type: ignore[arg-type]
    stored = channel_view(slot, weight)
    grid = find_grid(slot, stored, QuantScheme.of_format(name))
    part = grid.quantize(stored)
    assert grid.codebook is not None
    assert torch.equal(channel_view(slot, grid.scale), peer.effective)
    assert torch.equal(channel_view(slot, grid.codebook.decode(part.codes.float())), peer.levels.float())
    assert torch.equal(channel_view(slot, part.dequantize()), peer.dequantized)
    assert torch.equal(channel_view(slot, grid.nearest(stored)), peer.dequantized)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), name=st.sampled_from(NAMES), kind=st.sampled_from(KINDS),
    size=st.sampled_from([1.0, 1e-3, 37.0, 1e-12, 1e-38, 1e12]), transposed=st.booleans(),
)  # fmt: skip
def test_scales_codes_and_weights_are_those_of_compressed_tensors(seed, name, kind, size, transposed) -> None:
    check(name, kind(torch.Generator().manual_seed(seed)) * size, transposed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-38, 7e-36, 9e-36, 1e-30, 1.0])
def test_a_matrix_of_one_value_too(name: str, value: float) -> None:
    check(name, torch.full((3, 64), value))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [5.0, 6.0, 7.0, 8.0, 448.0])
def test_the_largest_weight_around_every_power(name: str, at: float) -> None:
    """One float below, at and above the numbers where a scale changes its exponent."""
    exact = torch.tensor(at)
    largest = torch.stack([torch.nextafter(exact, torch.tensor(0.0)), exact, torch.nextafter(exact, 2 * exact)])
    weight = torch.linspace(-1, 1, 32).expand(3, 32) * largest[:, None]
    check(name, torch.cat([weight, 0.001 * weight]))


@pytest.mark.parametrize("name", NAMES)
def test_rtn_of_a_real_model_is_theirs(name: str) -> None:
    checkpoint = load_checkpoint("opt-nano")
    point = rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), QuantScheme.of_format(name))
    for slot, weight in checkpoint.space.weights(checkpoint.model):
        assert torch.equal(point.tensor(slot), PeerMatrix.of(name, weight.detach()).dequantized)


@pytest.mark.parametrize("name", ["nvfp4", "mxfp4"])
def test_their_files_read_back_as_our_points(name: str) -> None:
    weight = heavy_tailed(torch.Generator().manual_seed(0))
    tensors = PeerMatrix.of(name, weight).written
    read = scaled_floats(e2m1(tensors["weight_packed"]), tensors["weight_scale"], (24, 96))
    grid = find_grid(Slot("w", (24, 96), False, 0, 0), weight, QuantScheme.of_format(name))
    ours = grid.nearest(weight).double() * tensors.get("weight_global_scale", torch.ones(1)).double()
    assert torch.allclose(ours, read, rtol=2 * torch.finfo(torch.float32).eps, atol=0)  # a quotient and a product


@pytest.mark.parametrize(("name", "inputs", "group"), [("nvfp4", 40, 16), ("mxfp4", 48, 32)])
def test_groups_that_do_not_fit_are_refused(name: str, inputs: int, group: int) -> None:
    slot = Slot("layer.weight", (4, inputs), False, 0, 0)
    wanted = f"expected groups of {group} inputs in every matrix for {name}, got {inputs} inputs in layer.weight"
    with pytest.raises(UsageError, match=wanted):
        find_grid(slot, torch.ones(4, inputs), QuantScheme.of_format(name))
