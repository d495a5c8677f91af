import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from quant.errors import UsageError
from quant.grid import Grid, GridTensor, channel_view, fake_quantize, learned_fake_quantize, make_grid
from quant.scale import find_grid
from quant.scheme import QuantScheme
from quant.space import Slot

LINEAR, CONV1D = Slot("a", (3, 10), False, 0, 0), Slot("b", (10, 3), True, 0, 0)


def grid_of(scale: torch.Tensor, qmax: int) -> Grid:
    return Grid(scale, -qmax, qmax)


def nearest_codes(weight: torch.Tensor, scale: torch.Tensor, qmax: int) -> np.ndarray:
    """Brute force in float64: the code of the smallest distance."""
    codes = np.arange(-qmax, qmax + 1)
    grid = codes * np.broadcast_to(scale.double().numpy(), weight.shape)[..., None]
    return codes[np.abs(weight.double().numpy()[..., None] - grid).argmin(-1)]


@pytest.mark.parametrize(("bits", "qmax"), [(2, 1), (3, 3), (4, 7), (6, 31), (8, 127)])
def test_range_is_narrow_and_symmetric(bits: int, qmax: int) -> None:
    assert (QuantScheme(bits).low, QuantScheme(bits).high) == (-qmax, qmax)
    codes = grid_of(torch.tensor([[0.1]]), qmax).quantize(torch.tensor([[-1e9, 1e9]])).codes
    assert codes.dtype == torch.int8
    assert codes.tolist() == [[-qmax, qmax]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"bits": 1},
        {"bits": 9},
        {"bits": 4, "scale": "minmax"},
        {"bits": 4, "granularity": "row"},
        {"bits": 4, "granularity": "group:0"},
        {"bits": 4, "granularity": "group:"},
        {"bits": 4, "symmetric": False},
    ],
)
def test_unknown_scheme_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match="expected"):
        QuantScheme(**wrong)


def test_scheme_has_a_readable_name() -> None:
    assert str(QuantScheme(4)) == "int4-exact"
    assert str(QuantScheme(2, "absmax", "channel")) == "int2-absmax-per-channel"
    assert str(QuantScheme(4, "absmax", "group:128", False)) == "int4-absmax-per-group128-asymmetric"


@pytest.mark.parametrize("qmax", [1, 3, 7, 127])
@pytest.mark.parametrize("shape", [(1, 1), (20, 1), (1, 30)])
def test_codes_are_the_nearest(qmax: int, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(qmax)
    weight = torch.randn(20, 30, generator=generator)
    scale = torch.rand(shape, generator=generator) * 2 / qmax + 0.1 / qmax
    part = grid_of(scale, qmax).quantize(weight)
    np.testing.assert_array_equal(part.codes.numpy(), nearest_codes(weight, scale, qmax))
    assert torch.equal(fake_quantize(weight, grid_of(scale, qmax)), part.dequantize())


def test_ties_go_to_even() -> None:
    ties = torch.tensor([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]])
    assert grid_of(torch.ones(1, 1), 7).encode(ties).tolist() == [[-2.0, -2.0, 0.0, 0.0, 2.0, 2.0]]


def test_encode_leaves_its_argument_alone() -> None:
    weight = torch.tensor([[0.3, 9.0]])
    grid = grid_of(torch.ones(1, 1), 1)
    grid.encode(weight)
    fake_quantize(weight, grid)
    assert torch.equal(weight, torch.tensor([[0.3, 9.0]]))


def test_dequantized_is_codes_times_scale() -> None:
    part = GridTensor(torch.tensor([[1, -3], [0, 7]], dtype=torch.int8), grid_of(torch.tensor([[0.5], [0.25]]), 7))
    assert part.dequantize().tolist() == [[0.5, -1.5], [0.0, 1.75]]


@pytest.mark.parametrize("qmax", [1, 7])
def test_identity_gradient_passes_every_weight(qmax: int) -> None:
    """Saturated weights and those at ±qmax exactly learn as well: clamp's own gradient would freeze them."""
    weight = torch.linspace(-3 * qmax, 3 * qmax, 6 * qmax + 1)[None].requires_grad_()
    scale = torch.ones(1, 1, requires_grad=True)
    upstream = torch.arange(1.0, weight.numel() + 1)[None]
    fake_quantize(weight, grid_of(scale, qmax), "identity").backward(upstream)
    assert weight.grad is not None
    assert torch.equal(weight.grad, upstream)
    assert scale.grad is None


