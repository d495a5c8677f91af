"""Count the bits and bytes that a quantized model takes on disk.

A code takes its B bits, a scale 16 bits as in files of GPTQ, AWQ and GGUF, a zero point B bits, and a weight that is
not quantized 16 bits: the convention of tables that compare quantized models. The scales of a float format take what
it stores them in: 8 bits for NVFP4 and MXFP4, and NVFP4 has 32 more for each matrix. Padding and headers are not
counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # results that hold a size are read without torch
    from torch import nn

    from quant.scheme import QuantScheme
    from quant.space import Slot, WeightSpace

PLAIN_BITS = 16
"""Bits of a scale, and of a weight that is not quantized."""


@dataclass(frozen=True)
class ModelSize:
    """Bits and bytes of one point."""

    space_bits: float
    """Bits per weight of the weight space: codes, scales and zero points."""
    model_bits: float
    """Bits per parameter of the whole model, with embeddings, head, norms and biases."""
    bytes: int
    """Bytes of the whole model."""

    @property
    def gigabytes(self) -> float:
        """Size of the whole model in GB, of 10⁹ bytes."""
        return self.bytes / 1e9


def model_size(model: nn.Module, space: WeightSpace, scheme: QuantScheme | None) -> ModelSize:
    """Count what a point takes.

    Args:
        model: The model; weights that are tied count once, and buffers not at all.
        space: Its weight space.
        scheme: The grid of the point; None where no weight is quantized, as at w and w_FT.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    inside = sum(matrix_bits(slot, scheme) for slot in space)
    whole = inside + PLAIN_BITS * (parameters - space.dimension)
    return ModelSize(inside / space.dimension, whole / parameters, -(-whole // 8))


def matrix_bits(slot: Slot, scheme: QuantScheme | None) -> int:
    """Count the bits of the codes, scales and zero points of one matrix.

    Args:
        slot: The matrix.
        scheme: Its grid; None where it is not quantized.
    """
    if scheme is None:
        return PLAIN_BITS * slot.size
    if (form := scheme.float_format) is not None:
        scales = math.prod(scheme.scale_shape(slot))
        return form.bits * slot.size + form.scale_bits * scales + form.matrix_bits
    each = PLAIN_BITS + (0 if scheme.symmetric else scheme.bits)
    return scheme.bits * slot.size + each * math.prod(scheme.scale_shape(slot))


def matrix_bytes(slot: Slot, scheme: QuantScheme | None) -> int:
    """Count the bytes of one matrix, whose last byte may be part full; see ``matrix_bits``."""
    return -(-matrix_bits(slot, scheme) // 8)
