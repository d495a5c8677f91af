"""Judge a point by its two words: what location and loss mean together, and whether its loss is steep."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.estimators.basin import Basin
from landscape.estimators.location import KEPT_LIMIT, Location, Loss, steeper
from landscape.estimators.loss_limit import Limit
from landscape.formatting import interval, nats, number, rise_text, why_unbounded
from landscape.session.point_methods import METHODS
from landscape.survey.result import PointResult, SurveyResult

KEPT = Limit("ppl+5%", KEPT_LIMIT)
"""The limit under which a loss counts as kept."""


@dataclass(frozen=True)
class PointNote:
    """The words for one point, and the numbers behind them."""

    name: str
    verdict: str
    """Its location and its loss, one word each, and what they mean together."""
    detail: str
    """The numbers behind it."""


def point_note(point: PointResult, landscape: SurveyResult) -> PointNote:
    """Return the two words for a point, and the numbers behind them."""
    split, typical = landscape.split, typical_rise(landscape, point.distance)
    share = point.distance / landscape.subject.norm
    detail = f"‖Δw‖ = {number(point.distance)}"
    detail += f", ρ = {ratio_text(point, landscape.basin)}" if point.rho else f", {number(share, 3)} ‖w‖"
    detail += f"; {split} NLL {nats(point.nll[split])}, ΔL = {rise_text(point.rise[split])}."
    if point.loss == "inconclusive":
        detail += f" Its interval reaches across {nats(KEPT.nats)}, a perplexity 5 % higher."
    if point.distance == 0:
        trained = point.method in METHODS and METHODS[point.method].trains
        detail += " It is w itself" + (": no epoch of its training had a lower validation loss." if trained else ".")
    elif typical is not None:
        detail += f" Random directions at that distance: ΔL about {nats(typical, True)}."
    if point.experts is not None:
        detail += f" {point.experts.sentence}"
    return PointNote(point.name, verdict_text(point, landscape), detail)


def verdict_text(point: PointResult, landscape: SurveyResult) -> str:
    """Write ``inside, lost: near but steep``."""
    return two_words(point.location, point.loss, point.method == "rtn", is_steep(point, landscape))


def two_words(location: Location, loss: Loss, rounded: bool, steep: bool) -> str:
    """Write location and loss, and what they mean together: see ``joint_meaning``."""
    hint = joint_meaning(location, loss, rounded, steep)
    return f"{location}, {loss}" + (f": {hint}" if hint else "")


def joint_meaning(location: Location, loss: Loss, rounded: bool, steep: bool) -> str:
    """Say what location and loss mean together; empty where that adds nothing.

    Args:
        location: Where the point lies.
        loss: The word for what is left of the model there.
        rounded: Whether RTN made the point.
        steep: Whether its loss is shown to be more than that of random directions at its distance.
    """
    match location, loss:
        case "inside", "kept":
            return "rounding is cheap here" if rounded else "near and flat"
        case "inside", _:
            flat = "near; not steeper than a random step of that length, as far as the data show"
            return "near but steep" if steep else flat
        case "border", "kept":
            return "flat up to the border"
        case "outside", "kept" | "inconclusive" | "degraded":
            return "far but not lost"
        case "outside", "lost":
            return "far and lost"
        case "unresolved", _:
            return "the intervals of the band leave its place open"
    return ""


def near_but_steep(landscape: SurveyResult) -> list[PointResult]:
    """Return the points inside the basin that are not kept and whose loss rises more than that of a random step."""
    inside = [point for point in landscape.points if point.location == "inside" and point.loss != "kept"]
    return [point for point in inside if is_steep(point, landscape)]


def is_steep(point: PointResult, landscape: SurveyResult) -> bool:
    """Return whether the loss is shown to rise more than along random directions to the same distance.

    All of ΔL's interval must lie above their mean; nothing is shown where they were not probed or overflowed.
    """
    typical = typical_rise(landscape, point.distance)
    return typical is not None and steeper(point.rise[landscape.split], typical)


def typical_rise(landscape: SurveyResult, distance: float) -> float | None:
    """Interpolate the mean ΔL of the random directions at a distance.

    Returns:
        ΔL in nats per token; None where the directions were not probed or overflowed.
    """
    split = landscape.split
    base, found = landscape.center[split], []
    for ray in landscape.rays:
        lambdas, nll = np.concatenate([[0.0], ray.lambdas]), np.concatenate([[base], ray.nll[split]])
        if distance > lambdas[-1]:
            return None
        found.append(float(np.interp(distance**2, lambdas**2, nll)) - base)  # near w the loss is quadratic in λ
    mean = float(np.mean(found)) if found else math.nan
    return mean if math.isfinite(mean) else None


def ratio_text(point: PointResult, basin: Basin) -> str:
    """Write ρ with its interval."""
    if point.rho is None:
        return "R not reached"
    return interval(
        point.rho, number(point.rho.value, 3), why_unbounded(basin.directions, basin.windows, basin.articles)
    )
