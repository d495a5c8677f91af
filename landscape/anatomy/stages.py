"""The stages of an anatomy, each from a plan to its numbers.

Every stage is written as if all that it asks for were evaluated; what the store does not hold is evaluated on the way.
Run dry, a stage evaluates nothing: it comes back with its numbers if they are all known, and raises
``NotEvaluated`` if not.
All losses are those of the validation windows; what was chosen by them, the tensors whose clipping is undone and a plan
of bits, is checked on test windows as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from landscape.anatomy.bit_plan import CHECKED_ON, CHOSEN_ON, BitPlan, plan_bits
from landscape.anatomy.effects import (
    GROUPINGS,
    Anatomy,
    Effect,
    Grouping,
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
from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.waterfall import Waterfall, families, waterfall
from landscape.estimators.intervals import Estimate
from landscape.health.checks import Check
from landscape.health.self_checks import measured_slope
from landscape.positions.atlas import Atlas
from landscape.positions.directions import Family, Layers, Sphere
from landscape.positions.parts import PartStatistics
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER, At
from landscape.probing.engines import Engine
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.losses import Probes, RadialLosses
from landscape.probing.plan import ProbePlan, require
from landscape.probing.runner import Runner
from landscape.session.point_maker import point_label
from landscape.session.point_specs import PointSpec
from landscape.session.progress import Progress
from landscape.session.subject import Subject
from landscape.survey.analysis import VERDICT_SPLIT
from quant.corpora.texts import SELF
from quant.point import WeightPoint

SMALL = 10_000_000
"""D up to which every tensor and every R_l are measured unasked: a few minutes on one core at most."""


class Stages:
    """Plans of one anatomy, run and read."""

    def __init__(self, request: AnatomyRequest, subject: Subject, runner: Runner, progress: Progress) -> None:
        """Bind the stages to a model and to what is known of it; points are named by ``place``."""
        self.request, self.subject, self.runner, self.progress = request, subject, runner, progress
        self.space, self.center = subject.space, subject.center
        self.windows = subject.windows[VERDICT_SPLIT]
        self.probes = Probes(runner.known, subject.windows)
        self.points: dict[PointSpec, WeightPoint] = {}
        self.labels: dict[PointSpec, str] = {}
        small = self.space.dimension <= SMALL
        self.groupings: tuple[Grouping, ...] = request.groupings or (GROUPINGS if small else ("block", "type"))
        self.layer_groupings = self._layer_groupings(small)

    def place(self, wanted: PointSpec, point: WeightPoint) -> None:
        """Name a point by its weights."""
        self.points[wanted] = point
        self.labels[wanted] = point_label(point, self.space)

    def probe_center(self) -> None:
        """Evaluate w."""
        self._run(ProbePlan.of([At(CENTER)], self.windows))

    @cached_property
    def perturbation(self) -> Perturbation:
        """Δw of the point.

        Raises:
            NotEvaluated: if the point has not been placed.
        """
        wanted = self.request.wanted
        return Perturbation(self.space, self.center, require(self.points, wanted), self._label)

    @property
    def statistics(self) -> Mapping[str, PartStatistics]:
        """The parts of every tensor.

        Raises:
            NotEvaluated: if the point has not been placed.
        """
        return self.perturbation.statistics

    def waterfall(self) -> Waterfall:
        """Four radii, and random steps of the length of Δw."""
        self._stage("measuring R along directions more and more like Δw")
        kinds = families(self.perturbation, self.request.seed)
        losses = {kind: self._losses(family) for kind, family in kinds.items()}
        return waterfall(
            lambda kind: losses[kind], self.perturbation, self.subject.chance, self.request.directions,
            len(self.windows),
        )  # fmt: skip

    def anatomy(self) -> Anatomy:
        """Parts alone and undone, and groups alone."""
        self._stage("probing the parts of Δw, and groups of tensors")
        self._run(anatomy_plan(self.space, self._label, self.windows, self.groupings))
        return anatomy(self.probes, VERDICT_SPLIT, self.perturbation, self.groupings)

    def clipping(self) -> tuple[tuple[Effect, ...], dict[int, Effect], dict[int, Estimate]]:
        """The clipping of each tensor alone, and what is left when that of the costliest is undone: on test too."""
        self._stage("probing the clipping of each tensor")
        self._run(clipping_plan(self.space, self.statistics, self._label, self.windows))
        ranking = clipping(self.probes, VERDICT_SPLIT, self.perturbation)
        undone = {0: At(self._label), **restoration_positions(self._label, ranking)}
        self._run(in_block_order(self.space, undone.values(), self.windows))
        self._run(in_block_order(self.space, [At(CENTER), *undone.values()], self.subject.windows[CHECKED_ON]))
        held_out = {count: self.probes.rise(position, CHECKED_ON) for count, position in undone.items()}
        return ranking, restorations(self.probes, VERDICT_SPLIT, self._label, ranking), held_out

    def layers(self) -> dict[Grouping, tuple[LayerRadius, ...]]:
        """R_l of each block and each type, and of each tensor where that was asked for."""
        found: dict[Grouping, tuple[LayerRadius, ...]] = {}
        for grouping in self.layer_groupings:
            self._stage(f"measuring R of each {grouping}")
            found[grouping] = most_spent_first(
                layer_radius(
                    self._losses, Layers(self.space, slots, self.request.seed), self.perturbation,
                    self.subject.chance, self.request.directions, len(self.windows),
                )
                for slots in groups(self.space, grouping)
            )  # fmt: skip
        return found

    def plan(self) -> BitPlan | None:
        """Mixed precision; None if no bit widths are offered."""
        if not self.request.offered:
            return None
        self._stage("probing every tensor at each bit width, and the plan")
        offered = {require(self.labels, wanted): self.points[wanted] for wanted in self.request.offered}
        windows = {split: self.subject.windows[split] for split in (CHOSEN_ON, CHECKED_ON)}
        return plan_bits(self._run, self.space, self.center, offered, windows, self.request.limit)

    def slope(self) -> Check:
        """The slope at w, along the first of the uniform directions."""
        self._stage("measuring the slope at w")
        losses = self._losses(Sphere(self.space, self.request.seed))
        own_text = self.request.corpus == SELF
        return measured_slope(losses.run, self.runner, losses.family, self.subject.norm, self.windows, own_text)

    def _layer_groupings(self, small: bool) -> tuple[Grouping, ...]:
        """Those whose R_l is measured.

        Of single tensors only on a small model, and only if asked for: there are many, and a single matrix hardly ever
        brings the loss halfway to chance, so that most searches go the whole way and end with a lower bound.
        """
        asked = self.request.layer_radii
        if not (small if asked is None else asked):
            return ()
        return tuple(by for by in self.groupings if by != "tensor" or (small and asked))

    @property
    def _label(self) -> str:
        return require(self.labels, self.request.wanted)

    def _engine(self, named: Mapping[str, Family], points: Mapping[str, WeightPoint] | None = None) -> Engine:
        own = {label: self.points[wanted] for wanted, label in self.labels.items()}
        return InlineEngine(self.subject.model, self.space, Atlas(self.center, {**own, **(points or {})}, named))

    def _run(self, plan: ProbePlan, points: Mapping[str, WeightPoint] | None = None) -> Probes:
        self.runner.run(plan, self._engine({}, points))
        return self.probes

    def _losses(self, family: Family) -> RadialLosses:
        return RadialLosses(self.runner, self._engine({family.name: family}), family, self.windows, pairs=False)

    def _stage(self, name: str) -> None:
        if not self.runner.rehearsing:
            self.progress.stage(name)