@pytest.mark.parametrize("qmax", [1, 7, 127])
def test_masked_gradient_is_torchs_own(qmax: int) -> None:
    scale = 0.25  # a power of two, so that torch's w·(1/s) and w/s agree to the bit at the edges
    edges = torch.tensor([qmax, qmax + 0.25, qmax + 0.5, qmax + 0.75, qmax + 1.0]) * scale
    random = torch.randn(500, generator=torch.Generator().manual_seed(0)) * scale * qmax
    values = torch.cat([edges, -edges, random])[None]
    upstream = torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    mine = fake_quantize(ours, grid_of(torch.full((1, 1), scale), qmax), "masked")
    reference = torch.fake_quantize_per_tensor_affine(theirs, scale, 0, -qmax, qmax)
    assert torch.equal(mine, reference)
    mine.backward(upstream)
    reference.backward(upstream)
    assert ours.grad is not None
    assert torch.equal(ours.grad, theirs.grad)
    assert 0 < int((ours.grad == 0).sum()) < values.numel()


@pytest.mark.parametrize("high", [1, 7, 127])
def test_the_learned_scales_gradient_is_torchs_own(high: int) -> None:
    """torch gives ∂/∂s; ours is ∂/∂log s, s times that."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1, 500, generator=generator) * 0.25 * high
    upstream = torch.randn(values.shape, generator=generator)
    scale, factor = torch.tensor([0.25], requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    zero = torch.zeros(1)
    reference = torch._fake_quantize_learnable_per_tensor_affine(theirs, scale, zero, -high, high, 1.0)
    mine = learned_fake_quantize(ours, factor, grid_of(torch.full((1, 1), 0.25), high), "masked")
    assert torch.equal(mine, reference)
    mine.backward(upstream)
    reference.backward(upstream)
    assert ours.grad is not None
    assert torch.equal(ours.grad, theirs.grad)
    assert factor.grad is not None
    assert float(factor.grad) == pytest.approx(0.25 * float(scale.grad), rel=1e-5)
    identity = values.clone().requires_grad_()
    learned_fake_quantize(identity, torch.zeros(1, 1), grid_of(torch.full((1, 1), 0.25), high)).backward(upstream)
    assert identity.grad is not None
    assert torch.equal(identity.grad, upstream)


@pytest.mark.parametrize(("granularity", "symmetric"), [("channel", True), ("group:4", True), ("group:4", False)])
@pytest.mark.parametrize("slot", [LINEAR, CONV1D], ids=["linear", "conv1d"])
def test_every_scale_gets_the_gradient_of_the_weights_that_share_it(
    slot: Slot, granularity: str, symmetric: bool
) -> None:
    """Against a numerical derivative in s, which sees the rounding stand still: the code × the change of s."""
    scheme = QuantScheme(4, "absmax", granularity, symmetric)
    generator = torch.Generator().manual_seed(1)
    shape = scheme.scale_shape(slot)
    weight = torch.randn(slot.shape, generator=generator)
    zero = None if symmetric else torch.randint(-3, 4, shape, generator=generator).float()
    grid = make_grid(slot, scheme, torch.rand(shape, generator=generator) / 5 + 0.02, zero)
    upstream, factor = torch.randn(slot.shape, generator=generator), torch.zeros(shape, requires_grad=True)
    learned_fake_quantize(weight, factor, grid).backward(upstream)
    free = replace(grid, low=-(2**20), high=2**20).encode(weight)
    inside = (free >= grid.low) & (free <= grid.high)
    assert 0 < int(inside.sum()) < inside.numel()
    expected = upstream * torch.where(inside, grid.nearest(weight) - weight, grid.nearest(weight))
    for index in np.ndindex(*shape):
        alone = torch.zeros(shape)
        alone[index] = 1
        mine = grid.with_scale(alone).steps(weight).expand(slot.shape) == 1
        assert float(factor.grad[index]) == pytest.approx(float(expected[mine].sum()), rel=1e-4, abs=1e-5)


def test_a_float_formats_masked_gradient_stops_beyond_half_a_step_from_the_last_level() -> None:
    """E2M1 ends at 6, and its last step is 2: up to 7 times the scale, where a tie goes to the even code after 6's."""
    grid = make_grid(Slot("w", (1, 32), False, 0, 0), QuantScheme.of_format("mxfp4"), torch.full((1, 1), 0.5))
    multiples = [0.0, 5.5, 6.5, 6.99, 7.0, 7.5, -6.99, -7.5, *range(-5, 5), *[0] * 14]
    weight = (torch.tensor([multiples]) / 2).requires_grad_()
    upstream = torch.arange(1.0, 33)[None]
    fake_quantize(weight, grid, "masked").backward(upstream)
    stopped = {4, 5, 7}
    assert weight.grad is not None
    assert [i for i in range(32) if weight.grad[0, i] == 0] == sorted(stopped)
    assert weight.grad.sum() == upstream.sum() - sum(upstream[0, i] for i in stopped)


