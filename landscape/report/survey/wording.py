"""Numbers with their intervals as text, and the sentences that say what a landscape shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.estimators.basin import Basin
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import CONFIDENCE, Estimate
from landscape.estimators.location import KEPT_LIMIT, Location, Loss, steeper
from landscape.estimators.loss_limit import Limit
from landscape.formatting import with_minus
from landscape.health.checks import Check, failed
from landscape.survey.result import PlaneResult, PointResult, SegmentResult, SurveyResult

READING = (
    "Each thin grey line is the loss along one random direction from the pretrained weights w; the horizontal axis is "
    "the ℓ2 distance from w, the vertical one the NLL in nats per token: lower is better.",
    "The vertical line is the basin radius R, where their mean has risen half of the way from the loss at w to chance; "
    "the shaded band from r10 to r90 is the basin's border (a tenth and nine tenths of the way).",
    "Markers are quantized weights, lines the straight segments between them and w, a little beyond the markers: a "
    "marker left of the band and as low as the grey lines is as harmless as a random step of that length.",
    "Each point has two words. Its location is that of ‖Δw‖ against the band. Its loss is kept if all of ΔL's interval "
    "is within a perplexity 5 % higher, lost from half of the way to chance on, and else degraded: not shown to be "
    "kept. A point near w is called steep only if all of ΔL's interval is above the mean of the random directions.",
)
KEPT = Limit("ppl+5%", KEPT_LIMIT)
"""The limit under which a loss counts as kept."""
CAVEATS = (
    "R is measured along random directions. The perturbation of a particular quantizer is one particular direction and "
    "can be much steeper, or flatter: location and loss are therefore two words. Intervals are at "
    f"{CONFIDENCE:.0%} confidence, over directions and windows of this text only; windows of one article "
    "count together, where the text tells its articles."
)


@dataclass(frozen=True)
class PointNote:
    """What is said about one point."""

    name: str
    verdict: str
    """Its location and its loss, two words, and what they mean together."""
    detail: str
    """The numbers behind it."""


def number(value: float, digits: int = 5) -> str:
    """A number with so many significant digits, written out; all digits before the point are kept."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    scientific = f"{value:.{digits - 1}e}"
    exponent = int(scientific[scientific.index("e") + 1 :])  # after rounding: 9.999 has two digits before the point
    return with_minus(scientific if exponent < -4 else f"{value:,.{max(0, digits - 1 - exponent)}f}")


def nats(value: float, signed: bool = False) -> str:
    """An NLL, or a difference of two, to four decimals."""
    return with_minus(f"{value:{'+' if signed else ''}.4f}") if math.isfinite(value) else number(value)


def interval(estimate: Estimate, text: str, unbounded: str, signed_nats: bool = False) -> str:
    """``text [low, high]``, or ``text (unbounded)`` where the data do not bound it.

    Args:
        estimate: What has the interval.
        text: Its value, as text.
        unbounded: Why there may be no bound: ``why_unbounded``.
        signed_nats: Write the ends as differences of NLL.
    """
    if not math.isfinite(estimate.high) and not (math.isfinite(estimate.low) and estimate.low > 0):
        return f"{text} ({unbounded})"
    low, high = (nats(end, True) if signed_nats else number(end, 3) for end in (estimate.low, estimate.high))
    return f"{text} [{low}, {high}]"


def windows_text(windows: int, articles: int | None) -> str:
    """``8 windows in 7 articles``; where the articles are not known it is said what intervals take in their place."""
    if articles is None:
        return _plural(windows, "window") + (", each taken for independent" if windows > 1 else "")
    return f"{_plural(windows, 'window')} in {_plural(articles, 'article')}"


def why_unbounded(directions: int, windows: int, articles: int | None = None) -> str:
    """Why an interval of R is infinite."""
    if directions < 2:
        return "not bounded by one direction"
    if windows < 2:
        return "not bounded by one window"
    return (
        "not bounded by windows of one article: take more of the text" if articles == 1 else "not bounded by the data"
    )


def distance_text(crossing: Crossing, basin: Basin, norm: float = 1.0) -> str:
    """A radius with its interval, divided by ``norm``; a lower bound where the loss never gets there."""
    return crossing_text(crossing, basin.directions, basin.windows, norm, basin.articles)


def crossing_text(
    crossing: Crossing, directions: int, windows: int, norm: float = 1.0, articles: int | None = None
) -> str:
    """The same of a crossing that belongs to no basin."""
    if crossing.value is not None:
        scaled = Estimate(crossing.value / norm, crossing.low / norm, crossing.high / norm)
        return interval(scaled, number(scaled.value, 3), why_unbounded(directions, windows, articles))
    reached, low = number(crossing.bracket[0] / norm, 3), number(crossing.low / norm, 3)
    if crossing.low == 0:
        return f"not reached up to {reached}, without a sure lower bound"
    return f"more than {low}" + (f" (probed up to {reached})" if low != reached else "")


