"""Choose the bits of each tensor so that the predicted loss stays under a limit with the fewest bytes.

The prediction assumes that costs add: ΔL of the whole is the sum of the ΔL of each tensor's Δw alone
(``landscape.anatomy.effects.Additivity`` says how nearly). The choice is then a multiple-choice knapsack: take one
option for each tensor, so that the sum of ΔL is within the limit and the bytes are fewest. It is solved exactly, over
the Pareto front of bytes and loss (Nemhauser and Ullmann 1969): a choice for the first i tensors is dropped where
another takes no more bytes and loses no more, because no choice for the remaining tensors makes up for that. The front
holds at most one choice for each total of bytes, and the totals are few, because the sizes of weight matrices have
large common divisors: some thousands for the 210 tensors of a 135M model.

The plan is a point whose matrices come from other points, and it is measured like any point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.anatomy.effects import Additivity, additivity, in_block_order
from landscape.estimators.intervals import paired_difference, paired_error
from landscape.positions.position import CENTER, At, Position, with_parts
from landscape.positions.selection import tensor_selection
from landscape.probing.losses import Probes
from landscape.probing.plan import ProbePlan, Window
from quant.center import Center
from quant.errors import PointError, UsageError
from quant.point import PointTensor, WeightPoint
from quant.space import Slot, WeightSpace

FLOAT_BYTES = 2
"""Bytes of a weight that is not quantized: models are released in 16 bits."""
SCALE_BYTES = 4
"""Bytes of a scale, and of a zero: they are float32. Those of a float format are as its files store them."""
MARGIN = 1.0
"""Standard errors that are added to each measured ΔL.

A choice among hundreds of noisy numbers prefers those that came out too low. On opt-nano, for four limits, two scales
and costs from four and from eight windows, 2 of 16 plans from the bare values kept their limit on other windows, and
some lost more than int4 throughout with no fewer bytes; with one standard error added 14 of 16 kept it. The number was
chosen after these results were seen, so they do not validate it.
"""


@dataclass(frozen=True)
class Option:
    """One way to store one tensor."""

    label: str
    """Label of the point that the tensor is taken from; ``w`` to leave it as it is."""
    bytes: int
    """Size of the tensor in this form."""
    rise: float
    """ΔL that the choice counts for it, in nats per token."""


@dataclass(frozen=True)
class Choice:
    """One option for each tensor."""

    labels: Mapping[str, str]
    """Label of the point that each tensor is taken from, by the slot's name."""
    bytes: int
    """Size of all tensors."""
    rise: float
    """Predicted ΔL: the sum of the options' ΔL that are above 0."""


def choose(options: Mapping[str, Sequence[Option]], limit: float) -> Choice:
    """Choose an option for each tensor: the fewest bytes with a predicted ΔL within a limit; on a tie, the least ΔL.

    A ΔL below 0 counts as 0: a tensor whose rounding happened to help on a few windows does not make up for the harm of
    another.

    Args:
        options: The options of each tensor, at least one.
        limit: Largest ΔL, in nats per token.

    Raises:
        UsageError: if no choice is within the limit.
    """
    least = math.fsum(min(max(option.rise, 0.0) for option in of_one) for of_one in options.values())
    size, loss = np.zeros(1, np.int64), np.zeros(1)
    steps: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []  # by tensor: the choice extended, the option
    for of_one in options.values():
        sizes = (size[:, None] + np.array([option.bytes for option in of_one])).ravel()
        losses = (loss[:, None] + np.array([max(option.rise, 0.0) for option in of_one])).ravel()
        order = np.lexsort((losses, sizes))
        best_before = np.concatenate([[np.inf], np.minimum.accumulate(losses[order])[:-1]])
        front = order[(losses[order] < best_before) & (losses[order] <= limit)]
        if not len(front):
            raise UsageError(
                f"expected a limit of ΔL that some choice of bits keeps, got {limit:.4g}; the least is {least:.4g}: "
                "raise the limit, or offer more bits or another scale"
            )
        size, loss = sizes[front], losses[front]
        steps.append((front // len(of_one), front % len(of_one)))
    return _chosen(options, steps)


def _chosen(
    options: Mapping[str, Sequence[Option]], steps: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> Choice:
    """Walk back from the choice with the fewest bytes, the first in the last front."""
    place, taken = 0, {}
    for (name, of_one), (extended, option) in zip(reversed([*options.items()]), reversed(steps), strict=True):
        taken[name] = of_one[int(option[place])]
        place = int(extended[place])
    in_order = {name: taken[name] for name in options}
    return Choice(
        {name: option.label for name, option in in_order.items()},
        sum(option.bytes for option in in_order.values()),
        math.fsum(max(option.rise, 0.0) for option in in_order.values()),
    )


# ---- from measured losses -------------------------------------------------------------------------------------------


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
            Option(CENTER, FLOAT_BYTES * slot.size, 0.0),
        )
        for slot in space
    }


def stored_bytes(point: WeightPoint, slot: Slot) -> int:
    """Count the bytes of a matrix of a point: packed codes, scales and zeros.

    Raises:
        PointError: if it is on no grid.
    """
    if point.scheme is None:
        raise PointError(f"expected a point on a grid, got {point.name}, whose bit width is not known")
    grid = point.grid_tensor(slot).grid
    codes = -(-slot.size * point.scheme.bits // 8)
    if (form := point.scheme.float_format) is not None:
        return codes + -(-(form.scale_bits * grid.scale.numel() + form.matrix_bits) // 8)
    shared = grid.scale.numel() * (1 if grid.zero is None else 2)
    return codes + SCALE_BYTES * shared


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