@pytest.mark.parametrize("name", ["mxfp4", "fp8"])
def test_a_float_formats_learned_scale_gets_the_gradient_of_its_weights(name: str) -> None:
    """Against ∂Q/∂log s with the level held: (Q − w) inside the grid, Q beyond it."""
    generator = torch.Generator().manual_seed(2)
    slot, scheme = Slot("w", (3, 64), False, 0, 0), QuantScheme.of_format(name)
    weight, upstream = (torch.randn(3, 64, generator=generator) for _ in range(2))
    grid = find_grid(slot, 0.5 * weight, scheme)
    factor = torch.zeros_like(grid.scale, requires_grad=True)
    learned_fake_quantize(weight, factor, grid).backward(upstream)
    last = {"mxfp4": 6.0, "fp8": 448.0}[name]
    gap = {"mxfp4": 2.0, "fp8": 32.0}[name]
    inside = (weight / grid.scale.repeat_interleave(64 // grid.scale.shape[1], 1)).abs() < last + gap / 2
    assert 0 < int(inside.sum()) < inside.numel()
    nearest = grid.nearest(weight)
    expected = (upstream * torch.where(inside, nearest - weight, nearest)).reshape(*grid.scale.shape, -1).sum(2)
    torch.testing.assert_close(factor.grad, expected, rtol=1e-4, atol=1e-5)


def test_channel_view_puts_outputs_first() -> None:
    stored = torch.arange(6.0).reshape(2, 3)
    linear, conv1d = Slot("a", (2, 3), False, 0, 0), Slot("b", (2, 3), True, 0, 0)
    assert channel_view(linear, stored).tolist() == stored.tolist()
    assert channel_view(conv1d, stored).tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert channel_view(conv1d, stored).data_ptr() == stored.data_ptr()


def test_rounding_error_is_at_most_half_a_step_inside_the_range() -> None:
    weight = torch.rand(50, 50, generator=torch.Generator().manual_seed(2)) * 2 - 1
    scale = torch.tensor([[1 / 7]])
    assert float((fake_quantize(weight, grid_of(scale, 7)) - weight).abs().max()) <= (1 / 14) * (1 + 1e-6)
    assert not math.isnan(float(fake_quantize(weight, grid_of(scale, 7)).sum()))


@pytest.mark.parametrize(
    ("granularity", "shape"), [("tensor", (1, 1)), ("channel", (3, 1)), ("group:4", (3, 3)), ("group:10", (3, 1))]
)
def test_shape_of_the_scales(granularity: str, shape: tuple[int, int]) -> None:
    scheme = QuantScheme(4, granularity=granularity)
    assert scheme.scale_shape(LINEAR) == shape
    assert scheme.scale_shape(CONV1D) == shape[::-1]


@pytest.mark.parametrize("symmetric", [True, False])
def test_groups_run_along_the_inputs_and_the_last_may_be_short(symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    scheme = QuantScheme(4, "absmax", "group:4", symmetric)
    weight, scale = torch.randn(3, 10, generator=generator), torch.rand(3, 3, generator=generator) / 3
    zero = None if symmetric else torch.randint(-3, 4, (3, 3), generator=generator).float()
    part = make_grid(LINEAR, scheme, scale, zero).quantize(weight)
    for row in range(3):
        for column in range(10):
            s, z = scale[row, column // 4], 0 if zero is None else zero[row, column // 4]
            code = torch.clamp(torch.round(weight[row, column] / s) + z, scheme.low, scheme.high)
            assert part.codes[row, column] == code
            assert part.dequantize()[row, column] == (code - z) * s
    transposed = make_grid(CONV1D, scheme, scale.T.contiguous(), None if zero is None else zero.T.contiguous())
    turned = transposed.quantize(weight.T.contiguous())
    assert torch.equal(turned.codes.T, part.codes)
    assert torch.equal(turned.dequantize().T, part.dequantize())
    assert torch.equal(transposed.channel_view(CONV1D).encode(weight), part.codes.float())
    assert torch.equal(fake_quantize(weight, part.grid), part.dequantize())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_asymmetric_codes_values_and_masked_gradient_are_torchs_own(bits: int) -> None:
    scheme = QuantScheme(bits, "absmax", "channel", symmetric=False)
    generator = torch.Generator().manual_seed(bits)
    scale, zero = torch.tensor([0.25, 0.5, 2.0]), torch.randint(scheme.low, scheme.high, (3,), generator=generator)
    values = torch.randn(3, 200, generator=generator) * 2**bits * scale[:, None]
    upstream = torch.randn(3, 200, generator=generator)
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    grid = make_grid(Slot("a", (3, 200), False, 0, 0), scheme, scale[:, None], zero[:, None].float())
    mine = fake_quantize(ours, grid, "masked")
    reference = torch.fake_quantize_per_channel_affine(theirs, scale, zero.int(), 0, scheme.low, scheme.high)
    assert torch.equal(mine, reference)
    mine.backward(upstream)
    reference.backward(upstream)
    assert ours.grad is not None
    assert torch.equal(ours.grad, theirs.grad)
    assert 0 < int((ours.grad == 0).sum()) < values.numel()