def equals(name: str, crossing: Crossing, basin: Basin, norm: float = 1.0) -> str:
    """``R = 71.2 [69.8, 72.6]``, or ``R is more than 50.0``."""
    return f"{name} {'is' if crossing.value is None else '='} {distance_text(crossing, basin, norm)}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def headline(landscape: SurveyResult) -> str:
    """The finding in one line: ``opt-nano: basin radius R = 71.2 [69.8, 72.6]``."""
    return f"{landscape.subject.model}: basin radius {equals('R', landscape.basin.radius, landscape.basin)}"


def ratio_text(point: PointResult, basin: Basin) -> str:
    """ρ with its interval."""
    if point.rho is None:
        return "R not reached"
    return interval(
        point.rho, number(point.rho.value, 3), why_unbounded(basin.directions, basin.windows, basin.articles)
    )


def rise_text(rise: Estimate) -> str:
    """ΔL with its interval over windows, or over their articles."""
    reason = "not bounded by one window or article" if math.isfinite(rise.value) else "the model's output overflowed"
    return interval(rise, nats(rise.value, True), reason, signed_nats=True)


def subject_sentences(landscape: SurveyResult) -> list[str]:
    """The model, the text, and the loss at w."""
    subject = landscape.subject
    losses = ", ".join(f"{nats(nll)} on {split}" for split, nll in landscape.center.items())
    return [
        f"{subject.model}: D = {subject.dimension:,}, ‖w‖ = {number(subject.norm)}; {subject.coverage.sentence}.",
        f"Text: {subject.data}, windows of {subject.seq_len} tokens. NLL at w: {losses}, in nats per token; a uniform "
        f"guess scores ln|V| = {nats(subject.chance)} (chance).",
    ]


def basin_sentences(landscape: SurveyResult) -> list[str]:
    """R, the band, the single directions, and what is odd about them."""
    basin, norm = landscape.basin, landscape.subject.norm
    many = "1 random direction" if basin.directions == 1 else f"{basin.directions} random directions"
    said = [
        f"Basin on the {landscape.verdict_split} split ({many}, {windows_text(basin.windows, basin.articles)}): "
        f"{equals('R', basin.radius, basin)}; relative to ‖w‖: {distance_text(basin.radius, basin, norm)}.",
        f"Its border begins where the mean loss has risen by a tenth, {equals('r10', basin.r10, basin)}, and ends at "
        f"nine tenths, {equals('r90', basin.r90, basin)}.",
    ]
    spread = basin.direction_spread
    if spread is not None and basin.directions > 1:
        said.append(f"The radii of single directions go from {number(spread.low, 3)} to {number(spread.high, 3)}.")
    said += [
        f"Farther out the mean loss falls below the level of {name} again."
        for name, crossing in (("r10", basin.r10), ("R", basin.radius), ("r90", basin.r90))
        if crossing.reentry
    ]
    if basin.non_finite:
        said.append(f"The output overflowed in {basin.non_finite:.1%} of these evaluations; they count as lost.")
    return said


def point_note(point: PointResult, landscape: SurveyResult) -> PointNote:
    """The two words for a point, and the numbers behind them."""
    split, typical = landscape.verdict_split, typical_rise(landscape, point.distance)
    detail = f"‖Δw‖ = {number(point.distance)}"
    detail += (
        f", ρ = {ratio_text(point, landscape.basin)}" if point.rho else f", {number(_share(point, landscape), 3)} ‖w‖"
    )
    detail += f"; {split} NLL {nats(point.nll[split])}, ΔL = {rise_text(point.rise[split])}."
    if is_open(point, landscape):
        detail += f" That is within {nats(KEPT.nats)}, a perplexity 5 % higher, but its interval reaches across."
    if typical is not None:
        detail += f" Random directions at that distance: ΔL about {nats(typical, True)}."
    if point.experts is not None:
        detail += f" {point.experts.sentence}"
    hint = verdict_hint(point, is_steep(point, landscape))
    return PointNote(point.name, f"{point.location}, {point.loss}" + (f": {hint}" if hint else ""), detail)


def is_steep(point: PointResult, landscape: SurveyResult) -> bool:
    """Whether the loss is shown to rise more than along random directions to the same distance.

    All of ΔL's interval must lie above their mean; nothing is shown where they were not probed or overflowed.
    """
    typical = typical_rise(landscape, point.distance)
    return typical is not None and steeper(point.rise[landscape.verdict_split], typical)


def is_open(point: PointResult, landscape: SurveyResult) -> bool:
    """Whether a loss is degraded only because its interval reaches across the limit that ΔL itself is within."""
    return point.loss == "degraded" and KEPT.leaves_open(point.rise[landscape.verdict_split])


def verdict_hint(point: PointResult, steep: bool = True) -> str:
    """What location and loss mean together; empty where the one says no more than the other.

    Args:
        point: What has the two words.
        steep: Whether its loss is shown to be more than that of random directions at its distance.
    """
    return together(point.location, point.loss, point.method == "rtn", steep)


