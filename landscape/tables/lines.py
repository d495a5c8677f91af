"""Lay out losses along lines: random directions from w, and segments between points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from landscape.survey.result import Array, SurveyResult
from landscape.tables.column import L2, NATS, Row, column, estimate_cells, high_end, low_end
from landscape.tables.points import TOKENS

ALPHA = "share of the way from a to b"
_AGREEMENT = "Share of the tokens whose most probable id is the same as at w; empty unless probed by KL."


@dataclass(frozen=True, kw_only=True)
class RayRow(Row):
    """One position on a random direction from w, on one split; w itself, at distance 0, is not repeated."""

    model: str = column("Name of the model.")
    split: str = column("Split of the text.")
    direction: int = column("Index of the direction in its family.")
    distance: float = column("λ, the distance from w.", L2)
    relative_distance: float = column("λ / ‖w‖.")
    rho: float | None = column("λ / R on this split; empty if R was not reached.")
    nll: float = column("NLL there; inf or nan where the output overflowed.", NATS)
    kl: float | None = column("Mean KL(w ‖ position); empty unless probed by KL.", NATS)
    agreement: float | None = column(_AGREEMENT, TOKENS)


@dataclass(frozen=True, kw_only=True)
class SegmentRow(Row):
    """One position ``(1 − α)a + αb`` on the straight line between two points, on one split."""

    model: str = column("Name of the model.")
    a: str = column("Point at α = 0; w for the centre.")
    b: str = column("Point at α = 1.")
    bits: int | None = column("Bit width of the points; empty for a point off the grid or of another tool.", "bits")
    split: str = column("Split of the text.")
    alpha: float = column("α, a little beyond [0, 1].", ALPHA)
    distance: float = column("Distance from w; not linear in α.", L2)
    nll: float = column("NLL there; inf or nan where the output overflowed.", NATS)
    kl: float | None = column("Mean KL(w ‖ position); empty unless probed by KL.", NATS)
    agreement: float | None = column(_AGREEMENT, TOKENS)


@dataclass(frozen=True, kw_only=True)
class SegmentSummaryRow(Row):
    """One segment on one split: whether its ends are simply connected, and the barriers between them."""

    model: str = column("Name of the model.")
    a: str = column("Point at α = 0; w for the centre.")
    b: str = column("Point at α = 1.")
    bits: int | None = column("Bit width of the points; empty for a point off the grid or of another tool.", "bits")
    split: str = column("Split of the text.")
    monotonic: bool | None = column("Whether the loss falls nowhere beyond noise from the low end; empty if open.")
    low_end_alpha: float = column("α of the end with the lower loss, 0 or 1.", ALPHA)
    prominence: float = column("Deepest fall of the loss, counted from the low end; 0 if it never falls.", NATS)
    prominence_low: float = low_end("prominence", NATS)
    prominence_high: float = high_end("prominence", NATS)
    ridge_alpha: float = column("α at the top of that fall.", ALPHA)
    valley_alpha: float = column("α at the bottom of that fall.", ALPHA)
    dip: float = column("Largest fall below the low end.", NATS)
    barrier: float = column("Largest excess over the straight line between the losses of the ends.", NATS)
    barrier_low: float = low_end("barrier", NATS)
    barrier_high: float = high_end("barrier", NATS)
    barrier_alpha: float = column("α of the barrier.", ALPHA)
    barrier_max: float = column("Largest excess over the higher end.", NATS)
    barrier_max_low: float = low_end("barrier_max", NATS)
    barrier_max_high: float = high_end("barrier_max", NATS)
    barrier_max_alpha: float = column("α of the highest loss.", ALPHA)
    noise: float | None = column("Largest prominence that the choice of windows explains; empty if not known.", NATS)


def ray_rows(found: SurveyResult) -> Iterator[RayRow]:
    """Yield a row for each position on each direction, split by split."""
    norm = found.subject.norm
    for split, basin in found.basins.items():
        radius = basin.radius.value
        for ray in found.rays:
            columns = (ray.lambdas, ray.nll[split], ray.kl.get(split), ray.agreement.get(split))
            for lam, nll, divergence, share in _together(*columns):
                yield RayRow(
                    model=found.subject.model,
                    split=split,
                    direction=ray.index,
                    distance=lam,
                    relative_distance=lam / norm,
                    rho=None if radius is None else lam / float(radius),
                    nll=nll,
                    kl=divergence,
                    agreement=share,
                )


def segment_rows(found: SurveyResult) -> Iterator[SegmentRow]:
    """Yield a row for each position on each segment."""
    for segment in found.segments:
        columns = (segment.alphas, segment.distances, segment.nll, segment.kl, segment.agreement)
        for alpha, distance, nll, divergence, share in _together(*columns):
            yield SegmentRow(
                model=found.subject.model,
                a=segment.a,
                b=segment.b,
                bits=segment.bits,
                split=segment.split,
                alpha=alpha,
                distance=distance,
                nll=nll,
                kl=divergence,
                agreement=share,
            )


def _together(places: Array, *values: Array | None) -> Iterator[tuple[Any, ...]]:
    """Yield each place with its values, which are None where there are none."""
    columns = ([None] * len(places) if each is None else each.tolist() for each in values)
    return zip(places.tolist(), *columns, strict=True)


def segment_summary_rows(found: SurveyResult) -> Iterator[SegmentSummaryRow]:
    """Yield a row for each segment and split."""
    for segment in found.segments:
        shape = segment.connectivity
        yield SegmentSummaryRow(
            model=found.subject.model,
            a=segment.a,
            b=segment.b,
            bits=segment.bits,
            split=segment.split,
            monotonic=shape.monotonic,
            low_end_alpha=shape.low_end,
            **estimate_cells("prominence", shape.prominence_interval),
            ridge_alpha=shape.ridge_alpha,
            valley_alpha=shape.valley_alpha,
            dip=shape.dip,
            **estimate_cells("barrier", shape.barrier_interval),
            barrier_alpha=shape.barrier_alpha,
            **estimate_cells("barrier_max", shape.barrier_max_interval),
            barrier_max_alpha=shape.barrier_max_alpha,
            noise=shape.noise,
        )
