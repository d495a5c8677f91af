"""Hold what happened to each matrix of a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LayerResult:
    """One matrix of the weight space at one point."""

    name: str
    """Name of the matrix in the model."""
    block: int | None
    """Index of its decoder block."""
    kind: str
    """Its type: the name without the block, such as ``self_attn.q_proj``."""
    weights: int
    """Number of its weights."""
    norm: float
    """‖W‖."""
    distance: float
    """‖ΔW‖."""
    zeros: float | None
    """Share of its codes that stand for 0; None off the grid."""
    clipped: float | None
    """Share of the weights of w that lie outside of the range of its grid; None off the grid."""
    damping: float | None = None
    """Damping that GPTQ chose; None for other methods, and where the matrix keeps the codes of RTN."""
    error: Mapping[str, float] = field(default_factory=dict)
    """‖ΔW x‖²/n on full-precision inputs, by split: squared output error per token, summed over the outputs. ``train``
    is the windows that calibrate, where a method does. Empty unless measured, and for an expert without tokens."""
