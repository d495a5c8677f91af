"""Measure the options of every tensor that a plan of bits chooses from, and build the point that a choice describes.

The point's matrices come from other points, and it is measured like any point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from landscape.anatomy.bit_choice import Choice, Option
from landscape.anatomy.effects import Additivity, additivity, in_block_order
from landscape.estimators.intervals import paired_difference, paired_error
from landscape.positions.position import CENTER, At, Position, with_parts
from landscape.positions.selection import tensor_selection
from landscape.probing.losses import Probes
from landscape.probing.plan import ProbePlan, Window
from quant.center import Center
from quant.errors import PointError
from quant.point import PointTensor, WeightPoint
from quant.size import matrix_bytes
from quant.space import Slot, WeightSpace

MARGIN = 1.0
"""Standard errors that are added to each measured ΔL.

A choice among hundreds of noisy numbers prefers those that came out too low. On opt-nano, for four limits, two scales
and costs from four and from eight windows, 2 of 16 plans from the bare values kept their limit on other windows, and
some lost more than int4 throughout with no fewer bytes; with one standard error added 14 of 16 kept it. The number was
chosen after these results were seen, so they do not validate it.
"""


def options_plan(space: WeightSpace, labels: Iterable[str], windows: tuple[Window, ...]) -> ProbePlan:
    """Plan each tensor of each point alone on w: the ``tensor`` grouping of ``effects``, for several points."""
    positions = [with_parts(label, slots=tensor_selection(slot)) for label in labels for slot in space]
    return in_block_order(space, [At(CENTER), *positions], windows)


def tensor_options(
    probes: Probes, split: str, space: WeightSpace, points: Mapping[str, WeightPoint], margin: float = MARGIN
) -> dict[str, tuple[Option, ...]]:
    """List the options of every tensor: one from each point, and 16 bits as in ``w``.

    Args:
        probes: The results of ``options_plan``.
        split: Split of the windows.
        space: The weight space.
        points: Points on grids, by label.
        margin: Number of standard errors that are added to each ΔL.

    Raises:
        NotEvaluated: if a probe of the plan is missing.
        PointError: if a point is on no grid.
    """
    center, tokens, blocks = probes.totals(CENTER, split), probes.tokens(split), probes.blocks(split)

    def option(label: str, point: WeightPoint, slot: Slot) -> Option:
        totals = probes.totals(with_parts(label, slots=tensor_selection(slot)), split)
        cost = paired_difference(totals, center, tokens).value
        if margin and math.isfinite(cost):
            cost += margin * paired_error(totals, center, tokens, blocks).value
        return Option(label, stored_bytes(point, slot), cost)

    return {
        slot.name: (
            *(option(label, point, slot) for label, point in points.items()),
            Option(CENTER, matrix_bytes(slot, None), 0.0),
        )
        for slot in space
    }


def stored_bytes(point: WeightPoint, slot: Slot) -> int:
    """Count the bytes of a matrix of a point, as ``quant.size`` does: packed codes, scales and zero points.

    Raises:
        PointError: if it is on no grid.
    """
    if point.scheme is None:
        raise PointError(f"expected a point on a grid, got {point.name}, whose bit width is not known")
    return matrix_bytes(slot, point.scheme)


def mixed_point(choice: Choice, points: Mapping[str, WeightPoint], center: Center) -> WeightPoint:
    """Build the point that a choice describes, without a copy. It lies on several grids, so that it has no one scheme.

    Args:
        choice: The point that each tensor is taken from.
        points: The points, by label.
        center: The pretrained weights, for tensors that are left as they are.
    """
    sources = {**points, CENTER: WeightPoint(CENTER, None, _Floats(center))}
    names = {label: point.name for label, point in sources.items()}
    provenance = {
        "method": "mixed",
        "tensors": {name: names[label] for name, label in choice.labels.items()},
        "bytes": choice.bytes,
        "predicted rise": choice.rise,
    }
    return WeightPoint("mixed", None, _Chosen(choice.labels, sources), provenance)


def checked(probes: Probes, split: str, space: WeightSpace, choice: Choice, mixed: str) -> Additivity:
    """Compare the prediction of a plan with its measurement, on the windows that chose it or on others.

    Args:
        probes: Results of ``options_plan`` and of the plan's own point.
        split: Split of the windows.
        space: The weight space.
        choice: The plan.
        mixed: Label of the plan's point.

    Raises:
        NotEvaluated: if one of these results is missing.
    """
    quantized = [slot for slot in space if choice.labels[slot.name] != CENTER]
    singles: list[Position | str] = [
        with_parts(choice.labels[slot.name], slots=tensor_selection(slot)) for slot in quantized
    ]
    return additivity(probes, split, singles, mixed)


class _Floats(Mapping[str, PointTensor]):
    """The matrices of ``w``, in float32."""

    def __init__(self, center: Center) -> None:
        self._weights = center.weights

    def __getitem__(self, name: str) -> PointTensor:
        return self._weights[name].float()

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


class _Chosen(Mapping[str, PointTensor]):
    """Each matrix from a point of its own, read when it is asked for."""

    def __init__(self, labels: Mapping[str, str], sources: Mapping[str, WeightPoint]) -> None:
        self._labels, self._sources = labels, sources

    def __getitem__(self, name: str) -> PointTensor:
        return self._sources[self._labels[name]].parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)
