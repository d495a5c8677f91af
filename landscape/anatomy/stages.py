"""Measure an anatomy in stages, each from a plan to its numbers.

A stage reads its losses as if all were known; those that the store lacks are evaluated on the way. In a rehearsal a
stage evaluates nothing: it returns its numbers if all losses are known, and raises ``NotEvaluated`` if not. All losses
are those of the validation windows; choices that these make, of the tensors whose clipping is undone and of a plan of
bits, are checked on test windows as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from landscape.anatomy.bit_options import options_plan
from landscape.anatomy.bit_plan import BitPlan, PlanGoal, plan_bits
from landscape.anatomy.effects import (
    Anatomy,
    Effect,
    anatomy,
    anatomy_plan,
    clipping,
    clipping_plan,
    groups,
    in_block_order,
    restoration_positions,
    restorations,
)
from landscape.anatomy.layer_radii import LayerRadius, layer_radius, most_spent_first
from landscape.anatomy.request import GROUPINGS, AnatomyRequest, Grouping
from landscape.anatomy.waterfall import KINDS, Waterfall, families, waterfall
from landscape.estimators.intervals import Estimate
from landscape.health.self_checks import SLOPE_DIRECTIONS, SLOPE_WINDOWS, measure_slope
from landscape.positions.directions import Layers, Sphere
from landscape.positions.parts import PartStatistics
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER, At, common_blocks
from landscape.probing.plan import ProbePlan
from landscape.session.run_record import Check
from landscape.session.session import Session
from landscape.session.subject import JUDGED_SPLIT, TEST_SPLIT

SMALL = 10_000_000
"""Largest D at which every tensor and every R_l is measured by default: a few minutes on one core at most."""
_SEARCH = 6  # distances that a search for R takes, about, before the two around it
_ONE_CLIPPED = PartStatistics(1, 1, 0, 0, 0, 0, 0)  # every tensor may clip in a point that is not made yet


@dataclass(frozen=True)
class Cost:
    """Approximate cost of a stage."""

    probes: int
    passes: float
    """The same in whole forward passes, fewer where probes share their first blocks."""

    @classmethod
    def whole(cls, probes: int) -> Cost:
        """Count probes that each run every block."""
        return cls(probes, float(probes))

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.probes + other.probes, self.passes + other.passes)


@dataclass(frozen=True)
class Stage:
    """One stage, and its cost while not all of its losses are known."""

    measure: Callable[[], object]
    cost: Callable[[], Cost]


class Stages:
    """The stages of one anatomy."""

    def __init__(self, request: AnatomyRequest, session: Session) -> None:
        """Bind the stages to a session, which finds or makes their points."""
        self.request, self.session, self.subject = request, session, session.subject
        self.space, self.center = session.subject.space, session.subject.center
        self.probes, self.windows = session.probes, session.windows
        small = self.space.dimension <= SMALL
        asked = tuple(grouping for grouping in GROUPINGS if grouping in request.groups)
        self.groupings: tuple[Grouping, ...] = asked or (GROUPINGS if small else ("block", "type"))
        self.layer_groupings = self._layer_groupings(small)

    @property
    def all(self) -> tuple[Stage, ...]:
        """The stages in the order in which they are measured."""
        return (
            Stage(self.waterfall, self._waterfall_cost),
            Stage(self.anatomy, self._anatomy_cost),
            Stage(self.clipping, self._clipping_cost),
            Stage(self.layers, self._layers_cost),
            Stage(self.plan, self._plan_cost),
            Stage(self.slope, self._slope_cost),
        )

    @cached_property
    def perturbation(self) -> Perturbation:
        """Δw of the point.

        Raises:
            NotEvaluated: if the point is not made yet, in a rehearsal.
        """
        spec = self.request.spec
        return Perturbation(self.space, self.center, self.session.point(spec), self.session.label(spec))

    @property
    def statistics(self) -> Mapping[str, PartStatistics]:
        """The parts of every tensor.

        Raises:
            NotEvaluated: if the point is not made yet, in a rehearsal.
        """
        return self.perturbation.statistics

    def waterfall(self) -> Waterfall:
        """Measure four radii, and random steps of the length of Δw."""
        self.session.stage("measuring R along directions more and more like Δw")
        kinds = families(self.perturbation, self.request.seed)
        losses = {kind: self.session.radial(family) for kind, family in kinds.items()}
        return waterfall(
            lambda kind: losses[kind], self.perturbation, self.subject.chance, self.request.directions,
            len(self.windows),
        )  # fmt: skip

    def anatomy(self) -> Anatomy:
        """Measure parts alone and undone, and groups alone."""
        self.session.stage("probing the parts of Δw, and groups of tensors")
        self.session.evaluate(anatomy_plan(self.space, self._label, self.windows, self.groupings))
        return anatomy(self.probes, JUDGED_SPLIT, self.perturbation, self.groupings)

    def clipping(self) -> tuple[tuple[Effect, ...], dict[int, Effect], dict[int, Estimate]]:
        """Measure each tensor's clipping alone, then ΔL with that of the costliest undone, also on test windows."""
        self.session.stage("probing the clipping of each tensor")
        self.session.evaluate(clipping_plan(self.space, self.statistics, self._label, self.windows))
        ranking = clipping(self.probes, JUDGED_SPLIT, self.perturbation)
        undone = {0: At(self._label), **restoration_positions(self._label, ranking)}
        self.session.evaluate(in_block_order(self.space, undone.values(), self.windows))
        self.session.evaluate(
            in_block_order(self.space, [At(CENTER), *undone.values()], self.subject.windows[TEST_SPLIT])
        )
        held_out = {count: self.probes.rise(position, TEST_SPLIT) for count, position in undone.items()}
        return ranking, restorations(self.probes, JUDGED_SPLIT, self._label, ranking), held_out

    def layers(self) -> dict[Grouping, tuple[LayerRadius, ...]]:
        """Measure R_l of each block and each type, and of each tensor on request."""
        found: dict[Grouping, tuple[LayerRadius, ...]] = {}
        for grouping in self.layer_groupings:
            self.session.stage(f"measuring R of each {grouping}")
            found[grouping] = most_spent_first(
                layer_radius(
                    self.session.radial, Layers(self.space, slots, self.request.seed), self.perturbation,
                    self.subject.chance, self.request.directions, len(self.windows),
                )
                for slots in groups(self.space, grouping)
            )  # fmt: skip
        return found

    def plan(self) -> BitPlan | None:
        """Plan mixed precision; None if no bit widths are offered."""
        if not self.request.offered:
            return None
        self.session.stage("probing every tensor at each bit width, and the plan")
        offered = {self.session.label(spec): self.session.point(spec) for spec in self.request.offered}
        windows = {split: self.subject.windows[split] for split in (JUDGED_SPLIT, TEST_SPLIT)}
        goal = PlanGoal(self.request.limit, self.request.size, self.request.fused)
        return plan_bits(self.session.evaluate, self.space, self.center, offered, windows, goal)

    def slope(self) -> Check:
        """Check the slope at w, along the first of the uniform directions."""
        self.session.stage("measuring the slope at w")
        return measure_slope(self.session, Sphere(self.space, self.request.seed))

    def _layer_groupings(self, small: bool) -> tuple[Grouping, ...]:
        """Return the groupings whose R_l is measured.

        Single tensors are measured only on a small model, and only on request: there are many, and a single matrix
        hardly ever brings the loss halfway to chance, so that most searches end with a lower bound, at full cost.
        """
        asked = self.request.layer_radii
        if not (small if asked is None else asked):
            return ()
        return tuple(by for by in self.groupings if by != "tensor" or (small and asked))

    @property
    def _label(self) -> str:
        return self.session.label(self.request.spec)

    # ---- cost of the stages -------------------------------------------------------------------------------------

    @property
    def _a_radius(self) -> int:
        """Approximate number of probes that a search for R takes on one window."""
        return _SEARCH + 2 * self.request.directions

    def _waterfall_cost(self) -> Cost:
        random = (len(KINDS) - 1) * (self._a_radius + self.request.directions)
        return Cost.whole((random + _SEARCH + 3) * len(self.windows))  # Δw itself is one direction

    def _anatomy_cost(self) -> Cost:
        return self._shared(anatomy_plan(self.space, self._some_label, self.windows, self.groupings))

    def _clipping_cost(self) -> Cost:
        made = self.request.spec in self.session.points
        clips = self.statistics if made else {slot.name: _ONE_CLIPPED for slot in self.space}
        tests = self.subject.windows[TEST_SPLIT]
        undone = (2 + len(self.space.slots).bit_length()) * (len(self.windows) + len(tests))
        alone = self._shared(clipping_plan(self.space, clips, self._some_label, self.windows))
        return alone + Cost.whole(undone)

    def _layers_cost(self) -> Cost:
        count = sum(len(groups(self.space, by)) for by in self.layer_groupings)
        return Cost.whole(self._a_radius * count * len(self.windows))

    def _plan_cost(self) -> Cost:
        offered = [self.session.labels.get(spec, spec.name) for spec in self.request.offered]
        checks = len(self.space.slots) * len(self.subject.windows[TEST_SPLIT]) if offered else 0
        return self._shared(options_plan(self.space, offered, self.windows)) + Cost.whole(checks)

    def _slope_cost(self) -> Cost:
        return Cost.whole(2 * SLOPE_DIRECTIONS * min(len(self.windows), SLOPE_WINDOWS))

    @property
    def _some_label(self) -> str:
        """Label of the point; before it is made, a label that no probe has."""
        return self.session.labels.get(self.request.spec, "new")

    def _shared(self, plan: ProbePlan) -> Cost:
        """Count the missing probes of a plan in block order, in which shared first blocks run once."""
        blocks = 1 + max(slot.block for slot in self.space)
        missing = plan.missing(self.session.runner.known)
        shares = (len(s.windows) * (1 - common_blocks(self.space, s.position)[1] / blocks) for s in missing.steps)
        return Cost(len(missing), sum(shares))
