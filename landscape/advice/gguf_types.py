"""Tabulate the tensor types of llama.cpp that are nearest to a grid: bits per weight, and blocks.

Block layouts are those of ggml/src/ggml-common.h (ggml-org/llama.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass


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
    GGUFType("Q5_0", 32, 22, 32),
    GGUFType("Q4_0", 32, 18, 32),
    GGUFType("MXFP4", 32, 17, 32),
)
"""The types that ``gguf_of_grid`` and ``gguf_named`` return."""
_BY_NAME = {each.name: each for each in GGUF_TYPES}
_OF_BITS = {8: "Q8_0", 7: "Q8_0", 6: "Q6_K", 5: "Q5_K", 4: "Q4_K", 3: "Q3_K", 2: "Q2_K"}
_SYMMETRIC = {5: "Q5_0", 4: "Q4_0"}
"""Types without a minimum, where that of ``_OF_BITS`` has one and an equal size has not."""


def gguf_of_grid(bits: int, symmetric: bool) -> GGUFType:
    """Return the type whose codes are nearest to those of an integer grid: as many bits, seven rounded up to eight."""
    return _BY_NAME[_SYMMETRIC.get(bits, _OF_BITS[bits]) if symmetric else _OF_BITS[bits]]


def gguf_named(name: str) -> GGUFType:
    """Return a type by its name in ggml."""
    return _BY_NAME[name]
