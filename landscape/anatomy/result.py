"""Hold the results of an anatomy, which the page, the tables and ``--json`` all read."""

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
    """The anatomy of one point."""

    subject: SubjectInfo
    point: str
    """Name of the point: ``rtn-int8-exact``."""
    split: str
    """Split of the windows of all losses, except those on test windows."""
    articles: Mapping[str, int | None]
    """Number of articles in the windows of each split; None if unknown, and each window then counts as
    independent."""
    center_nll: float
    """L(w) on that split, nats per token."""
    limit: Limit
    waterfall: Waterfall
    anatomy: Anatomy
    clipping: tuple[Effect, ...]
    """Cost of each tensor's clipping alone on w, costliest first."""
    restored: Mapping[int, Effect]
    """The rest of ΔL when the clipping of the 1, 2, 4, … costliest tensors is undone."""
    held_out: Mapping[int, Estimate]
    """The same on test windows, which ranked nothing; 0 is the point itself. Tensors chosen by noisy costs look too
    good on the windows that chose them."""
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
        """Mean ΔL of random directions of the whole space at distance ‖Δw‖."""
        matched = self.waterfall.steps[0].matched
        assert matched is not None  # of the sphere, which is random
        return matched.interval

    @property
    def typical_u(self) -> Estimate:
        """The same as a share of the way from L(w) to chance, by which the location is judged."""
        span = self.subject.chance - self.center_nll
        return Estimate(*(end / span for end in (self.typical.value, self.typical.low, self.typical.high)))

    @property
    def location(self) -> Location:
        """Location of ‖Δw‖, judged by random directions at that distance, whatever the loss at the point is."""
        return location_at(self.typical_u)

    @property
    def loss(self) -> Loss:
        """The word for the loss at the point, wherever it lies."""
        u = saturation(self.center_nll + self.rise.value, self.center_nll, self.subject.chance)
        return loss_word(self.rise, u, self.limit.nats)

    @property
    def steep(self) -> bool:
        """Whether the loss surely rises more than along random directions of that length: the intervals are apart."""
        return steeper(self.rise, self.typical.high)

    @property
    def enough(self) -> int | None:
        """Number of tensors whose clipping must be undone to keep ΔL under the limit; None if all are not enough."""
        if self.limit.keeps(self.rise):
            return 0
        return next((count for count, left in self.restored.items() if self.limit.keeps(left.rise)), None)

    @property
    def clipped_per_million(self) -> float:
        """Clipped weights in a million."""
        total = self.anatomy.total
        return 1e6 * total.clipped / total.weights if total.weights else math.nan
