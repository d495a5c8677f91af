"""Tabulate the tensor types that llama.cpp quantizes to: bits per weight, blocks, and how to ask for them.

Block layouts are those of ggml/src/ggml-common.h, the arguments those of tools/quantize/quantize.cpp, the need for an
importance matrix that of ``tensor_requires_imatrix`` in src/llama-quant.cpp (ggml-org/llama.cpp). The types for models
that were trained ternary (TQ1_0, TQ2_0) are left out: they take the scale from the largest weight.
"""

from __future__ import annotations

from dataclasses import dataclass

from quant.errors import UsageError


@dataclass(frozen=True)
class GGUFType:
    """One tensor type of llama.cpp."""

    name: str
    """Name in ggml."""
    block: int
    """Number of weights that are stored together; the inputs of a matrix must be a multiple."""
    bytes: int
    """Size of a block."""
    group: int
    """Number of weights that share the innermost scale."""
    argument: str | None = None
    """Type that ``llama-quantize --pure`` takes for it, where that has another name."""
    imatrix: bool = False
    """Whether llama-quantize refuses it without an importance matrix."""

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight with its share of the scales."""
        return 8 * self.bytes / self.block


GGUF_TYPES = (
    GGUFType("Q8_0", 32, 34, 32),
    GGUFType("Q6_K", 256, 210, 16),
    GGUFType("Q5_K", 256, 176, 32),
    GGUFType("Q4_K", 256, 144, 32),
    GGUFType("Q3_K", 256, 110, 16),
    GGUFType("Q2_K", 256, 84, 16),
    GGUFType("Q5_1", 32, 24, 32),
    GGUFType("Q5_0", 32, 22, 32),
    GGUFType("Q4_1", 32, 20, 32),
    GGUFType("Q4_0", 32, 18, 32),
    GGUFType("IQ4_NL", 32, 18, 32),
    GGUFType("IQ4_XS", 256, 136, 32),
    GGUFType("IQ3_S", 256, 110, 32),
    GGUFType("IQ3_XXS", 256, 98, 32, imatrix=True),
    GGUFType("IQ2_S", 256, 82, 16, "IQ2_M", imatrix=True),  # the argument IQ2_S stands for the type IQ2_XS
    GGUFType("IQ2_XS", 256, 74, 16, imatrix=True),
    GGUFType("IQ2_XXS", 256, 66, 32, imatrix=True),
    GGUFType("IQ1_M", 256, 56, 16, imatrix=True),
    GGUFType("IQ1_S", 256, 50, 32, imatrix=True),
    GGUFType("MXFP4", 32, 17, 32),
)
"""The types; of equal sizes the first is preferred: K-quants, then the older types, then code books."""
_BY_NAME = {each.name: each for each in GGUF_TYPES}
_OF_BITS = {8: "Q8_0", 7: "Q8_0", 6: "Q6_K", 5: "Q5_K", 4: "Q4_K", 3: "Q3_K", 2: "Q2_K"}
_SYMMETRIC = {5: "Q5_0", 4: "Q4_0"}
"""Types without a minimum, where that of ``_OF_BITS`` has one and an equal size has not."""


def nearest_gguf(bits_per_weight: float) -> GGUFType:
    """Find the largest type that is not above a size.

    Args:
        bits_per_weight: The size of block matrices, scales included: 4.25 for MXFP4.

    Raises:
        UsageError: if every type is larger.
    """
    fitting = [each for each in GGUF_TYPES if each.bits_per_weight <= bits_per_weight]
    if not fitting:
        least = min(each.bits_per_weight for each in GGUF_TYPES)
        raise UsageError(f"expected at least {least} bits per weight for a GGUF file, got {bits_per_weight}")
    return max(fitting, key=lambda each: each.bits_per_weight)


def gguf_of_grid(bits: int, symmetric: bool) -> GGUFType:
    """Return the type whose codes are nearest to those of an integer grid: as many bits, seven rounded up to eight."""
    return _BY_NAME[_SYMMETRIC.get(bits, _OF_BITS[bits]) if symmetric else _OF_BITS[bits]]


def gguf_named(name: str) -> GGUFType:
    """Return a type by its name in ggml."""
    return _BY_NAME[name]
