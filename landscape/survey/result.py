"""Hold the numbers of one landscape: what the figures, the report, the table and ``--json`` all read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.basin import Basin
from landscape.estimators.connectivity import Connectivity
from landscape.estimators.intervals import Estimate
from landscape.estimators.location import Location, Loss
from landscape.estimators.other_radii import OtherRadii
from landscape.session.expert_tokens import ExpertTokens
from landscape.session.run_record import RunRecord, SubjectInfo

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RayProfile:
    """The loss along one random direction, or the mean of both ways along it."""

    index: int
    """Which direction of its family."""
    lambdas: Array
    """ℓ2 distances from w, increasing, without the centre."""
    nll: Mapping[str, Array]
    """NLL at each distance, by split."""


@dataclass(frozen=True)
class PointResult:
    """A quantized point on the landscape."""

    name: str
    """``gptq-int4-exact``, or the user's own for what another tool made."""
    method: str
    bits: int | None
    """Bit width; None for a point that another tool made."""
    grid: str | None
    """How the scales were found and what shares one, ``exact``, ``absmax-per-channel``; None where ``bits`` is."""
    distance: float
    """‖Δw‖: its ℓ2 distance from w."""
    rho: Estimate | None
    """ρ = ‖Δw‖ / R; None if R is censored."""
    nll: Mapping[str, float]
    """NLL by split."""
    rise: Mapping[str, Estimate]
    """L(point) − L(w) by split, with its interval over paired windows."""
    location: Location
    """Where ‖Δw‖ lies against the band, whatever the loss is there."""
    loss: Loss
    """What is left of the model there, wherever it lies."""
    experts: ExpertTokens | None = None
    """How many matrices of experts saw enough calibration tokens; None if it was not calibrated so, or has none."""


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """The loss along the straight line between two points, on one split."""

    a: str
    """Name of the point at α = 0; ``w`` for the centre."""
    b: str
    """Name of the point at α = 1."""
    bits: int | None
    """Bit width it belongs to; None for the segment to a point that another tool made."""
    split: str
    alphas: Array
    """Positions, increasing, a little beyond [0, 1]."""
    distances: Array
    """ℓ2 distance from w at each α, which is not linear in α."""
    nll: Array
    """NLL at each α."""
    connectivity: Connectivity
    """Whether the two are simply connected, and the barriers between them."""


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """The loss on the plane through w and two points, at positions ``w + x e₁ + y e₂`` of an orthonormal basis."""

    a: str
    """Name of the point at (‖Δa‖, 0); w is the origin."""
    b: str
    """Name of the point above the abscissa."""
    bits: int
    """Bit width that both have."""
    split: str
    windows: int
    """How many windows of the split it was probed on: the first ones."""
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
        """The way from L(w) to chance, u: 0 at w on these windows, 1 at chance.

        Args:
            chance: ln|V|.
            nll: Where; None for all positions.
        """
        base = self.point_nll["w"]
        return np.asarray(((self.nll if nll is None else nll) - base) / (chance - base))


@dataclass(frozen=True)
class Misalignment:
    """How much of GPTQ's loss on one grid is undone by training alone."""

    grid: str
    """``int2-exact``."""
    control: str
    """Name of the control: plain fine-tuning with QAFT's data, order, steps and rates."""
    net: Mapping[str, Estimate]
    """M = [L(GPTQ) − L(w)] − [L(QAFT) − L(control)] by split, nats per token, with its interval over paired windows."""
    raw: Mapping[str, Estimate]
    """L(GPTQ) − L(QAFT) by split: also what plain adaptation to the text gives."""


@dataclass(frozen=True, eq=False)
class SurveyResult:
    """The landscape around one model, and what the run took that found it."""

    subject: SubjectInfo
    center: Mapping[str, float]
    """L(w) by split."""
    basins: Mapping[str, Basin]
    """The attractive basin as seen on each radial split; points are judged by that of ``split``."""
    radii: Mapping[str, OtherRadii]
    """By split, what else might be called the radius."""
    split: str
    """The split on which R, location and loss are judged: validation."""
    rays: tuple[RayProfile, ...]
    points: tuple[PointResult, ...]
    segments: tuple[SegmentResult, ...]
    run: RunRecord
    planes: tuple[PlaneResult, ...] = ()
    """The planes through w, GPTQ and QAFT, if they were asked for."""
    misalignments: tuple[Misalignment, ...] = ()
    """M of every grid that has GPTQ, QAFT and its control."""

    @property
    def basin(self) -> Basin:
        """The basin on the split that points are judged on."""
        return self.basins[self.split]
