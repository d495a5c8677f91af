"""What is asked of an anatomy, and what came of it: what the page, the tables and ``--json`` all read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from landscape.anatomy.bit_plan import BitPlan
from landscape.anatomy.effects import GROUPINGS, Anatomy, Effect, Grouping
from landscape.anatomy.layer_radii import LayerRadius
from landscape.anatomy.waterfall import Waterfall
from landscape.estimators.intervals import Estimate
from landscape.estimators.location import Location, Loss, location_at, loss_word, steeper
from landscape.estimators.loss_limit import Limit
from landscape.estimators.radial_losses import saturation
from landscape.health.checks import Check
from landscape.session.point_specs import OFF_GRID, PointSpec, wanted_point
from landscape.session.presets import PRESETS, Preset
from landscape.session.request import Request
from landscape.survey.result import ProbeCount, SubjectInfo
from quant.errors import UsageError
from quant.methods.options import PAPER_GPTQ, GPTQOptions
from quant.scheme import QuantScheme


def groupings_of(names: Sequence[str]) -> tuple[Grouping, ...]:
    """The groupings that a user names.

    Raises:
        UsageError: for an unknown one, or none.
    """
    for name in names or ("nothing",):
        if name not in GROUPINGS:
            raise UsageError(f"expected groups from {', '.join(GROUPINGS)}, got {name!r}")
    return tuple(grouping for grouping in GROUPINGS if grouping in names)


@dataclass(frozen=True, kw_only=True)
class AnatomyRequest(Request):
    """What a user asks of an anatomy."""

    wanted: PointSpec = field(default_factory=lambda: wanted_point("rtn", QuantScheme(8)))
    """The point: method and scheme."""
    gptq: GPTQOptions = PAPER_GPTQ
    """How GPTQ is run."""
    preset: Preset = field(default_factory=lambda: PRESETS["quick"])
    """Windows, lengths, steps. Validation windows alone are probed, and test windows for a plan of bits."""
    directions: int = 4
    """Random directions of each family."""
    groupings: tuple[Grouping, ...] | None = None
    """How tensors are grouped for what each group's Δw costs alone; None for all three on a small model, blocks and
    types on others: ``tensor`` takes an evaluation for each matrix and window, some hundreds a window, and few readers
    look at them all."""
    layer_radii: bool | None = None
    """Whether R_l is measured for each block and each type, and on small models for each tensor; None for blocks and
    types of small models alone: each one is a search of its own, of about ``6 + 2 × directions`` evaluations a window,
    or some twenty where the loss never gets there."""
    plan_bits: tuple[int, ...] = ()
    """Bit widths that a mixed-precision plan may use; none for no plan."""
    limit: Limit = field(default_factory=lambda: Limit.parse("ppl+5%"))
    """What ΔL is acceptable: of the plan's prediction, and of a loss that counts as restored."""

    def __post_init__(self) -> None:
        if self.wanted.method in OFF_GRID:
            raise UsageError(
                f"expected a method that leaves the weights on a grid, whose clipping can be told, got "
                f"{self.wanted.method}; take rtn, gptq, signround or one of qaft"
            )
        if self.directions < 2:
            raise UsageError(f"expected at least 2 directions, whose spread is the yardstick, got {self.directions}")
        _ = self.offered  # says now that a bit width cannot be

    @property
    def offered(self) -> tuple[PointSpec, ...]:
        """The points whose tensors a plan may take: the same method and grid at each of its bit widths."""
        scheme = self.wanted.scheme
        schemes = (
            QuantScheme(bits, scheme.scale, scheme.granularity, scheme.symmetric)
            for bits in sorted(set(self.plan_bits), reverse=True)
        )
        return tuple(wanted_point(self.wanted.method, each) for each in schemes)


@dataclass(frozen=True, eq=False)
class AnatomyResult:
    """All that was found out about one point."""

    subject: SubjectInfo
    point: str
    """Its name: ``rtn-int8-exact``."""
    split: str
    """The windows that all losses are of, but those of the plan's test."""
    articles: Mapping[str, int | None]
    """How many articles the windows of each split lie in; None if not known, each window is then taken for
    independent."""
    center_nll: float
    """L(w) there, nats per token."""
    limit: Limit
    waterfall: Waterfall
    anatomy: Anatomy
    clipping: tuple[Effect, ...]
    """What the clipping of each tensor costs alone on w, costliest first."""
    restored: Mapping[int, Effect]
    """What is left of ΔL when the clipping of the 1, 2, 4, … tensors that cost most is undone."""
    held_out: Mapping[int, Estimate]
    """The same on test windows, which ranked nothing; 0 is the point itself. Tensors chosen by noisy costs come out too
    well on the windows that chose them."""
    layers: Mapping[Grouping, tuple[LayerRadius, ...]]
    """‖Δw_l‖/R_l of each group, most spent first; empty if it was not measured."""
    plan: BitPlan | None
    """Mixed precision; None if no bit widths were offered."""
    probes: ProbeCount
    seconds: float
    """Wall time."""
    store: str
    """Folder of the cache."""
    settings: Mapping[str, object]
    """How it was made."""
    health: tuple[Check, ...]
    """Whether the run was sound."""

    @property
    def rise(self) -> Estimate:
        """ΔL of the point."""
        return self.anatomy.whole.rise

    @property
    def typical(self) -> Estimate:
        """Mean ΔL of random directions of the whole space at ‖Δw‖."""
        matched = self.waterfall.steps[0].matched
        assert matched is not None  # of the sphere, which is random
        return matched.interval

    @property
    def typical_u(self) -> Estimate:
        """The same as a share of the way from L(w) to chance, which the location is judged by."""
        span = self.subject.chance - self.center_nll
        return Estimate(*(end / span for end in (self.typical.value, self.typical.low, self.typical.high)))

    @property
    def location(self) -> Location:
        """Where ‖Δw‖ lies, whatever the loss is there, by the random directions at that very distance."""
        return location_at(self.typical_u)

    @property
    def loss(self) -> Loss:
        """What is left of the model, wherever the point lies."""
        u = saturation(self.center_nll + self.rise.value, self.center_nll, self.subject.chance)
        return loss_word(self.rise, u, self.limit.nats)

    @property
    def steep(self) -> bool:
        """Whether the loss is shown to rise more than along random directions of that length: intervals apart."""
        return steeper(self.rise, self.typical.high)

    @property
    def enough(self) -> int | None:
        """In how many tensors clipping must be undone for ΔL to be kept under the limit; None if all do not suffice."""
        if self.limit.keeps(self.rise):
            return 0
        return next((count for count, left in self.restored.items() if self.limit.keeps(left.rise)), None)

    @property
    def clipped_per_million(self) -> float:
        """Clipped weights in a million."""
        total = self.anatomy.total
        return 1e6 * total.clipped / total.weights if total.weights else math.nan
