"""Hold the numbers of one landscape, which figures, report, tables and ``--json`` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.basin import Basin
from landscape.estimators.connectivity import Connectivity
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.estimators.location import Location, Loss
from landscape.estimators.other_radii import OtherRadii
from landscape.session.expert_tokens import ExpertTokens
from landscape.session.run_record import RunRecord, SubjectInfo
from landscape.session.training_record import TrainingRecord
from landscape.session.work_shard import WorkShard
from landscape.survey.layers import LayerResult
from quant.size import ModelSize
from quant.slot import Slot

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RayProfile:
    """Loss along one random direction, or its mean over both ways."""

    index: int
    """Index of the direction in its family."""
    lambdas: Array
    """ℓ2 distances from w, increasing, without the centre."""
    nll: Mapping[str, Array]
    """NLL at each distance, by split."""
    kl: Mapping[str, Array] = field(default_factory=dict)
    """Mean KL(w ‖ position) at each distance, nats per token, by split; empty unless probed by KL."""
    agreement: Mapping[str, Array] = field(default_factory=dict)
    """Share of the tokens whose most probable id is the same as at w, by split; empty unless probed by KL."""


@dataclass(frozen=True)
class FidelityResult:
    """Comparison of the predictions of a point with those of w, on one split."""

    kl: Estimate
    """Mean KL(w ‖ point), nats per token."""
    agreement: Estimate
    """Share of the tokens whose most probable id is the same as at w."""


@dataclass(frozen=True)
class StoredPoint:
    """Place of a point in the store of its model."""

    recipe: str
    """JSON of how it was made, under which the store keeps its weights."""
    label: str
    """Hash of its weights, under which the store keeps its probes."""


@dataclass(frozen=True)
class PointResult:
    """One quantized point on the landscape."""

    name: str
    """Name such as ``gptq-int4-exact``; the user's own for a point that another tool made."""
    method: str
    bits: int | None
    """Bit width; None for a point that another tool made."""
    grid: str | None
    """Rule and granularity of the scales, such as ``exact`` or ``absmax-per-channel``; None where ``bits`` is."""
    distance: float
    """‖Δw‖, the ℓ2 distance from w."""
    rho: Estimate | None
    """ρ = ‖Δw‖ / R; None if R is censored."""
    nll: Mapping[str, float]
    """NLL by split."""
    rise: Mapping[str, Estimate]
    """L(point) − L(w) by split, with its interval over paired windows."""
    location: Location
    """Place of ‖Δw‖ relative to the border of the basin, whatever the loss of the point."""
    loss: Loss
    """Word for the loss of the point, wherever it lies."""
    experts: ExpertTokens | None = None
    """Matrices of experts by the calibration tokens they saw; None without calibration by GPTQ, or without experts."""
    fidelity: Mapping[str, FidelityResult] = field(default_factory=dict)
    """Comparison of its predictions with those of w, by split."""
    size: ModelSize | None = None
    """Bits and bytes that it takes; None for a point that another tool made."""
    along: Crossing | None = None
    """R along Δw itself, as far as the segment from w was probed, a little beyond the point: ρ_Δ is ‖Δw‖ over it. None
    where the point is w itself."""
    training: TrainingRecord | None = None
    """Epochs and learning rates of its training; None if it was not trained."""
    layers: tuple[LayerResult, ...] = ()
    """Change of each matrix; empty unless asked for."""
    stored: StoredPoint | None = None
    """Where its weights are; None for a point that another tool made, whose file is its own."""


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """Loss along the straight line between two points, on one split."""

    a: str
    """Name of the point at α = 0; ``w`` for the centre."""
    b: str
    """Name of the point at α = 1."""
    bits: int | None
    """Bit width of its points; None for a segment to a point that another tool made."""
    split: str
    alphas: Array
    """Positions, increasing, a little beyond [0, 1]."""
    distances: Array
    """ℓ2 distance from w at each α; not linear in α."""
    nll: Array
    """NLL at each α."""
    connectivity: Connectivity
    """Whether the two points are simply connected, and the barriers between them."""
    kl: Array | None = None
    """Mean KL(w ‖ position) at each α, nats per token; None unless probed by KL."""
    agreement: Array | None = None
    """Share of the tokens at each α whose most probable id is the same as at w; None unless probed by KL."""


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """Loss on the plane through w and two points, at positions ``w + x e₁ + y e₂`` of an orthonormal basis."""

    a: str
    """Name of the point at (‖Δa‖, 0); w is the origin."""
    b: str
    """Name of the point above the abscissa."""
    bits: int
    """Bit width of both points."""
    split: str
    windows: int
    """Number of windows that it was probed on, the first of the split."""
    x: Array
    """(n_x,) ℓ2 distances along e₁, which points to ``a``, increasing."""
    y: Array
    """(n_y,) ℓ2 distances along e₂, increasing."""
    nll: Array
    """(n_y, n_x) NLL."""
    places: Mapping[str, tuple[float, float]]
    """x and y of the three points, by name."""
    point_nll: Mapping[str, float]
    """NLL of the three points on the same windows, by name."""

    def saturation(self, chance: float, nll: Array | float | None = None) -> Array:
        """Return u, the share of the way from L(w) to chance: 0 at w on these windows, 1 at chance.

        Args:
            chance: ln|V|.
            nll: NLL on these windows; None for that of all positions.
        """
        base = self.point_nll["w"]
        return np.asarray(((self.nll if nll is None else nll) - base) / (chance - base))


