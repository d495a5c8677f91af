"""Decode floats of 4, 6 and 8 bits times scales: FP8, NVFP4, and the microscaling formats MXFP4, MXFP6, MXFP8.

A weight is ``value · scale``, with one scale for the tensor, a channel, a group of neighbouring inputs, or a block of
rows and inputs; NVFP4 has one more for the tensor. The scales of GPTQModel's FP8 divide the values instead. Scales are
floats, or bytes e that stand for ``2^(e − 127)`` (E8M0). Weights are computed in float64 and rounded once, to float32.
The libraries themselves round them to bfloat16 or to the dtype of the scale, so that they agree only to that precision.
The layouts are those of compressed-tensors 0.20.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quant.errors import PointError
from quant.external.packing import neighbours
from quant.float_format import E2M1, E2M3

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)

_E8M0_BIAS, _E8M0_NAN = 127, 255


def e2m1(packed: Tensor) -> Tensor:
    """Return the values of packed 4-bit floats, sign in bit 3; the low half of a byte is the even column.

    Args:
        packed: (rows, n / 2) uint8.

    Returns:
        (rows, n) float64.

    Raises:
        PointError: if ``packed`` are not rows of bytes.
    """
    _bytes(packed)
    codes = torch.stack((packed & 15, packed >> 4), -1).flatten(1).long()
    return _signed(torch.tensor(E2M1, dtype=torch.float64), codes)


def e2m3(packed: Tensor) -> Tensor:
    """Return the values of packed 6-bit floats, sign in bit 5; four of them are three bytes, the lowest bits first.

    Args:
        packed: (rows, 3 n / 4) uint8.

    Returns:
        (rows, n) float64.

    Raises:
        PointError: if ``packed`` are not rows of bytes, or their number is not divisible by 3.
    """
    _bytes(packed)
    if packed.shape[1] % 3:
        raise PointError(f"expected rows of 3 bytes for 4 numbers of 6 bits, got shape {tuple(packed.shape)}")
    low, middle, high = packed.reshape(len(packed), -1, 3).int().unbind(-1)
    word = low | middle << 8 | high << 16
    codes = torch.stack([word >> shift & 63 for shift in (0, 6, 12, 18)], -1).flatten(1).long()
    return _signed(torch.tensor(E2M3, dtype=torch.float64), codes)


def scaled_floats(
    values: Tensor,
    scale: Tensor,
    shape: tuple[int, int],
    block: tuple[int, int] | None = None,
    inverse: bool = False,
) -> Tensor:
    """Return weights ``value · scale``, or ``value / scale``.

    Args:
        values: Floats of any width, of shape ``shape``.
        scale: One number; (out, groups) with neighbouring inputs in a group, one group per channel; or, with ``block``,
            one for each block. Bytes are exponents of two.
        shape: The shape that the weights must have.
        block: (rows, inputs) of a block; those at the end may be cut off.
        inverse: Whether the scales divide the values.

    Returns:
        ``shape`` float64.

    Raises:
        PointError: if the shapes do not fit.
    """
    if tuple(values.shape) != shape:
        raise PointError(f"expected weights of shape {shape}, got {tuple(values.shape)}")
    factors = _spread(_factors(scale), shape, block)
    return values.double() / factors if inverse else values.double() * factors


def _spread(scale: Tensor, shape: tuple[int, int], block: tuple[int, int] | None) -> Tensor:
    if scale.numel() == 1:
        return scale.reshape(1, 1)
    if scale.ndim == 1 and scale.numel() == shape[0]:
        scale = scale[:, None]
    if block is not None and tuple(scale.shape) == tuple(-(-n // b) for n, b in zip(shape, block, strict=True)):
        rows, inputs = (torch.arange(n) // b for n, b in zip(shape, block, strict=True))
        return scale[rows][:, inputs]
    if scale.ndim == 2 and scale.shape[0] == shape[0]:
        return scale[:, neighbours(shape[1], scale.shape[1])]
    blocks = f", or one for each block of {block[0]} × {block[1]}" if block else ""
    raise PointError(
        f"expected one scale, or {shape[0]} rows of them{blocks} for weights of shape {shape}, "
        f"got shape {tuple(scale.shape)}"
    )


def _factors(scale: Tensor) -> Tensor:
    """Return scales in float64; bytes are E8M0, whose 255 is NaN."""
    if not scale.dtype.is_floating_point and scale.dtype != torch.uint8:
        raise PointError(f"expected floats, or bytes that are exponents, as scales, got {str(scale.dtype)[6:]}")
    if scale.dtype != torch.uint8:
        return scale.double()
    exponents = scale.double() - _E8M0_BIAS
    return torch.exp2(exponents).masked_fill(scale == _E8M0_NAN, torch.nan)


def _signed(magnitudes: Tensor, codes: Tensor) -> Tensor:
    count = len(magnitudes)
    return magnitudes[codes % count] * (1 - 2 * (codes // count))


def _bytes(packed: Tensor) -> None:
    if packed.dtype != torch.uint8 or packed.ndim != 2:
        raise PointError(f"expected rows of bytes, got {packed.dtype} of shape {tuple(packed.shape)}")
