"""Compute the numbers of a survey's result from the stored sums of losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.basin import Basin
from landscape.estimators.connectivity import connectivity
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.location import location, loss_word, ratio
from landscape.estimators.radial_losses import RadialProbes, saturation
from landscape.positions.position import CENTER, on_plane, on_segment
from landscape.probing.losses import Agreements, Divergences, Probes, radial_probes
from landscape.session.expert_tokens import ExpertTokens
from landscape.session.point_methods import METHODS
from landscape.session.point_specs import AnySpec, FreeSpec, PointSpec, plane_pairs
from landscape.session.subject import JUDGED_SPLIT, RADIAL_SPLITS
from landscape.session.training_record import TrainingRecord
from landscape.survey.fidelity import fidelity_result
from landscape.survey.layers import LayerResult
from landscape.survey.plane import PLANE_WINDOWS, PlaneLattice
from landscape.survey.plans import segment_ends
from landscape.survey.result import (
    MethodGap,
    Misalignment,
    PlaneResult,
    PointResult,
    RayProfile,
    SegmentResult,
    StoredPoint,
)
from quant.errors import PointError
from quant.size import ModelSize
from quant.space import Difference, Vector, WeightSpace, dot

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Distances and angles of the points, seen from w."""

    gram: Mapping[tuple[AnySpec, AnySpec], float]
    """⟨Δa, Δb⟩ for every pair that shares a segment, and for every point with itself."""

    def distance(self, point: AnySpec) -> float:
        """Return ‖Δw‖."""
        return math.sqrt(self.gram[point, point])

    def along(self, a: AnySpec | None, b: AnySpec, alphas: Array) -> Array:
        """Return ‖(1 − α)a + αb − w‖ at each α; a is w if None."""
        bb = self.gram[b, b]
        if a is None:
            return np.abs(alphas) * math.sqrt(bb)
        aa, ab = self.gram[a, a], self.gram[a, b]
        square = (1 - alphas) ** 2 * aa + 2 * alphas * (1 - alphas) * ab + alphas**2 * bb
        return np.sqrt(np.maximum(square, 0))


def geometry(space: WeightSpace, center: Vector, points: Mapping[AnySpec, Vector]) -> Geometry:
    """Measure distances and angles of points in float64, one tensor at a time."""
    delta = {spec: Difference(center, point) for spec, point in points.items()}
    gram = {(p, p): dot(space, d, d) for p, d in delta.items()}
    for a, b in segment_ends(list(points)):
        if a is not None:
            gram[a, b] = dot(space, delta[a], delta[b])
    for (p, _), square in gram.items():
        if not math.isfinite(square):
            raise PointError(f"expected finite weights in {p.name}, got a distance from w of {square}")
    return Geometry(gram)


def radial_by_split(
    probes: Probes, family: str, n_directions: int, lambdas: Sequence[float], chance: float, pairs: bool = False
) -> dict[str, RadialProbes]:
    """Return the losses along all rays on each radial split."""
    return {
        split: radial_probes(probes, split, family, n_directions, lambdas, chance, pairs) for split in RADIAL_SPLITS
    }


def ray_profiles(radial: Mapping[str, RadialProbes]) -> tuple[RayProfile, ...]:
    """Return the profile of each direction, at the same distances on every split."""
    profiles = {split: data.totals.sum(2) / data.tokens.sum() for split, data in radial.items()}  # (n_d, n_λ)
    first = next(iter(radial.values()))
    return tuple(
        RayProfile(index, first.lambdas, {split: rows[index] for split, rows in profiles.items()})
        for index in range(len(first.totals))
    )


def point_results(
    probes: Probes,
    labels: Mapping[AnySpec, str],
    shape: Geometry,
    basin: Basin,
    experts: Mapping[AnySpec, ExpertTokens | None] | None = None,
    *,
    sizes: Mapping[AnySpec, ModelSize | None] | None = None,
    training: Mapping[AnySpec, TrainingRecord | None] | None = None,
    along: Mapping[AnySpec, Crossing | None] | None = None,
    layers: Mapping[AnySpec, tuple[LayerResult, ...]] | None = None,
    stored: Mapping[AnySpec, StoredPoint | None] | None = None,
) -> tuple[PointResult, ...]:
    """Return distance, losses, fidelity, location and word for the loss of every point, with what else is known of it.

    Args:
        probes: The losses.
        labels: Labels of the points.
        shape: Distances and angles of the points.
        basin: Basin on the split that points are judged on.
        experts: Calibration tokens of the experts.
        sizes: Bits and bytes.
        training: Epochs of the training.
        along: R along Δw.
        layers: Change of each matrix.
        stored: Places in the store.
    """

    def result(spec: AnySpec, label: str) -> PointResult:
        rise = {split: probes.rise(label, split) for split in probes.windows}
        nll = {split: probes.nll(label, split) for split in probes.windows}
        u = saturation(nll[JUDGED_SPLIT], basin.center_nll, basin.chance)
        distance = shape.distance(spec)
        return PointResult(
            name=spec.name,
            method=spec.method,
            bits=spec.scheme.bits if spec.scheme else None,
            grid=spec.scheme.grid if spec.scheme else None,
            distance=distance,
            rho=ratio(distance, basin.radius),
            nll=nll,
            rise=rise,
            location=location(distance, basin),
            loss=loss_word(rise[JUDGED_SPLIT], u),
            experts=(experts or {}).get(spec),
            along=(along or {}).get(spec),
            training=(training or {}).get(spec),
            layers=(layers or {}).get(spec, ()),
            fidelity={split: fidelity_result(probes, label, split) for split in probes.windows},
            size=(sizes or {}).get(spec),
            stored=(stored or {}).get(spec),
        )

    return tuple(result(spec, label) for spec, label in labels.items())


