"""Integer grids: the scheme, codes times scales, and fake quantization with a straight-through gradient.

Xu et al. 2024, §3.2: symmetric narrow range {−2^(B−1)+1, …, 2^(B−1)−1}, so int2 is ternary; one scale per tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from quant.errors import UsageError
from quant.space import Slot

Scale = Literal["exact", "histogram", "histogram-torch", "absmax"]
Granularity = Literal["tensor", "channel"]
StraightThrough = Literal["identity", "masked"]

MIN_BITS, MAX_BITS = 2, 8


@dataclass(frozen=True)
class QuantScheme:
    """How weights are put on an integer grid."""

    bits: int
    """Bit width B, 2 to 8."""
    scale: Scale = "exact"
    """How the scale is found: see ``quant.scale``."""
    granularity: Granularity = "tensor"
    """One scale per tensor (the paper) or per output channel."""

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise UsageError(f"expected bits from {MIN_BITS} to {MAX_BITS}, got {self.bits}")
        for value, known in ((self.scale, get_args(Scale)), (self.granularity, get_args(Granularity))):
            if value not in known:
                raise UsageError(f"expected one of {', '.join(known)}, got {value!r}")

    @property
    def qmax(self) -> int:
        """Largest code; the smallest is −qmax."""
        return int(2 ** (self.bits - 1)) - 1

    def __str__(self) -> str:
        per = "" if self.granularity == "tensor" else f"-per-{self.granularity}"
        return f"int{self.bits}-{self.scale}{per}"


@dataclass(frozen=True)
class GridTensor:
    """One weight matrix on an integer grid: ``codes × scale``."""

    codes: Tensor
    """int8, in the stored shape of its slot."""
    scale: Tensor
    """float32, broadcastable against ``codes``: (1, 1) per tensor, else one per output channel."""

    def dequantize(self) -> Tensor:
        """The float32 weights that the codes stand for."""
        return self.codes.float() * self.scale


def encode(weight: Tensor, scale: Tensor, qmax: int) -> Tensor:
    """Codes of the nearest grid points, ties to even, saturating at ±qmax; float, in the shape of ``weight``."""
    return torch.clamp(torch.round(weight / scale), -qmax, qmax)


def quantize(weight: Tensor, scale: Tensor, qmax: int) -> GridTensor:
    """Round a matrix to the nearest points of the grid (RTN)."""
    return GridTensor(encode(weight.float(), scale, qmax).to(torch.int8), scale)


def channel_view(slot: Slot, weight: Tensor) -> Tensor:
    """The matrix as (out, in), a view: GPT-2's ``Conv1D`` stores its transpose."""
    return weight.T if slot.transposed else weight


class _FakeQuantize(torch.autograd.Function):
    """Fake quantization whose gradient is written down rather than left to clamp's.

    PyTorch is changing clamp's subgradient where its argument equals a bound; with it every ±1 weight of int2 would
    stop learning.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, scale: Tensor, qmax: int, ste: StraightThrough) -> Tensor:  # type: ignore[no-untyped-def]
        if ste == "masked":
            ctx.save_for_backward(torch.round(weight / scale).abs() <= qmax)
        return encode(weight, scale, qmax) * scale

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        kept = ctx.saved_tensors
        return (gradient * kept[0] if kept else gradient), None, None, None


def fake_quantize(weight: Tensor, scale: Tensor, qmax: int, ste: StraightThrough = "identity") -> Tensor:
    """``Q(W)``, with the gradient passed straight through (Bengio et al. 2013).

    Args:
        weight: The master weights.
        scale: Broadcastable against ``weight``; gets no gradient.
        qmax: Largest code.
        ste: ``identity`` passes every gradient; ``masked`` stops those of weights that saturate beyond ±qmax, as
            ``torch.fake_quantize_per_tensor_affine`` does.
    """
    quantized: Tensor = _FakeQuantize.apply(weight, scale, qmax, ste)  # type: ignore[no-untyped-call]
    return quantized
