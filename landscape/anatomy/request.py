"""Request an anatomy: which point, and how closely to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from landscape.anatomy.size_limit import SizeLimit
from landscape.estimators.loss_limit import Limit
from landscape.session.bounds import DIRECTIONS
from landscape.session.point_methods import METHODS, find_method, listed
from landscape.session.point_specs import PointSpec, scheme_of
from landscape.session.presets import PRESETS, Preset
from landscape.session.request import LAST, PointRequest, ProbingRequest, option
from quant.errors import UsageError
from quant.scheme import Width

Grouping = Literal["block", "type", "tensor"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
"""Groups of tensors whose Δw is applied alone."""
ON_GRID = tuple(row for row in METHODS.values() if row.on_grid)
"""Methods whose points lie on a grid of the weights, so that their clipping is known."""


@dataclass(frozen=True, kw_only=True)
class AnatomyRequest(PointRequest, ProbingRequest):
    """The point of an anatomy, and how closely to look at it."""

    bits: Width = option("--bits", "-b", default=8)
    """Bit width, 2 to 8, or a float format: nvfp4, mxfp4 or fp8."""
    method: str = option(default="rtn", choices=listed(ON_GRID, "or"))
    """Method that makes the point."""
    directions: int = option("--directions", "-d", default=4, least=2, most=DIRECTIONS)
    """Random directions of each family."""
    groups: tuple[Grouping, ...] = option(default=(), unset="block,type; all on small models")
    """Apply Δw to one group of tensors at a time: some of block, type, tensor, comma-separated."""
    layer_radii: bool | None = option(default=None, unset="of blocks and types of small models")
    """Measure R within each block and matrix type; if given explicitly, on a small model also within each tensor."""
    plan_bits: tuple[int, ...] = option(default=(), unset="no plan")
    """Bit widths of a mixed-precision plan, such as 8,6,4,3: the smallest plan under --limit, or the best of --size."""
    size: SizeLimit | None = option(default=None, metavar="4.25bpw", unset="the smallest under --limit")
    """Size of the plan, in bits per weight of the matrices, scales included: take the plan with the least predicted
    loss that keeps it; --limit then only judges the measured loss."""
    fused: bool = True
    """Give matrices that servers load as one (q, k, v; gate, up; a layer's experts) one bit width in a plan;
    --no-fused: each its own, for engines that keep them apart, such as llama.cpp."""
    limit: Limit = option("--limit", "-l", factory=lambda: Limit.parse("ppl+5%"))
    """The loss that you accept: ppl+5% (perplexity), or nll+0.05 (nats per token)."""
    preset: Preset = option(
        factory=lambda: PRESETS["quick"],
        rank=LAST,
        numbers=(
            "validation_windows",
            "test_windows",
            "seq_len",
            "calibration_windows",
            "qaft_examples",
            "qaft_epochs",
            "qaft_rates",
        ),
    )
    """quick, standard or paper: gives the numbers under "Set by --preset" that you do not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not find_method(self.method).on_grid:
            raise UsageError(
                f"expected a method that leaves the weights on a grid, whose clipping is known, got {self.method}; "
                f"use {', '.join(row.name for row in ON_GRID)}"
            )
        if self.directions < 2:
            raise UsageError(f"expected at least 2 directions, whose spread is the yardstick, got {self.directions}")
        for name in self.groups:
            if name not in GROUPINGS:
                raise UsageError(f"expected groups from {', '.join(GROUPINGS)}, got {name!r}")
        if self.plan_bits and isinstance(self.bits, str):
            raise UsageError(
                f"expected a bit width as --bits with --plan-bits, whose points share its kind of grid, got "
                f"{self.bits}; leave --plan-bits out"
            )
        if self.size is not None and not self.plan_bits:
            raise UsageError(
                f"expected --plan-bits with --size, got --size {self.size.text} alone; add bit widths to choose from, "
                "such as --plan-bits 8,4,3"
            )
        _ = self.offered  # refuses now a bit width that is out of range

    @property
    def offered(self) -> tuple[PointSpec, ...]:
        """The points whose tensors a plan may take: the same method and grid at each of its bit widths."""
        return tuple(
            PointSpec(self.method, scheme_of(bits, self.scale, self.granularity, self.symmetric))
            for bits in sorted(set(self.plan_bits), reverse=True)
        )
