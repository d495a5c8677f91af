"""Describe the float formats of weights: a codebook of levels times block scales, with names that tools share.

    name    levels              weights that share a scale      a scale is stored as
    nvfp4   E2M1, up to 6       16 inputs of an output          E4M3, over one float32 for the matrix
    mxfp4   E2M1, up to 6       32 inputs of an output          E8M0, a power of two
    fp8     E4M3, up to 448     all inputs of an output         a float

Levels and block scales of the MX formats are those of OCP Microscaling Formats (MX) Specification v1.0, §5; E4M3 is
that of OCP 8-bit Floating Point Specification v1.0, without infinities; NVFP4 is NVIDIA's format of Blackwell. The
names stand for the schemes NVFP4A16, MXFP4A16 and the weights of FP8_DYNAMIC of compressed-tensors. This module imports
no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BlockScale = Literal["e4m3", "e8m0", "float"]
"""Ways to store a scale: see ``quant.float_scale``."""


def magnitudes(exponent_bits: int, mantissa_bits: int, count: int) -> tuple[float, ...]:
    """Return the magnitudes of a small float in the order of their codes, ascending from 0.

    Args:
        exponent_bits: Width of the exponent, whose bias is ``2^(exponent_bits − 1) − 1``; exponent 0 is subnormal.
        mantissa_bits: Width of the mantissa.
        count: Number of codes that stand for a finite number, which come first.
    """
    bias, half = 2 ** (exponent_bits - 1) - 1, 2**mantissa_bits
    fields = (divmod(code, half) for code in range(count))
    return tuple((m + half * (e > 0)) * 2.0 ** (max(e, 1) - bias - mantissa_bits) for e, m in fields)


E2M1 = magnitudes(2, 1, 8)
"""0 .5 1 1.5 2 3 4 6."""
E2M3 = magnitudes(2, 3, 32)
"""0 to 7.5, in steps of 1/8 at first."""
E4M3 = magnitudes(4, 3, 127)
"""0 to 448; the last of the 128 codes is NaN."""


@dataclass(frozen=True)
class FloatFormat:
    """A codebook of levels times block scales."""

    bits: int
    """Width of a code, its sign included."""
    levels: tuple[float, ...]
    """Magnitudes of the codes 0, 1, 2, …; a negative code stands for the negative of one."""
    granularity: str
    """Weights that share a scale, as ``quant.scheme.QuantScheme.granularity`` names them."""
    scale: BlockScale
    """How a scale is stored."""
    scale_bits: int
    """Bits of a scale."""
    matrix_bits: int = 0
    """Bits of what all scales of a matrix share."""

    @property
    def high(self) -> int:
        """Largest code."""
        return len(self.levels) - 1


FLOAT_FORMATS: Mapping[str, FloatFormat] = {
    "nvfp4": FloatFormat(4, E2M1, "group:16", "e4m3", scale_bits=8, matrix_bits=32),
    "mxfp4": FloatFormat(4, E2M1, "group:32", "e8m0", scale_bits=8),
    "fp8": FloatFormat(8, E4M3, "channel", "float", scale_bits=16),
}
"""The formats by name."""
