"""Choose the bits of each tensor: the fewest bytes with the predicted loss under a limit, or the least loss in a size.

The prediction assumes that costs add: ΔL of the whole is the sum of the ΔL of each tensor's Δw alone
(``landscape.anatomy.effects.Additivity`` says how nearly). The choice is then a multiple-choice knapsack: take one
option for each tensor, so that the sum of ΔL is within the limit and the bytes are fewest, or the other way round. It
is solved exactly, over the Pareto front of bytes and loss (Nemhauser and Ullmann 1969): a choice for the first i
tensors is dropped where another takes no more bytes and loses no more, because no choice for the remaining tensors
makes up for that. The front holds at most one choice for each total of bytes, and the totals are few, because the
sizes of weight matrices have large common divisors: some thousands for the 210 tensors of a 135M model. Its first
choice has the fewest bytes, its last one the least loss.

Tensors that must have one bit width are one tensor to the choice: their bytes and their ΔL are added.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.errors import UsageError


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
    steps = _front(options, limit, math.inf)
    if steps is None:
        least = math.fsum(min(_counted(option) for option in of_one) for of_one in options.values())
        raise UsageError(
            f"expected a limit of ΔL that some choice of bits keeps, got {limit:.4g}; the least is {least:.4g}: "
            "raise the limit, or offer more bits or another scale"
        )
    return _chosen(options, steps, 0)


def choose_in_size(options: Mapping[str, Sequence[Option]], most: int) -> Choice:
    """Choose an option for each tensor: the least predicted ΔL within a number of bytes; on a tie, the fewest bytes.

    It is the inverse of ``choose``, and ΔL counts as there.

    Args:
        options: The options of each tensor, at least one.
        most: Largest size of all tensors.

    Raises:
        UsageError: if no choice whose losses are finite is within the size.
    """
    steps = _front(options, math.inf, most)
    if steps is None:
        finite = ([option.bytes for option in of_one if math.isfinite(option.rise)] for of_one in options.values())
        least = sum(min(sizes, default=0) for sizes in finite)
        raise UsageError(
            f"expected a size that some choice of bits keeps, got {most:,} bytes; the least whose losses are finite "
            f"is {least:,}: raise the size, or offer fewer bits"
        )
    return _chosen(options, steps, -1)


def joint_options(
    options: Mapping[str, Sequence[Option]], groups: Iterable[tuple[str, ...]]
) -> dict[str, tuple[Option, ...]]:
    """Join the options of tensors that must take theirs from one point.

    Bytes add up, and so do rises: those of one group are added as those of different groups are, each counted as 0
    where it is below.

    Args:
        options: The options of each tensor, with the same labels in the same order for all tensors of a group.
        groups: Names of the tensors of each group.

    Returns:
        The options of each group, by the name of its first tensor.
    """
    return {
        group[0]: tuple(
            Option(alike[0].label, sum(o.bytes for o in alike), math.fsum(map(_counted, alike)))
            for alike in zip(*(options[name] for name in group), strict=True)
        )
        for group in groups
    }


def for_members(choice: Choice, groups: Iterable[tuple[str, ...]]) -> Choice:
    """Give every tensor of a group the label that was chosen for the group, which its first tensor names."""
    labels = {name: choice.labels[group[0]] for group in groups for name in group}
    return Choice(labels, choice.bytes, choice.rise)


_Step = tuple[NDArray[np.int64], NDArray[np.int64]]
"""For one tensor: the place in the front before it of the choice that is extended, and the option."""


def _front(options: Mapping[str, Sequence[Option]], limit: float, most: float) -> list[_Step] | None:
    """Walk over the tensors, and keep the choices that are within both bounds and that no other beats.

    Returns:
        The steps to walk back on, by tensor; None if no choice is within the bounds.
    """
    size, loss = np.zeros(1, np.int64), np.zeros(1)
    steps: list[_Step] = []
    for of_one in options.values():
        sizes = (size[:, None] + np.array([option.bytes for option in of_one])).ravel()
        losses = (loss[:, None] + np.array([_counted(option) for option in of_one])).ravel()
        order = np.lexsort((losses, sizes))
        best_before = np.concatenate([[np.inf], np.minimum.accumulate(losses[order])[:-1]])
        front = order[(losses[order] < best_before) & (losses[order] <= limit) & (sizes[order] <= most)]
        if not len(front):
            return None
        size, loss = sizes[front], losses[front]
        steps.append((front // len(of_one), front % len(of_one)))
    return steps


def _chosen(options: Mapping[str, Sequence[Option]], steps: Sequence[_Step], place: int) -> Choice:
    """Walk back from a choice of the last front: 0 has the fewest bytes, −1 the least ΔL."""
    taken = {}
    for (name, of_one), (extended, option) in zip(reversed([*options.items()]), reversed(steps), strict=True):
        taken[name] = of_one[int(option[place])]
        place = int(extended[place])
    in_order = {name: taken[name] for name in options}
    return Choice(
        {name: option.label for name, option in in_order.items()},
        sum(option.bytes for option in in_order.values()),
        math.fsum(_counted(option) for option in in_order.values()),
    )


def _counted(option: Option) -> float:
    """Return the ΔL of an option, 0 where it is below."""
    return max(option.rise, 0.0)
