"""Hold what was found out about one point: what the page, the tables and ``--json`` all read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from landscape.anatomy.bit_plan import BitPlan
from landscape.anatomy.effects import Anatomy, Effect
from landscape.anatomy.layer_radii import LayerRadius
from landscape.anatomy.request import Grouping
from landscape.anatomy.waterfall import Waterfall
from landscape.estimators.intervals import Estimate
from landscape.estimators.location import Location, Loss, location_at, loss_word, steeper
from landscape.estimators.loss_limit import Limit
from landscape.estimators.radial_losses import saturation
from landscape.session.run_record import RunRecord, SubjectInfo


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
    run: RunRecord

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