def together(location: Location, loss: Loss, rounded: bool, steep: bool) -> str:
    """The same of a point that is given by its two words.

    Args:
        location: Where it lies.
        loss: What is left of the model.
        rounded: Whether it is RTN's.
        steep: Whether its loss is shown to be more than that of random directions at its distance.
    """
    match location, loss:
        case "inside", "kept":
            return "rounding is cheap here" if rounded else "near and flat"
        case "inside", _:
            return "near but steep" if steep else "near, and not shown to be steeper than a random step of that length"
        case "border", "kept":
            return "flat up to the border"
        case "outside", "kept" | "degraded":
            return "far but not lost"
        case "outside", "lost":
            return "far and lost"
        case "unresolved", _:
            return "the intervals of the band leave its place open"
    return ""


def typical_rise(landscape: SurveyResult, distance: float) -> float | None:
    """Mean ΔL of the random directions at a distance, interpolated; None where they were not probed or overflowed."""
    split = landscape.verdict_split
    base, found = landscape.center[split], []
    for ray in landscape.rays:
        lambdas, nll = np.concatenate([[0.0], ray.lambdas]), np.concatenate([[base], ray.nll[split]])
        if distance > lambdas[-1]:
            return None
        found.append(float(np.interp(distance**2, lambdas**2, nll)) - base)  # near w the loss is quadratic in λ
    mean = float(np.mean(found)) if found else math.nan
    return mean if math.isfinite(mean) else None


def segment_sentences(landscape: SurveyResult) -> list[str]:
    """Which points are simply connected with w."""
    own = [s for s in landscape.segments if s.a == "w" and s.split == landscape.verdict_split]
    ridged = [s for s in own if s.connectivity.monotonic is False]
    groups = (
        ("No ridge beyond the noise on the straight way from w to", [s for s in own if s.connectivity.monotonic]),
        ("A ridge on the way from w to", ridged),
        ("Open, for want of windows or of finite losses, for", [s for s in own if s.connectivity.monotonic is None]),
    )
    said = [f"{words} {_listed(found)}." for words, found in groups if found]
    return [*said, *map(ridge_sentence, ridged)]


def ridge_sentence(segment: SegmentResult) -> str:
    """Where the ridge of a segment is and how deep the fall behind it, with the barriers."""
    c = segment.connectivity
    top = "this end" if c.ridge_alpha == c.low_end == 0 else f"the ridge at α = {number(c.ridge_alpha, 3)}"
    return (
        f"From {segment.a} to {segment.b} the loss falls by P = {height_text(c.prominence_interval)} from {top} to "
        f"the valley at α = {number(c.valley_alpha, 3)}; barrier over the straight "
        f"line {height_text(c.barrier_interval)} at α = {number(c.barrier_alpha, 3)}, over the higher end "
        f"{height_text(c.barrier_max_interval)} at α = {number(c.barrier_max_alpha, 3)}."
    )


def height_text(height: Estimate) -> str:
    """A prominence or a barrier with its interval over windows, or over their articles."""
    reason = "not bounded by one window or article" if math.isfinite(height.value) else "the model's output overflowed"
    if not math.isfinite(height.high):
        return f"{nats(height.value)} ({reason})"
    return f"{nats(height.value)} [{nats(height.low)}, {nats(height.high)}]"


def plane_sentences(plane: PlaneResult, landscape: SurveyResult) -> list[str]:
    """What the picture of a plane shows, for who cannot see it."""
    chance, base = landscape.subject.chance, plane.point_nll["w"]
    angle = math.degrees(math.atan2(*reversed(plane.places[plane.b])))
    ends = ", ".join(
        f"{name} {number(math.hypot(*plane.places[name]), 4)} from w at NLL {nats(nll)} "
        f"(u = {number(float(plane.saturation(chance, nll)), 2)})"
        for name, nll in plane.point_nll.items()
        if name != "w"
    )
    inside = float((plane.saturation(chance) < 0.5).mean())
    border = (
        f"the border of the basin, u = ½, is the thick line; {inside:.0%} of the picture lies below it"
        if 0 < inside < 1
        else f"the border of the basin, u = ½, is not in the picture: all of it lies {'below' if inside else 'above'}"
    )
    said = [
        f"The loss on the plane through w, {plane.a} and {plane.b}, drawn to scale, on "
        f"{_plural(plane.windows, 'window')} of {plane.split}: w at NLL {nats(base)}, {ends}.",
        f"Seen from w the two are {number(angle, 2)}° apart; {border}.",
    ]
    if gaps := int((~np.isfinite(plane.nll)).sum()):
        said.append(f"Where the model's output overflowed ({_plural(gaps, 'position')}) nothing is drawn.")
    return said


def health_sentence(checks: Sequence[Check]) -> str:
    """Whether the run was sound, in one sentence."""
    wrong, judged = failed(checks), [check for check in checks if check.passed is not None]
    if wrong:
        names = ", ".join(check.name for check in wrong)
        return (
            f"No: {len(wrong)} of {_plural(len(judged), 'check')} failed, as is said at the top of the page: {names}."
        )
    return f"Nothing speaks against it: {_plural(len(judged), 'check')} passed, none failed."


def _listed(segments: Sequence[SegmentResult]) -> str:
    return ", ".join(s.b for s in segments)


def _share(point: PointResult, landscape: SurveyResult) -> float:
    return point.distance / landscape.subject.norm


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
