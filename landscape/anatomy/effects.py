"""Measure the anatomy of a point: which part of Δw, in which tensors, costs the loss.

Three questions, each answered by positions of their own (``landscape.positions.position``):

    which part        each part of Δw alone on w, and the point with each part undone
    which tensors     the Δw of each block, each matrix type, each tensor alone on w
    who clips         the clipping of each tensor alone on w; then the point with that of the worst undone

Cost alone and cost undone differ where parts interact: a part that costs much in both is the culprit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.anatomy.request import GROUPINGS, Grouping
from landscape.estimators.intervals import Estimate, paired_difference
from landscape.positions.parts import PARTS, Part, PartStatistics, combined
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER, At, Position, common_blocks, with_parts, without_parts
from landscape.positions.selection import (
    ALL_TENSORS,
    block_selection,
    either,
    selected,
    tensor_selection,
    type_selection,
)
from landscape.probing.losses import Probes
from landscape.probing.plan import ProbePlan, Window
from quant.space import WeightSpace

_SELECTION = {"block": block_selection, "type": type_selection, "tensor": tensor_selection}


@dataclass(frozen=True)
class Effect:
    """The cost of one change of the weights."""

    slots: str
    """Selection of the tensors that change: see ``landscape.positions.selection``."""
    distance: float
    """ℓ2 norm of the part of Δw in question, in these tensors."""
    rise: Estimate
    """Loss with the change alone on w, or with it undone in the point, less the loss at w; nats per token."""


@dataclass(frozen=True)
class Additivity:
    """The costs of groups, measured one at a time and summed, beside the cost of all together."""

    sum: Estimate
    """Σ of the single ΔL."""
    whole: Estimate
    """ΔL of the point."""
    excess: Estimate | None
    """Whole less sum, on the same windows: above 0 where groups make each other worse; None if one overflowed."""


@dataclass(frozen=True)
class Anatomy:
    """The parts of a point's Δw, and their costs."""

    split: str
    """Split of the windows."""
    statistics: Mapping[str, PartStatistics]
    """The parts of every tensor, by name."""
    whole: Effect
    """Δw itself."""
    alone: Mapping[Part, Effect]
    """Each part alone on w, in all tensors."""
    undone: Mapping[Part, Effect]
    """The point with each part undone in all tensors: the rest of ΔL."""
    saved: Mapping[Part, Estimate | None]
    """The fall of the point's loss when each part is undone, on the same windows; None if one overflowed."""
    groups: Mapping[Grouping, tuple[Effect, ...]]
    """The Δw of each group of tensors alone on w, costliest first."""
    additivity: Mapping[Grouping, Additivity]
    """For each grouping."""

    @property
    def total(self) -> PartStatistics:
        """The parts of all tensors together."""
        return combined(self.statistics.values())

    @property
    def culprit(self) -> Part | None:
        """The part whose undoing lowers the loss most; None if none lowers it by more than the choice of windows may.

        A part is to blame only if the whole interval of the saving lies above 0. One window gives no interval, hence no
        culprit; neither does an overflow.
        """
        surely = {part: saved.value for part, saved in self.saved.items() if saved is not None and saved.low > 0}
        return max(surely, key=lambda part: surely[part], default=None)


def groups(space: WeightSpace, grouping: Grouping) -> tuple[str, ...]:
    """List the selections that divide the tensors into groups, in flat order."""
    return tuple(dict.fromkeys(map(_SELECTION[grouping], space)))


def anatomy_plan(
    space: WeightSpace, label: str, windows: tuple[Window, ...], groupings: Iterable[Grouping] = GROUPINGS
) -> ProbePlan:
    """Plan the probes of ``anatomy``, in the order in which the fewest blocks run.

    Args:
        space: The weight space.
        label: Label of the point in the atlas.
        windows: The windows to evaluate on.
        groupings: How tensors are grouped; ``tensor`` is expensive on a large model.
    """
    positions: list[Position] = [At(CENTER), At(label)]
    positions += [position for part in PARTS for position in (with_parts(label, [part]), without_parts(label, [part]))]
    positions += [with_parts(label, slots=slots) for grouping in groupings for slots in groups(space, grouping)]
    return in_block_order(space, positions, windows)


def in_block_order(space: WeightSpace, positions: Iterable[Position], windows: tuple[Window, ...]) -> ProbePlan:
    """Order positions so that the first blocks that they have in common run once."""
    return ProbePlan.of(sorted(positions, key=lambda position: common_blocks(space, position)), windows)


