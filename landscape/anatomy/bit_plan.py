"""Plan mixed precision: choose bits on validation windows, and check the plan there and on test windows.

``landscape.anatomy.bit_choice`` makes the choice; this module measures the points that it chooses from, and the point
that comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from landscape.anatomy.bit_choice import (
    FLOAT_BYTES,
    Choice,
    checked,
    choose,
    mixed_point,
    options_plan,
    stored_bytes,
    tensor_options,
)
from landscape.anatomy.effects import Additivity, in_block_order
from landscape.estimators.intervals import Estimate, article_count
from landscape.estimators.loss_limit import Limit
from landscape.positions.position import CENTER, At, Position, with_parts
from landscape.positions.selection import tensor_selection
from landscape.probing.losses import Probes
from landscape.probing.plan import ProbePlan, Window, blocks_of
from landscape.session.point_maker import point_label
from landscape.session.subject import JUDGED_SPLIT
from quant.center import Center
from quant.errors import UsageError
from quant.point import WeightPoint
from quant.space import WeightSpace

FLOAT_BITS = 8 * FLOAT_BYTES


@dataclass(frozen=True)
class Uniform:
    """One bit width in every tensor."""

    name: str
    """Name of its point."""
    bits: int
    bytes: int
    """Size of all tensors."""
    rise: Mapping[str, Estimate]
    """ΔL by split."""


@dataclass(frozen=True)
class BitPlan:
    """Bits of each tensor, and their cost: predicted and measured."""

    limit: Limit
    """The limit of the predicted ΔL."""
    bits: Mapping[str, int]
    """Bits by the tensor's name; 16 where it is left as it is."""
    bytes: int
    """Size of all tensors."""
    predicted: float
    """ΔL that the choice counted on: the sum of the tensors' own ΔL, each with its margin for noise."""
    checks: Mapping[str, Additivity]
    """By split: the sum of the tensors' own ΔL, without margin, beside the measured ΔL of the plan."""
    uniform: tuple[Uniform, ...]
    """For comparison: one bit width throughout."""
    weights: int
    """Number of weights in the tensors."""

    @property
    def float_bytes(self) -> int:
        """Size of all tensors in 16 bits."""
        return self.weights * FLOAT_BYTES

    @property
    def mean_bits(self) -> float:
        """Mean bits of a weight, scales and zeros included."""
        return 8 * self.bytes / self.weights

    def kept(self, split: str) -> bool:
        """Check whether the whole interval of the measured ΔL is within the limit."""
        return self.limit.keeps(self.checks[split].whole)


def check_windows(windows: Sequence[Window]) -> None:
    """Check that the windows of a plan show how noisy a tensor's cost is, because each cost counts with that margin.

    With a single window or article the margin is infinite, and the plan would leave all tensors as they are.

    Raises:
        UsageError: if there is a single window, or all windows lie in one article.
    """
    articles = article_count(blocks_of(windows))
    if (len(windows) if articles is None else articles) < 2:
        got = "1 window" if len(windows) == 1 else f"{len(windows)} windows of one"
        raise UsageError(
            f"expected validation windows of at least two articles for a plan of bits, got {got}, which do not show "
            "how noisy a tensor's cost is; use more --windows"
        )


def plan_bits(
    run: Callable[[ProbePlan, Mapping[str, WeightPoint]], Probes],
    space: WeightSpace,
    center: Center,
    points: Mapping[str, WeightPoint],
    windows: Mapping[str, tuple[Window, ...]],
    limit: Limit,
) -> BitPlan:
    """Choose the bits of each tensor on validation windows, make the point, and measure it there and on test windows.

    Args:
        run: Evaluates a plan and the points that it names, and returns all results so far.
        space: The weight space.
        center: The pretrained weights.
        points: The points to choose from, by label; each on one grid.
        windows: Windows of both splits.
        limit: The limit of the predicted ΔL.

    Raises:
        UsageError: before anything is evaluated, see ``check_windows``; later, if no choice keeps the limit.
        PointError: if a point is on no grid.
    """
    check_windows(windows[JUDGED_SPLIT])
    probes = run(options_plan(space, points, windows[JUDGED_SPLIT]), {})
    choice = choose(tensor_options(probes, JUDGED_SPLIT, space, points), limit.nats)
    mixed = mixed_point(choice, points, center)
    label = point_label(mixed, space)
    for split, some in windows.items():
        singles = _singles(space, choice) if split != JUDGED_SPLIT else []
        wholes = [At(CENTER), At(label), *map(At, points)]
        probes = run(in_block_order(space, [*wholes, *singles], some), {label: mixed})
    widths = {label: _bits(point) for label, point in points.items()} | {CENTER: FLOAT_BITS}
    return BitPlan(
        limit=limit,
        bits={name: widths[taken] for name, taken in choice.labels.items()},
        bytes=choice.bytes,
        predicted=choice.rise,
        checks={split: checked(probes, split, space, choice, label) for split in windows},
        uniform=tuple(
            Uniform(
                point.name,
                widths[each],
                sum(stored_bytes(point, slot) for slot in space),
                {split: probes.rise(each, split) for split in windows},
            )
            for each, point in points.items()
        ),
        weights=space.dimension,
    )


def _singles(space: WeightSpace, choice: Choice) -> list[Position]:
    """Return the positions of each quantized tensor of a plan alone on w."""
    quantized = (slot for slot in space if choice.labels[slot.name] != CENTER)
    return [with_parts(choice.labels[slot.name], slots=tensor_selection(slot)) for slot in quantized]


def _bits(point: WeightPoint) -> int:
    assert point.scheme is not None  # the points of a plan are on one grid each
    return point.scheme.bits
