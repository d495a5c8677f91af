"""Count the bits and bytes that a quantized model takes on disk.

A code takes its B bits, a scale 16 bits as in files of GPTQ, AWQ and GGUF, a zero point B bits, and a weight that is
not quantized 16 bits: the convention of tables that compare quantized models. Padding and headers are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass


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
