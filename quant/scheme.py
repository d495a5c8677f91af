"""Describe an integer grid before any weight is seen: bit width, kind of scale, granularity.

Xu et al. 2024, §3.2: symmetric narrow range {−2^(B−1)+1, …, 2^(B−1)−1}, so int2 is ternary; one scale per tensor.
Other choices are finer granularities, and the asymmetric min-max grid of the GPTQ paper for comparison.
The grids themselves, which hold tensors, are in ``quant.grid``; this module imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from quant.errors import UsageError

if TYPE_CHECKING:
    from quant.space import Slot

Scale = Literal["exact", "histogram", "histogram-torch", "absmax", "mse"]
"""Ways to find the scale of a grid: see ``quant.scale``."""
StraightThrough = Literal["identity", "masked"]
"""Gradient of the rounding: see ``quant.grid.fake_quantize``."""

MIN_BITS, MAX_BITS = 2, 8


@dataclass(frozen=True)
class QuantScheme:
    """The integer grid on which weights are rounded."""

    bits: int
    """Bit width B, 2 to 8."""
    scale: Scale = "exact"
    """Way to find the scale: see ``quant.scale``."""
    granularity: str = "tensor"
    """Weights that share a scale: ``tensor`` (all), ``channel`` (an output's) or ``group:N`` (N inputs of one)."""
    symmetric: bool = True
    """Whether zero is the middle of the grid; else the grid spans the weights from least to greatest."""

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise UsageError(f"expected bits from {MIN_BITS} to {MAX_BITS}, got {self.bits}")
        if self.scale not in get_args(Scale):
            raise UsageError(f"expected one of {', '.join(get_args(Scale))} as scale, got {self.scale!r}")
        if not re.fullmatch(r"tensor|channel|group:[1-9]\d*", self.granularity):
            raise UsageError(f"expected granularity tensor, channel or group:N, got {self.granularity!r}")
        if not self.symmetric and self.scale != "absmax":
            raise UsageError(
                f"expected the scale absmax (--scale) for an asymmetric grid, which clips nothing, got {self.scale!r}"
            )

    @property
    def low(self) -> int:
        """Smallest code."""
        return -self.high if self.symmetric else -self.high - 1

    @property
    def high(self) -> int:
        """Largest code."""
        return int(2 ** (self.bits - 1)) - 1

    @property
    def group(self) -> int | None:
        """Number of inputs that share a scale; None if all do."""
        _, _, size = self.granularity.partition(":")
        return int(size) if size else None

    def scale_shape(self, slot: Slot) -> tuple[int, int]:
        """Return the shape of the scales of a matrix, laid out as the matrix is stored."""
        if self.granularity == "tensor":
            return 1, 1
        inputs = slot.shape[slot.input_dim]
        groups = 1 if self.group is None else -(-inputs // self.group)
        outputs = slot.shape[1 - slot.input_dim]
        return (groups, outputs) if slot.transposed else (outputs, groups)

    @property
    def grid(self) -> str:
        """All but the bit width: ``exact``, ``absmax-per-group128``."""
        per = "" if self.granularity == "tensor" else f"-per-{self.granularity.replace(':', '')}"
        return f"{self.scale}{per}{'' if self.symmetric else '-asymmetric'}"

    @classmethod
    def of_grid(cls, bits: int, grid: str) -> QuantScheme:
        """Read the scheme back from its bit width and ``grid``.

        Raises:
            UsageError: if that is not the name of a grid.
        """
        form = r"(?P<scale>[a-z-]+?)(-per-(?P<unit>channel|group)(?P<size>\d*))?(?P<asymmetric>-asymmetric)?"
        found = re.fullmatch(form, grid)
        if found is None:
            raise UsageError(f"expected the name of a grid such as absmax-per-group128, got {grid!r}")
        size = f":{found['size']}" if found["size"] else ""
        granularity = f"{found['unit']}{size}" if found["unit"] else "tensor"
        return cls(bits, found["scale"], granularity, found["asymmetric"] is None)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"int{self.bits}-{self.grid}"
