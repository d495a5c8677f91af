"""Find the scales of the float formats, bit for bit those of compressed-tensors 0.20 for float32 weights.

The largest weight of a block is put at the largest level, and the scale is rounded to what the format stores. Every
step is the float32 operation that ``calculate_qparams`` and ``generate_gparam`` of compressed-tensors take, in their
order, so that files of that library hold the same scales and codes, if the model was loaded in float32. It computes
them in the dtype of the weights: of a model in bfloat16, as llm-compressor mostly loads it, the scales of FP8 and NVFP4
are others; those of MXFP4, which are powers of two, are the same. Search for a scale of less error is not offered: no
file of these tools has such scales.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quant.float_format import FloatFormat

_LARGEST_E4M3 = 448.0
_E4M3_OF_ZERO = 0.125  # the scale where that of a block rounds to 0; compressed-tensors' choice
_LEAST_EXPONENT = -127  # of E8M0, whose byte 0 it is
_UP_FROM = 0.875  # 1.75 / 2: E2M1's levels end at 6 = 1.5 · 2², and 1.75 · 2² = 7 is half way to the next power, 8


def block_scales(matrix: Tensor, form: FloatFormat, group: int | None) -> Tensor:
    """Return the scales of a matrix.

    Args:
        matrix: (out, in) finite float32.
        form: The format.
        group: Number of neighbouring inputs that share a scale, which divides their number; None for all.

    Returns:
        (out, groups) float32: a weight is a level times this.
    """
    largest = matrix.abs().reshape(len(matrix), -1, group or matrix.shape[1]).amax(2)
    match form.scale:
        case "e4m3":
            scale, shared = nested_scales(largest, form.levels[-1])
            return scale / shared
        case "e8m0":
            return power_scales(largest)
        case "float":
            scale = largest / largest.new_tensor(form.levels[-1])
            return scale.masked_fill_(scale == 0, torch.finfo(torch.float32).eps)


def nested_scales(largest: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Return scales that are E4M3 numbers, and the float32 that divides all of them, as NVFP4 has them.

    The latter puts the scale of the largest weight at 448, the end of E4M3. Blocks some 2¹⁸ times smaller than that
    have scales that round to 0, and become zeros.

    Args:
        largest: Largest magnitude of each block.
        level: The largest level.

    Returns:
        Scales in the shape of ``largest``, and a scalar.
    """
    peak = largest.max().clamp(min=torch.finfo(torch.float32).tiny)
    shared = _LARGEST_E4M3 * level / peak  # torch multiplies by a reciprocal here, which rounds twice; so do they
    shared = torch.where(shared.isfinite(), shared, 1.0)
    scale = shared * (largest / largest.new_tensor(level))
    scale = scale.clamp(max=_LARGEST_E4M3).to(torch.float8_e4m3fn).float()
    return scale.masked_fill_(scale == 0, _E4M3_OF_ZERO), shared


def power_scales(largest: Tensor) -> Tensor:
    """Return powers of two for the levels of E2M1, as MXFP4 has them.

    The specification takes the power of two in ``largest`` over that in 6; largest weights of 7 and more, in units of
    the scale, would be clipped by more than half a step, and get the next power.

    Args:
        largest: Largest magnitude of each block.
    """
    mantissa, exponent = torch.frexp(largest)  # the mantissa is in [1/2, 1)
    power = exponent - 3 + (mantissa >= _UP_FROM)
    power = power.masked_fill_(largest == 0, _LEAST_EXPONENT).clamp_(min=_LEAST_EXPONENT)
    scale: Tensor = torch.exp2(power.double()).float()
    return scale
