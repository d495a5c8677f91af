"""Say what a landscape shows, in the sentences of its page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from landscape.estimators.intervals import CONFIDENCE
from landscape.estimators.perplexity import perplexity
from landscape.formatting import distance_text, equals, height_text, nats, number, plural, rise_text, windows_text
from landscape.report.survey.verdicts import near_but_steep, typical_rise
from landscape.survey.result import PlaneResult, SegmentResult, SurveyResult

READING = (
    "Thin grey lines: the loss along random directions from the pretrained weights w, against ℓ2 distance; lower is "
    "better. The vertical line is the basin radius R, where their mean has risen half of the way from L(w) to chance; "
    "the shaded band from r10 to r90 is the basin's border.",
    "Markers are quantized weights, coloured lines the straight segments between them and w. A marker left of the band "
    "and as low as the grey lines is as harmless as a random step of that length.",
    "Location says where ‖Δw‖ lies against the band. Loss is lost from half of the way to chance on; else kept if all "
    "of ΔL's interval is within a perplexity 5 % higher, degraded if all of it lies beyond, and inconclusive if it "
    "reaches across. Steep: inside, and yet all of ΔL's interval is above the mean of the random directions.",
)
CAVEATS = (
    "R is measured along random directions. The perturbation of a particular quantizer is one particular direction and "
    "can be much steeper, or flatter: location and loss are therefore two words. Intervals are at "
    f"{CONFIDENCE:.0%} confidence, over directions and windows of this text only; windows of one article "
    "count together, where the text shows its articles."
)


def subtitle(landscape: SurveyResult) -> str:
    """Name the text, the loss at w with its perplexity, and the basin on ‖w‖'s scale, in one line."""
    base, split, norm = landscape.center[landscape.split], landscape.split, landscape.subject.norm
    radius = distance_text(landscape.basin.radius, landscape.basin, norm)
    return (
        f"{landscape.subject.data}, windows of {landscape.subject.seq_len} tokens; at w NLL {nats(base)}, perplexity "
        f"{number(perplexity(base), 4)} on {split}; R/‖w‖: {radius}."
    )


def notable_sentences(landscape: SurveyResult) -> list[str]:
    """Report what a reader should not miss: the basin, points off the rule, ridges; the tables hold the rest."""
    return [*basin_sentences(landscape), *point_sentences(landscape), *segment_sentences(landscape)]


def point_sentences(landscape: SurveyResult) -> list[str]:
    """Name the points whose loss their distance does not explain: near but steep, or far but not lost."""
    said = []
    for point in near_but_steep(landscape):
        typical = typical_rise(landscape, point.distance)
        assert typical is not None  # else nothing is steeper
        rise = rise_text(point.rise[landscape.split])
        said.append(
            f"Near but steep: {point.name} lies inside the basin, and yet ΔL = {rise}; random directions at that "
            f"distance: about {nats(typical, True)}."
        )
    far = [point.name for point in landscape.points if point.location == "outside" and point.loss != "lost"]
    if far:
        said.append(f"Far but not lost: {', '.join(far)}.")
    return said


def subject_sentences(landscape: SurveyResult) -> list[str]:
    """Name the model, the text, and the loss at w."""
    subject = landscape.subject
    losses = ", ".join(f"{nats(nll)} on {split}" for split, nll in landscape.center.items())
    return [
        f"{subject.model}: D = {subject.dimension:,}, ‖w‖ = {number(subject.norm)}; {subject.coverage.sentence}.",
        f"Text: {subject.data}, windows of {subject.seq_len} tokens. NLL at w: {losses}, in nats per token; a uniform "
        f"guess scores ln|V| = {nats(subject.chance)} (chance).",
    ]


def basin_sentences(landscape: SurveyResult) -> list[str]:
    """Report R, the band and the single directions, and what is odd about them."""
    basin, norm = landscape.basin, landscape.subject.norm
    many = "1 random direction" if basin.directions == 1 else f"{basin.directions} random directions"
    said = [
        f"Basin on the {landscape.split} split ({many}, {windows_text(basin.windows, basin.articles)}): "
        f"{equals('R', basin.radius, basin)}; relative to ‖w‖: {distance_text(basin.radius, basin, norm)}.",
        f"Its border begins where the mean loss has risen by a tenth, {equals('r10', basin.r10, basin)}, and ends at "
        f"nine tenths, {equals('r90', basin.r90, basin)}.",
    ]
    spread = basin.direction_spread
    if spread is not None and basin.directions > 1:
        said.append(f"The radii of single directions range from {number(spread.low, 3)} to {number(spread.high, 3)}.")
    said += [
        f"Farther out the mean loss falls below the level of {name} again."
        for name, crossing in (("r10", basin.r10), ("R", basin.radius), ("r90", basin.r90))
        if crossing.reentry
    ]
    if basin.non_finite:
        said.append(f"The output overflowed in {basin.non_finite:.1%} of these evaluations; they count as lost.")
    return said


def segment_sentences(landscape: SurveyResult) -> list[str]:
    """Say which points are not simply connected with w, and how many are."""
    own = [s for s in landscape.segments if s.a == "w" and s.split == landscape.split]
    ridged = [s for s in own if s.connectivity.monotonic is False]
    open_ = [s for s in own if s.connectivity.monotonic is None]
    said = [f"A ridge on the straight line from w to {_listed(ridged)}."] if ridged else []
    said += map(ridge_sentence, ridged)
    if open_:
        said.append(f"Undecided, for lack of windows or of finite losses: a ridge on the line to {_listed(open_)}.")
    if flat := len(own) - len(ridged) - len(open_):
        of = "all" if flat == len(own) else f"{flat} of the"
        said.append(f"No ridge beyond the noise on {of} {len(own)} straight lines from w to a point.")
    return said


def ridge_sentence(segment: SegmentResult) -> str:
    """Say where the ridge of a segment is and how deep the fall behind it, with the barriers."""
    c = segment.connectivity
    top = "this end" if c.ridge_alpha == c.low_end == 0 else f"the ridge at α = {number(c.ridge_alpha, 3)}"
    return (
        f"From {segment.a} to {segment.b} the loss falls by P = {height_text(c.prominence_interval)} from {top} to "
        f"the valley at α = {number(c.valley_alpha, 3)}; barrier over the straight "
        f"line {height_text(c.barrier_interval)} at α = {number(c.barrier_alpha, 3)}, over the higher end "
        f"{height_text(c.barrier_max_interval)} at α = {number(c.barrier_max_alpha, 3)}."
    )


def plane_sentences(plane: PlaneResult, landscape: SurveyResult) -> list[str]:
    """Describe the picture of a plane for readers who cannot see it."""
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
        f"{plural(plane.windows, 'window')} of {plane.split}: w at NLL {nats(base)}, {ends}.",
        f"Seen from w the two are {number(angle, 2)}° apart; {border}.",
    ]
    if gaps := int((~np.isfinite(plane.nll)).sum()):
        said.append(f"Where the model's output overflowed ({plural(gaps, 'position')}) nothing is drawn.")
    return said


def _listed(segments: Sequence[SegmentResult]) -> str:
    return ", ".join(s.b for s in segments)