@dataclass(frozen=True)
class Misalignment:
    """Loss of GPTQ on one grid that training on the grid removes, net of plain fine-tuning."""

    grid: str
    """Name of the grid, such as ``int2-exact``."""
    control: str
    """Name of the control: plain fine-tuning with QAFT's data, order, steps and rates."""
    net: Mapping[str, Estimate]
    """M = [L(GPTQ) − L(w)] − [L(QAFT) − L(control)] by split, nats per token, with its interval over paired windows."""
    raw: Mapping[str, Estimate]
    """L(GPTQ) − L(QAFT) by split, plain adaptation to the text included."""


@dataclass(frozen=True)
class MethodGap:
    """Difference between the losses of GPTQ and QAFT on one grid, whether or not there is a control."""

    grid: str
    """Name of the grid, such as ``int2-exact``."""
    difference: Mapping[str, Estimate]
    """L(GPTQ) − L(QAFT) by split, nats per token, with its interval over paired windows; ``inf``, unbounded, where the
    loss of GPTQ is not finite. A split where that of QAFT is not finite is left out."""


@dataclass(frozen=True)
class KLRadius:
    """Radius of the basin by KL on one split."""

    reference: float
    """ln|V| − H(w): KL(w ‖ uniform), nats per token, with the mean entropy H of the predictions at w."""
    radius: Crossing
    """R_kl, the first distance at which the mean KL over random directions reaches half of the reference."""


@dataclass(frozen=True)
class ShardResult:
    """Outcome of one shard of a survey; its losses are in the store."""

    shard: WorkShard
    subject: SubjectInfo
    points: tuple[str, ...]
    """Names of the points that it made."""
    run: RunRecord


@dataclass(frozen=True, eq=False)
class SurveyResult:
    """Landscape around one model, and the record of the run that measured it."""

    subject: SubjectInfo
    center: Mapping[str, float]
    """L(w) by split."""
    basins: Mapping[str, Basin]
    """Attractive basin on each radial split; points are judged by that of ``split``."""
    radii: Mapping[str, OtherRadii]
    """Alternative definitions of the radius, by split."""
    split: str
    """Split on which R, location and loss are judged: validation."""
    rays: tuple[RayProfile, ...]
    points: tuple[PointResult, ...]
    segments: tuple[SegmentResult, ...]
    run: RunRecord
    planes: tuple[PlaneResult, ...] = ()
    """Planes through w, GPTQ and QAFT, if requested."""
    misalignments: tuple[Misalignment, ...] = ()
    """M of every grid that has GPTQ, QAFT and the control of QAFT."""
    kl_radii: Mapping[str, KLRadius] = field(default_factory=dict)
    """R_kl by split; empty unless rays were probed by KL."""
    center_size: ModelSize | None = None
    """Bits and bytes of w itself, at 16 bits a weight."""
    gaps: tuple[MethodGap, ...] = ()
    """L(GPTQ) − L(QAFT) of every grid that has both."""
    slots: tuple[Slot, ...] = ()
    """Matrices of the weight space, in flat order, so that points are read without the model; empty in old records."""

    @property
    def basin(self) -> Basin:
        """Basin on the split that points are judged on."""
        return self.basins[self.split]
