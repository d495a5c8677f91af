"""Describe a grid before any weight is seen: bit width, kind of scale, granularity, or the name of a float format.

Xu et al. 2024, §3.2: symmetric narrow range {−2^(B−1)+1, …, 2^(B−1)−1}, so int2 is ternary; one scale per tensor.
Other choices are finer granularities, the asymmetric min-max grid of the GPTQ paper for comparison, and the float
formats of ``quant.float_format``, whose levels and scales are given.
The grids themselves, which hold tensors, are in ``quant.grid``; this module imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from quant.errors import UsageError
from quant.float_format import FLOAT_FORMATS, FloatFormat

if TYPE_CHECKING:
    from quant.space import Slot

Scale = Literal["exact", "histogram", "histogram-torch", "absmax", "mse"]
"""Ways to find the scale of a grid: see ``quant.scale``."""
StraightThrough = Literal["identity", "masked"]
"""Gradient of the rounding: see ``quant.grid.fake_quantize``."""

Width = int | str
"""Bit width of an integer grid, or name of a float format: ``4``, ``"nvfp4"``."""

MIN_BITS, MAX_BITS = 2, 8
LARGEST_GROUP = 10**9 - 1
"""Largest number of inputs in a group; no matrix has as many."""
WIDTHS = f"bits from {MIN_BITS} to {MAX_BITS}, or a float format from {', '.join(FLOAT_FORMATS)}"
"""Words for all that a ``Width`` may be."""


@dataclass(frozen=True)
class QuantScheme:
    """The grid on which weights are rounded."""

    bits: int
    """Bit width B, 2 to 8."""
    scale: Scale = "exact"
    """Way to find the scale: see ``quant.scale``."""
    granularity: str = "tensor"
    """Weights that share a scale: ``tensor`` (all), ``channel`` (an output's) or ``group:N`` (N inputs of one)."""
    symmetric: bool = True
    """Whether zero is the middle of the grid; else the grid spans the weights from least to greatest."""
    format: str | None = None
    """Name of a float format, which determines all other fields: see ``of_format``; None for an integer grid."""

    def __post_init__(self) -> None:
        if self.format is not None:
            self._check_format()
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise UsageError(f"expected bits from {MIN_BITS} to {MAX_BITS}, got {self.bits}")
        if self.scale not in get_args(Scale):
            raise UsageError(f"expected one of {', '.join(get_args(Scale))} as scale, got {self.scale!r}")
        if not re.fullmatch(r"tensor|channel|group:[1-9][0-9]*", self.granularity):
            raise UsageError(f"expected granularity tensor, channel or group:N, got {self.granularity!r}")
        if len(self.granularity) > len(f"group:{LARGEST_GROUP}"):
            raise UsageError(
                f"expected groups of at most {LARGEST_GROUP} inputs, got {self.granularity[:40]}; use channel, which "
                "puts all inputs of an output into one group"
            )
        if not self.symmetric and self.scale != "absmax":
            raise UsageError(
                f"expected the scale absmax (--scale) for an asymmetric grid, which clips nothing, got {self.scale!r}"
            )

    def _check_format(self) -> None:
        form = find_format(str(self.format))
        wanted = (form.bits, "absmax", form.granularity, True)
        found = (self.bits, self.scale, self.granularity, self.symmetric)
        if found != wanted:
            raise UsageError(
                f"expected bits, scale, granularity and symmetry {wanted} of {self.format}, got {found}; a float "
                "format has no other"
            )

    @classmethod
    def of_format(cls, name: str) -> QuantScheme:
        """Return the scheme of a float format: its scales put the largest weight at the largest level, then round.

        Raises:
            UsageError: for an unknown name.
        """
        form = find_format(name)
        return cls(form.bits, "absmax", form.granularity, True, name)

    @property
    def float_format(self) -> FloatFormat | None:
        """Levels and scales of its float format; None for an integer grid."""
        return None if self.format is None else FLOAT_FORMATS[self.format]

    @property
    def record(self) -> dict[str, Any]:
        """Fields for JSON; an integer grid has no ``format`` among them, as before there were float formats."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("format", None)}

    def check_fits(self, slots: Iterable[Slot]) -> None:
        """Check that whole groups of a float format cover the inputs of every matrix.

        On an integer grid the last group of an output may be smaller. The float formats have no such group.

        Raises:
            UsageError: naming the first matrix whose inputs they do not cover.
        """
        group = self.group
        for slot in slots if self.format and group else ():
            if group and slot.inputs % group:
                raise UsageError(
                    f"expected groups of {group} inputs in every matrix for {self.format}, got {slot.inputs} inputs in "
                    f"{slot.name}; leave such matrices out with --exclude, or use an integer width or fp8"
                )

    @property
    def low(self) -> int:
        """Smallest code."""
        return -self.high if self.symmetric else -self.high - 1

    @property
    def high(self) -> int:
        """Largest code."""
        return int(2 ** (self.bits - 1)) - 1 if self.float_format is None else self.float_format.high

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
        """All but the bit width: ``exact``, ``absmax-per-group128``; the name of a float format."""
        if self.format is not None:
            return self.format
        per = "" if self.granularity == "tensor" else f"-per-{self.granularity.replace(':', '')}"
        return f"{self.scale}{per}{'' if self.symmetric else '-asymmetric'}"

    @classmethod
    def of_grid(cls, bits: int, grid: str) -> QuantScheme:
        """Read the scheme back from its bit width and ``grid``.

        Raises:
            UsageError: if that is not the name of a grid.
        """
        if grid in FLOAT_FORMATS:
            return cls.of_format(grid)
        form = r"(?P<scale>[a-z-]+?)(-per-(?P<unit>channel|group)(?P<size>\d*))?(?P<asymmetric>-asymmetric)?"
        found = re.fullmatch(form, grid)
        if found is None:
            raise UsageError(f"expected the name of a grid such as absmax-per-group128, got {grid!r}")
        size = f":{found['size']}" if found["size"] else ""
        granularity = f"{found['unit']}{size}" if found["unit"] else "tensor"
        return cls(bits, found["scale"], granularity, found["asymmetric"] is None)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return grid_label(self.bits, self.grid)


def find_format(name: str) -> FloatFormat:
    """Return a float format.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in FLOAT_FORMATS:
        raise UsageError(f"expected a float format from {', '.join(FLOAT_FORMATS)}, got {name!r}")
    return FLOAT_FORMATS[name]


def read_width(text: str) -> Width:
    """Read a bit width or the name of a float format.

    Raises:
        UsageError: if it is neither.
    """
    if text in FLOAT_FORMATS:
        return text
    if re.fullmatch("0*[0-9]", text) and MIN_BITS <= int(text[-1]) <= MAX_BITS:
        return int(text[-1])
    raise UsageError(f"expected {WIDTHS}, got {text[:80]!r}")


def width_bits(width: Width) -> int:
    """Return the bits of a code.

    Raises:
        UsageError: for an unknown name.
    """
    return find_format(width).bits if isinstance(width, str) else width


def width_name(width: Width) -> str:
    """Return the short name of a grid: ``int4``, ``nvfp4``."""
    return width if isinstance(width, str) else f"int{width}"


def width_label(bits: int | None, grid: str | None) -> str:
    """Return the short name of a grid from its bit width and ``QuantScheme.grid``: ``int4``, ``nvfp4``."""
    return grid if grid is not None and grid in FLOAT_FORMATS else f"int{bits}"


def grid_label(bits: int | None, grid: str | None, between: str = "-") -> str:
    """Return the name of a grid from its bit width and ``QuantScheme.grid``: ``int4-exact``, ``nvfp4``."""
    name = width_label(bits, grid)
    return name if name == grid else f"{name}{between}{grid}"
