"""Plan mixed precision: choose bits on validation windows, and check the plan there and on test windows.

``landscape.anatomy.bit_choice`` makes the choice; this module measures the points that it chooses from, and the point
that comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from landscape.anatomy.bit_choice import Choice, Option, choose, choose_in_size, for_members, joint_options
from landscape.anatomy.bit_options import checked, mixed_point, options_plan, stored_bytes, tensor_options
from landscape.anatomy.effects import Additivity, in_block_order
from landscape.anatomy.size_limit import SizeLimit
from landscape.estimators.intervals import Estimate, article_count
from landscape.estimators.loss_limit import Limit
from landscape.positions.fused_layers import fused_groups
from landscape.positions.position import CENTER, At, Position, with_parts
from landscape.positions.selection import tensor_selection
from landscape.probing.losses import Probes
from landscape.probing.plan import ProbePlan, Window, blocks_of
from landscape.session.point_maker import point_label
from landscape.session.subject import JUDGED_SPLIT
from quant.center import Center
from quant.errors import UsageError
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.size import PLAIN_BITS, matrix_bytes
from quant.space import WeightSpace

FLOAT_BITS = PLAIN_BITS
"""Bits of a tensor that is left as it is."""


@dataclass(frozen=True)
class PlanGoal:
    """The plan that is wanted."""

    limit: Limit
    """The limit of ΔL: of the predicted one, or where the size is given, of the measured one alone."""
    size: SizeLimit | None = None
    """The size that the plan must keep, with the least predicted ΔL; None for the fewest bytes under the limit."""
    fused: bool = True
    """Whether matrices that servers load as one have one bit width: see ``landscape.positions.fused_layers``."""

    def groups(self, names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
        """Divide tensors into groups of one bit width."""
        return fused_groups(names) if self.fused else tuple((name,) for name in names)

    def choose(self, options: Mapping[str, Sequence[Option]], weights: int) -> Choice:
        """Choose among the options of every tensor; all tensors of a group get the choice of the group.

        The rises within a group are added as those of different groups are, so that a group needs no probe of its own.

        Args:
            options: The options of each tensor.
            weights: Number of weights in all tensors.

        Raises:
            UsageError: if no choice keeps the limit, or the size.
        """
        groups = self.groups(options)
        joint = joint_options(options, groups)
        if self.size is None:
            return for_members(choose(joint, self.limit.nats), groups)
        return for_members(choose_in_size(joint, self.size.most_bytes(weights)), groups)


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
    scheme: QuantScheme | None = None
    """Its grid; None in a run that was kept before grids were."""


@dataclass(frozen=True)
class BitPlan:
    """Bits of each tensor, and their cost: predicted and measured."""

    limit: Limit
    """The limit of the predicted ΔL; of a plan for a size, the limit that judges the measured ΔL alone."""
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
    size: SizeLimit | None = None
    """The size that the plan keeps with the least predicted ΔL; None if it has the fewest bytes under the limit."""
    fused: bool = False
    """Whether matrices that servers load as one have one bit width."""
    method: str = ""
    """Method that made the points; empty in a run that was kept before it was."""

    @property
    def float_bytes(self) -> int:
        """Size of all tensors in 16 bits."""
        return self.weights * FLOAT_BITS // 8

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The tensors, in groups that were given one bit width."""
        return PlanGoal(self.limit, self.size, self.fused).groups(self.bits)

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


def check_size(space: WeightSpace, schemes: Sequence[QuantScheme], size: SizeLimit) -> None:
    """Check that a plan of some bit widths can be as small as it must.

    Args:
        space: The weight space.
        schemes: The grids to choose from.
        size: The size to keep.

    Raises:
        UsageError: if the smallest of them takes more throughout, saying what it takes.
    """
    sizes = {scheme: sum(matrix_bytes(slot, scheme) for slot in space) for scheme in schemes}
    smallest = min(sizes, key=lambda scheme: sizes[scheme])
    if sizes[smallest] > size.most_bytes(space.dimension):
        takes = math.ceil(Fraction(8 * sizes[smallest] * 10**4, space.dimension)) / 10**4  # a size that does
        raise UsageError(
            f"expected a --size that some choice of --plan-bits keeps, got {size.text}: {smallest} throughout takes "
            f"{takes:g}bpw; use --size {takes:g}bpw or more, or offer fewer bits"
        )


def plan_bits(
    run: Callable[[ProbePlan, Mapping[str, WeightPoint]], Probes],
    space: WeightSpace,
    center: Center,
    points: Mapping[str, WeightPoint],
    windows: Mapping[str, tuple[Window, ...]],
    goal: PlanGoal,
) -> BitPlan:
    """Choose the bits of each tensor on validation windows, make the point, and measure it there and on test windows.

    Args:
        run: Evaluates a plan and the points that it names, and returns all results so far.
        space: The weight space.
        center: The pretrained weights.
        points: The points to choose from, by label; each on one grid.
        windows: Windows of both splits.
        goal: The plan that is wanted.

    Raises:
        UsageError: before anything is evaluated, see ``check_windows`` and ``check_size``; later, if no choice keeps
            the limit.
        PointError: if a point is on no grid.
    """
    check_windows(windows[JUDGED_SPLIT])
    if goal.size is not None:
        check_size(space, [_scheme(point) for point in points.values()], goal.size)
    probes = run(options_plan(space, points, windows[JUDGED_SPLIT]), {})
    choice = goal.choose(tensor_options(probes, JUDGED_SPLIT, space, points), space.dimension)
    mixed = mixed_point(choice, points, center)
    label = point_label(mixed, space)
    for split, some in windows.items():
        singles = _singles(space, choice) if split != JUDGED_SPLIT else []
        wholes = [At(CENTER), At(label), *map(At, points)]
        probes = run(in_block_order(space, [*wholes, *singles], some), {label: mixed})
    widths = {label: _scheme(point).bits for label, point in points.items()} | {CENTER: FLOAT_BITS}
    return BitPlan(
        limit=goal.limit,
        bits={slot.name: widths[choice.labels[slot.name]] for slot in space},
        bytes=choice.bytes,
        predicted=choice.rise,
        checks={split: checked(probes, split, space, choice, label) for split in windows},
        uniform=tuple(_uniform(probes, windows, space, each, point) for each, point in points.items()),
        weights=space.dimension,
        size=goal.size,
        fused=goal.fused,
        method=next((point.method for point in points.values()), ""),
    )


def _uniform(probes: Probes, splits: Iterable[str], space: WeightSpace, label: str, point: WeightPoint) -> Uniform:
    """Describe one bit width in every tensor."""
    scheme = _scheme(point)
    size = sum(stored_bytes(point, slot) for slot in space)
    return Uniform(point.name, scheme.bits, size, {split: probes.rise(label, split) for split in splits}, scheme)


def _singles(space: WeightSpace, choice: Choice) -> list[Position]:
    """Return the positions of each quantized tensor of a plan alone on w."""
    quantized = (slot for slot in space if choice.labels[slot.name] != CENTER)
    return [with_parts(choice.labels[slot.name], slots=tensor_selection(slot)) for slot in quantized]


def _scheme(point: WeightPoint) -> QuantScheme:
    assert point.scheme is not None  # the points of a plan are on one grid each
    return point.scheme
