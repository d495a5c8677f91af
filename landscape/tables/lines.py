"""Lay out losses along lines: random directions from w, and segments between points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from landscape.survey.result import SurveyResult
from landscape.tables.column import L2, NATS, Row, column, estimate_cells, high_end, low_end

ALPHA = "share of the way from a to b"


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
            kl = ray.kl[split].tolist() if split in ray.kl else [None] * len(ray.lambdas)
            for lam, nll, divergence in zip(ray.lambdas.tolist(), ray.nll[split].tolist(), kl, strict=True):
                yield RayRow(
                    model=found.subject.model,
                    split=split,
                    direction=ray.index,
                    distance=lam,
                    relative_distance=lam / norm,
                    rho=None if radius is None else lam / float(radius),
                    nll=nll,
                    kl=divergence,
                )


def segment_rows(found: SurveyResult) -> Iterator[SegmentRow]:
    """Yield a row for each position on each segment."""
    for segment in found.segments:
        kl = [None] * len(segment.alphas) if segment.kl is None else segment.kl.tolist()
        values = (segment.alphas.tolist(), segment.distances.tolist(), segment.nll.tolist(), kl)
        for alpha, distance, nll, divergence in zip(*values, strict=True):
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
            )


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
