"""Say what a landscape shows, in the sentences of its page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from landscape.estimators.intervals import CONFIDENCE
from landscape.formatting import distance_text, equals, height_text, nats, number, plural, windows_text
from landscape.survey.result import PlaneResult, SegmentResult, SurveyResult

READING = (
    "Each thin grey line is the loss along one random direction from the pretrained weights w; the horizontal axis is "
    "the ℓ2 distance from w, the vertical one the NLL in nats per token: lower is better.",
    "The vertical line is the basin radius R, where their mean has risen half of the way from the loss at w to chance; "
    "the shaded band from r10 to r90 is the basin's border (a tenth and nine tenths of the way).",
    "Markers are quantized weights, lines the straight segments between them and w, a little beyond the markers: a "
    "marker left of the band and as low as the grey lines is as harmless as a random step of that length.",
    "Each point has two words. Its location says where ‖Δw‖ lies against the band. Its loss is lost from half of the "
    "way to chance on; else it is kept if all of ΔL's interval is within a perplexity 5 % higher, degraded if all of "
    "it lies beyond, and inconclusive if it reaches across. A point near w is called steep only if all of ΔL's "
    "interval is above the mean of the random directions.",
)
CAVEATS = (
    "R is measured along random directions. The perturbation of a particular quantizer is one particular direction and "
    "can be much steeper, or flatter: location and loss are therefore two words. Intervals are at "
    f"{CONFIDENCE:.0%} confidence, over directions and windows of this text only; windows of one article "
    "count together, where the text shows its articles."
)


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
    """Say which points are simply connected with w."""
    own = [s for s in landscape.segments if s.a == "w" and s.split == landscape.split]
    ridged = [s for s in own if s.connectivity.monotonic is False]
    groups = (
        ("No ridge beyond the noise on the straight line from w to", [s for s in own if s.connectivity.monotonic]),
        ("A ridge on the straight line from w to", ridged),
        (
            "Undecided, for lack of windows or of finite losses, for",
            [s for s in own if s.connectivity.monotonic is None],
        ),
    )
    said = [f"{words} {_listed(found)}." for words, found in groups if found]
    return [*said, *map(ridge_sentence, ridged)]


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
