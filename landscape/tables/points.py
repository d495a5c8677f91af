"""Lay out the quantized points: one row a point and split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from landscape.estimators.location import ratio
from landscape.estimators.perplexity import in_per_cent, perplexity, perplexity_change
from landscape.survey.result import PointResult, SurveyResult
from landscape.tables.column import L2, NATS, Row, column, crossing_cells, estimate_cells, high_end, low_end
from landscape.tables.models import size_cells
from quant.scheme import QuantScheme

TOKENS = "share of the tokens"


@dataclass(frozen=True, kw_only=True)
class PointRow(Row):
    """One quantized point on one split; distances, words and sizes are the same on all splits."""

    model: str = column("Name of the model.")
    point: str = column("Name of the point.")
    method: str = column("Method that made it; its own name for a point of another tool.")
    bits: int | None = column("Bit width; empty off the grid and for a point of another tool.", "bits")
    scale: str | None = column("Rule for the scales of its grid; of a float format its name, such as nvfp4.")
    granularity: str | None = column("Weights that share a scale: tensor, channel or group:N.")
    symmetric: bool | None = column("Whether its grid is symmetric around zero.")
    split: str = column("Split of the text.")
    nll: float = column("NLL of the point; inf or nan where its output overflowed.", NATS)
    perplexity: float = column("exp NLL, per token.")
    perplexity_change_percent: float = column("Change of the perplexity against w, 100 (exp ΔL − 1).", "per cent")
    perplexity_change_percent_low: float = low_end("perplexity_change_percent", "per cent")
    perplexity_change_percent_high: float = high_end("perplexity_change_percent", "per cent")
    rise: float = column("L(point) − L(w) over paired windows.", NATS)
    rise_low: float = low_end("rise", NATS)
    rise_high: float = high_end("rise", NATS)
    kl: float | None = column("Mean KL(w ‖ point); empty if not measured.", NATS)
    kl_low: float | None = low_end("kl", NATS)
    kl_high: float | None = high_end("kl", NATS)
    agreement: float | None = column("How often the most probable token is that of w; empty if not measured.", TOKENS)
    agreement_low: float | None = low_end("agreement", TOKENS)
    agreement_high: float | None = high_end("agreement", TOKENS)
    distance: float = column("‖Δw‖, the distance from w.", L2)
    relative_distance: float = column("‖Δw‖ / ‖w‖.")
    rho: float | None = column("ρ = ‖Δw‖ / R, with R along random directions; empty if R was not reached.")
    rho_low: float | None = low_end("rho")
    rho_high: float | None = high_end("rho")
    radius_along: float | None = column("R along Δw itself; empty if not reached or not probed.", L2)
    radius_along_low: float | None = low_end("radius_along; a lower bound where it was not reached", L2)
    radius_along_high: float | None = high_end("radius_along", L2)
    rho_along: float | None = column("ρ_Δ = ‖Δw‖ / R along Δw; empty if that was not reached or not probed.")
    rho_along_low: float | None = low_end("rho_along")
    rho_along_high: float | None = high_end("rho_along")
    location: str = column("Place against the border of the basin: inside, border, outside or unresolved.")
    loss: str = column("Word for its loss on the judged split: kept, inconclusive, degraded or lost.")
    space_bits: float | None = column("Bits per weight of the weight space: codes, scales and zero points.", "bits")
    model_bits: float | None = column("Bits per parameter of the whole model.", "bits")
    bytes: int | None = column("Size of the whole model.", "bytes")
    expert_matrices: int | None = column("Number of matrices of experts, where GPTQ calibrated experts.")
    expert_matrices_few: int | None = column("How many of these saw some calibration tokens, but fewer than inputs.")
    expert_matrices_none: int | None = column("How many of these saw no calibration token.")


def point_rows(found: SurveyResult) -> Iterator[PointRow]:
    """Yield a row for each point and each split that it was evaluated on."""
    for point in found.points:
        shared = _of_all_splits(point, found)
        for split, nll in point.nll.items():
            rise, fidelity = point.rise[split], point.fidelity.get(split)
            yield PointRow(
                split=split,
                nll=float(nll),
                perplexity=perplexity(nll),
                **estimate_cells("perplexity_change_percent", in_per_cent(perplexity_change(rise))),
                **estimate_cells("rise", rise),
                **estimate_cells("kl", fidelity.kl if fidelity else None),
                **estimate_cells("agreement", fidelity.agreement if fidelity else None),
                **shared,
            )


def _of_all_splits(point: PointResult, found: SurveyResult) -> dict[str, Any]:
    """Return the columns that are the same on all splits."""
    experts = point.experts
    return {
        "model": found.subject.model,
        "point": point.name,
        "method": point.method,
        **grid_cells(point.bits, point.grid),
        "distance": float(point.distance),
        "relative_distance": float(point.distance) / found.subject.norm,
        **estimate_cells("rho", point.rho),
        **crossing_cells("radius_along", point.along),
        **estimate_cells("rho_along", ratio(point.distance, point.along) if point.along else None),
        "location": point.location,
        "loss": point.loss,
        **size_cells(point.size),
        "expert_matrices": experts.matrices if experts else None,
        "expert_matrices_few": experts.few if experts else None,
        "expert_matrices_none": experts.none if experts else None,
    }


def grid_cells(bits: int | None, grid: str | None) -> dict[str, Any]:
    """Return the columns of a grid from its name; empty off the grid.

    Raises:
        UsageError: if the name is not that of a grid.
    """
    scheme = None if bits is None or grid is None else QuantScheme.of_grid(bits, grid)
    return {
        "bits": bits,
        "scale": scheme and (scheme.format or scheme.scale),
        "granularity": scheme and scheme.granularity,
        "symmetric": None if scheme is None else scheme.symmetric,
    }