def segment_results(
    probes: Probes,
    labels: Mapping[AnySpec, str],
    shape: Geometry,
    alphas: Mapping[tuple[str, str], Sequence[float]],
    compared: bool = False,
) -> tuple[SegmentResult, ...]:
    """Return every segment on every radial split.

    Args:
        probes: The losses.
        labels: Labels of the points.
        shape: Distances and angles of the points.
        alphas: Positions of each segment, the same on all splits, by the labels of its ends.
        compared: Whether they were compared with w.
    """
    divergences, agreements = (kind(probes.known, probes.windows) for kind in (Divergences, Agreements))

    def result(a: AnySpec | None, b: AnySpec, split: str) -> SegmentResult:
        start = CENTER if a is None else labels[a]
        positions = np.array(alphas[start, labels[b]])
        places = [on_segment(start, labels[b], float(alpha)) for alpha in positions]
        totals = np.array([probes.totals(place, split) for place in places])
        tokens = probes.tokens(split)
        return SegmentResult(
            a="w" if a is None else a.name,
            b=b.name,
            bits=b.scheme.bits if b.scheme else None,
            split=split,
            alphas=positions,
            distances=shape.along(a, b, positions),
            nll=totals.sum(1) / tokens.sum(),
            connectivity=connectivity(positions, totals, tokens, probes.blocks(split)),
            kl=np.array([divergences.nll(place, split) for place in places]) if compared else None,
            agreement=np.array([agreements.nll(place, split) for place in places]) if compared else None,
        )

    ends = list(segment_ends(list(labels)))
    return tuple(result(a, b, split) for a, b in ends for split in RADIAL_SPLITS)


def misalignments(probes: Probes, labels: Mapping[AnySpec, str]) -> tuple[Misalignment, ...]:
    """Estimate M on every grid that has GPTQ and QAFT, if QAFT's control is there too and both have finite losses.

    Args:
        probes: The losses.
        labels: Labels of the points.
    """
    free = [spec for spec in labels if isinstance(spec, FreeSpec)]
    estimates = []
    for gptq, qaft in plane_pairs(labels):
        control = METHODS[qaft.method].control
        control_spec = next((spec for spec in free if spec.method == control and qaft.width in spec.bits), None)
        trained = [labels[spec] for spec in (qaft, control_spec) if spec is not None]
        finite = all(np.isfinite(probes.totals(label, split)).all() for label in trained for split in probes.windows)
        if control_spec is not None and finite:
            estimates.append(_misalignment(probes, labels, gptq, qaft, control_spec))
    return tuple(estimates)


def _misalignment(
    probes: Probes, labels: Mapping[AnySpec, str], gptq: PointSpec, qaft: PointSpec, control: FreeSpec
) -> Misalignment:
    def difference(split: str, more: Sequence[str], less: Sequence[str]) -> Estimate:
        high, low = (np.sum([probes.totals(label, split) for label in side], axis=0) for side in (more, less))
        return paired_difference(high, low, probes.tokens(split), blocks=probes.blocks(split))

    layerwise, trained, free = labels[gptq], labels[qaft], labels[control]
    splits = tuple(probes.windows)
    return Misalignment(
        grid=str(gptq.scheme),
        control=control.name,
        net={split: difference(split, (layerwise, free), (CENTER, trained)) for split in splits},
        raw={split: difference(split, (layerwise,), (trained,)) for split in splits},
    )


def method_gaps(probes: Probes, labels: Mapping[AnySpec, str]) -> tuple[MethodGap, ...]:
    """Estimate L(GPTQ) − L(QAFT) on every grid that has both, on the splits where the loss of QAFT is finite.

    Args:
        probes: The losses.
        labels: Labels of the points.
    """
    found = []
    for gptq, qaft in plane_pairs(labels):
        losses = {split: [probes.totals(labels[spec], split) for spec in (gptq, qaft)] for split in probes.windows}
        difference = {
            split: paired_difference(high, low, probes.tokens(split), blocks=probes.blocks(split))
            for split, (high, low) in losses.items()
            if np.isfinite(low).all()
        }
        found.append(MethodGap(str(gptq.scheme), difference))
    return tuple(found)


def plane_result(
    probes: Probes, labels: Mapping[AnySpec, str], a: PointSpec, b: PointSpec, lattice: PlaneLattice
) -> PlaneResult:
    """Return the loss on the plane through w, a and b, on the first windows of the judged split."""
    first = {JUDGED_SPLIT: probes.windows[JUDGED_SPLIT][:PLANE_WINDOWS]}
    some_probes = Probes(probes.known, first)

    def nll(s: float, t: float) -> float:
        return some_probes.nll(on_plane(labels[a], labels[b], s, t), JUDGED_SPLIT)

    basis = lattice.basis
    return PlaneResult(
        a=a.name,
        b=b.name,
        bits=a.scheme.bits,
        split=JUDGED_SPLIT,
        windows=len(first[JUDGED_SPLIT]),
        x=lattice.x,
        y=lattice.y,
        nll=np.array([[nll(s, t) for s, t in row] for row in lattice.affine.tolist()]),
        places={CENTER: (0.0, 0.0), a.name: (basis.a, 0.0), b.name: basis.b},
        point_nll={CENTER: nll(0.0, 0.0), a.name: nll(1.0, 0.0), b.name: nll(0.0, 1.0)},
    )