def anatomy(
    probes: Probes, split: str, perturbation: Perturbation, groupings: Iterable[Grouping] = GROUPINGS
) -> Anatomy:
    """Assemble the anatomy from the results of its plan.

    Args:
        probes: The results of the plan.
        split: Split of the windows.
        perturbation: Δw of a point on a grid, under the point's label in the plan.
        groupings: Those of the plan.

    Raises:
        NotEvaluated: if a probe of the plan is missing.
        PointError: if the point is on no grid.
    """
    space, label, groupings = perturbation.space, perturbation.label, tuple(groupings)
    statistics, total = perturbation.statistics, perturbation.total

    def group(slots: str) -> Effect:
        away = combined(statistics[slot.name] for slot in selected(slots, space)).distance
        return Effect(slots, away, probes.rise(with_parts(label, slots=slots), split))

    return Anatomy(
        split=split,
        statistics=statistics,
        whole=Effect(ALL_TENSORS, total.distance, probes.rise(label, split)),
        alone={
            part: Effect(ALL_TENSORS, total.norm(part), probes.rise(with_parts(label, [part]), split)) for part in PARTS
        },
        undone={
            part: Effect(ALL_TENSORS, total.norm(part), probes.rise(without_parts(label, [part]), split))
            for part in PARTS
        },
        saved={part: _saved(probes, split, label, part) for part in PARTS},
        groups={by: costliest_first(map(group, groups(space, by))) for by in groupings},
        additivity={
            by: additivity(probes, split, [with_parts(label, slots=s) for s in groups(space, by)], label)
            for by in groupings
        },
    )


def clipping_plan(
    space: WeightSpace, statistics: Mapping[str, PartStatistics], label: str, windows: tuple[Window, ...]
) -> ProbePlan:
    """Plan the clipping of every tensor that clips, alone on w."""
    positions = [with_parts(label, ["clip"], slots) for slots in _clipping(space, statistics)]
    return in_block_order(space, [At(CENTER), *positions], windows)


def clipping(probes: Probes, split: str, perturbation: Perturbation) -> tuple[Effect, ...]:
    """Measure the cost of each tensor's clipping, costliest first.

    Raises:
        NotEvaluated: if a probe of ``clipping_plan`` is missing.
    """
    label, statistics = perturbation.label, perturbation.statistics
    return costliest_first(
        Effect(slots, statistics[slots].norm("clip"), probes.rise(with_parts(label, ["clip"], slots), split))
        for slots in _clipping(perturbation.space, statistics)
    )


def restoration_positions(label: str, ranking: Sequence[Effect]) -> dict[int, Position]:
    """Name the point with the clipping of the first 1, 2, 4, … tensors of a ranking undone, and of all of them."""
    counts = {2**k for k in range(len(ranking).bit_length()) if 2**k < len(ranking)} | {len(ranking)}
    return {
        count: without_parts(label, ["clip"], either(effect.slots for effect in ranking[:count]))
        for count in sorted(counts - {0})
    }


def restorations(probes: Probes, split: str, label: str, ranking: Sequence[Effect]) -> dict[int, Effect]:
    """Measure the rest of ΔL when the clipping of the first 1, 2, 4, … tensors of a ranking is undone.

    Raises:
        NotEvaluated: if one of ``restoration_positions`` has not been evaluated.
    """
    return {
        count: Effect(
            either(effect.slots for effect in ranking[:count]),
            math.hypot(*(effect.distance for effect in ranking[:count])),
            probes.rise(position, split),
        )
        for count, position in restoration_positions(label, ranking).items()
    }


def additivity(
    probes: Probes, split: str, singles: Sequence[Position | str], together_at: Position | str
) -> Additivity:
    """Compare the sum of single ΔL with the ΔL of all changes together, window by window.

    Args:
        probes: The results.
        split: Split of the windows.
        singles: Positions that change one group each.
        together_at: The position that changes all of them.
    """
    center, tokens, blocks = probes.totals(CENTER, split), probes.tokens(split), probes.blocks(split)
    summed = center + np.sum([probes.totals(position, split) - center for position in singles], axis=0)
    whole = probes.totals(together_at, split)
    finite = bool(np.isfinite(summed).all() and np.isfinite(whole).all())
    return Additivity(
        sum=paired_difference(summed, center, tokens, blocks=blocks),
        whole=paired_difference(whole, center, tokens, blocks=blocks),
        excess=paired_difference(whole, summed, tokens, blocks=blocks) if finite else None,
    )


def costliest_first(effects: Iterable[Effect]) -> tuple[Effect, ...]:
    """Rank effects by ΔL."""
    return tuple(sorted(effects, key=lambda effect: -effect.rise.value))


def _saved(probes: Probes, split: str, label: str, part: Part) -> Estimate | None:
    """Estimate L(point) less L(point with the part undone), window by window."""
    whole, undone = probes.totals(label, split), probes.totals(without_parts(label, [part]), split)
    if not (np.isfinite(whole).all() and np.isfinite(undone).all()):
        return None
    return paired_difference(whole, undone, probes.tokens(split), blocks=probes.blocks(split))


def _clipping(space: WeightSpace, statistics: Mapping[str, PartStatistics]) -> list[str]:
    """List the tensors in which a weight is clipped, in flat order."""
    return [tensor_selection(slot) for slot in space if statistics[slot.name].clipped]
