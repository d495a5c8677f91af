"""Set the numbers of a landscape in tables of text, for readers who cannot see the figures or want the digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from landscape.estimators.basin import Basin
from landscape.estimators.intervals import CONFIDENCE, Estimate
from landscape.estimators.other_radii import OtherRadii
from landscape.formatting import distance_text, height_text, nats, number, rise_text
from landscape.report.survey.measures import kl_radius_table, measure_table
from landscape.report.survey.verdicts import ratio_text
from landscape.report.table import Table, provenance, yes
from landscape.survey.result import PlaneResult, PointResult, RayProfile, SegmentResult, SurveyResult


def tables(landscape: SurveyResult) -> list[Table]:
    """Return all tables of the page; together they hold every number of the landscape that a second run repeats.

    Wall time, the share of the cache and its folder are left out: the same measurement gives the same page.
    """
    makers = (
        basin_table, kl_radius_table, point_table, measure_table, misalignment_table, segment_table, provenance_table,
        plane_table, ray_values, segment_values, plane_values,
    )  # fmt: skip
    return [table for make in makers if (table := make(landscape)).rows]


def basin_table(landscape: SurveyResult) -> Table:
    """Return R, the band and the single directions, one column per split."""
    norm, splits = landscape.subject.norm, list(landscape.basins)

    def each(name: str, of: Callable[[Basin], str]) -> tuple[str, ...]:
        return (name, *(of(landscape.basins[split]) for split in splits))

    rows = [
        each("R (half of the way from L(w) to chance)", lambda b: distance_text(b.radius, b)),
        each("R / ‖w‖", lambda b: distance_text(b.radius, b, norm)),
        each("r10, inner edge of the border", lambda b: distance_text(b.r10, b)),
        each("r90, outer edge of the border", lambda b: distance_text(b.r90, b)),
        *(
            (name, *(of(landscape.radii[split], landscape.basins[split]) for split in splits))
            for name, of in _OTHER_RADII.items()
        ),
        each("R of single directions: mean [least, largest]", _spread),
        each("their standard deviation", lambda b: "none" if b.direction_std is None else number(b.direction_std, 3)),
        each("R of each direction", _radii),
        each("directions", lambda b: str(b.directions)),
        each("windows", lambda b: str(b.windows)),
        each("articles of the windows", lambda b: "not known" if b.articles is None else str(b.articles)),
        each("L(w)", lambda b: nats(b.center_nll)),
        each("chance, ln|V|", lambda b: nats(b.chance)),
        each("evaluations that overflowed", lambda b: f"{b.non_finite:.1%}"),
        each("mean profile never falls", lambda b: yes(b.monotone)),
        each("comes back below r10, R, r90", lambda b: ", ".join(yes(c.reentry) for c in (b.r10, b.radius, b.r90))),
    ]
    caption = (
        f"The basin, by split. Distances are ℓ2; brackets are {CONFIDENCE:.0%} intervals over directions and windows, "
        "or the articles of these."
    )
    return Table(caption, ("", *splits), tuple(rows), frozenset({0}))


def _halfway_to_unigram(radii: OtherRadii, basin: Basin) -> str:
    if radii.unigram is None:
        return "w is no better than that"
    return f"{distance_text(radii.unigram.radius, basin)}, {nats(radii.unigram.reference)} nats"


def _estimate(found: Estimate | None, why: str) -> str:
    return why if found is None else f"{number(found.value, 3)} [{number(found.low, 3)}, {number(found.high, 3)}]"


_OTHER_RADII: Mapping[str, Callable[[OtherRadii, Basin], str]] = {
    "perplexity 5 % higher": lambda r, b: distance_text(r.kept, b),
    "steepest rise": lambda r, _: _estimate(r.inflection, "not within the probes"),
    "the parabola near w halfway to chance": lambda r, _: _estimate(r.quadratic, "too few probes near w"),
    "halfway to the entropy of single tokens": _halfway_to_unigram,
}
"""The radii beside R: they show how much of it is the choice of level."""


def point_table(landscape: SurveyResult) -> Table:
    """Return one row a quantized point."""
    splits, norm = list(landscape.center), landscape.subject.norm
    header = (
        "point", "location", "loss", "bits", "grid", "‖Δw‖", "‖Δw‖/‖w‖", "ρ = ‖Δw‖/R",
        *(f"NLL {split}" for split in splits), *(f"ΔL {split}" for split in splits),
    )  # fmt: skip

    def row(p: PointResult) -> tuple[str, ...]:
        return (
            p.name, p.location, p.loss, _bits(p), p.grid or "–", number(p.distance), number(p.distance / norm, 4),
            ratio_text(p, landscape.basin), *(nats(p.nll[s]) for s in splits), *(rise_text(p.rise[s]) for s in splits),
        )  # fmt: skip

    caption = (
        f"The quantized points. Location: ‖Δw‖ against the border of the basin on {landscape.split}. Loss: "
        "what is left of the model there; lost from half of the way to chance on, else kept if all of ΔL's interval "
        "is within a perplexity 5 % higher, degraded if all of it lies beyond, inconclusive if it reaches across. NLL "
        "in nats per token; brackets are "
        f"{CONFIDENCE:.0%} intervals, of ΔL over paired windows."
    )
    return Table(caption, header, tuple(map(row, landscape.points)), frozenset({0, 1, 2, 4}), wide=True)


def misalignment_table(landscape: SurveyResult) -> Table:
    """Return one row per grid: how much of GPTQ's loss is undone by training alone."""
    splits = list(landscape.center)
    header = ("grid", "control", *(f"M {s}" for s in splits), *(f"L(GPTQ) − L(QAFT) {s}" for s in splits))
    rows = (
        (m.grid, m.control, *(rise_text(m.net[s]) for s in splits), *(rise_text(m.raw[s]) for s in splits))
        for m in landscape.misalignments
    )
    caption = (
        "Misalignment M = [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)]: the loss that GPTQ leaves and training undoes, less "
        "what plain fine-tuning of w with the same data, steps and rates gains (the control w_FT). Nats per token; "
        f"brackets are {CONFIDENCE:.0%} intervals over paired windows."
    )
    return Table(caption, header, tuple(rows), frozenset({0, 1}), wide=True)


def segment_table(landscape: SurveyResult) -> Table:
    """Return one row per segment and split."""
    header = (
        "from a", "to b", "bits", "split", "monotonic", "deepest fall P", "noise", "from α", "to α", "low end α", "dip",
        "barrier over the line", "its α", "barrier over the ends", "at α",
    )  # fmt: skip

    def row(s: SegmentResult) -> tuple[str, ...]:
        c = s.connectivity
        monotonic = "open" if c.monotonic is None else yes(c.monotonic)
        noise = "unknown" if c.noise is None else nats(c.noise)
        return (
            s.a, s.b, _bits(s), s.split, monotonic, height_text(c.prominence_interval), noise, number(c.ridge_alpha, 3),
            number(c.valley_alpha, 3), number(c.low_end, 3), nats(c.dip), height_text(c.barrier_interval),
            number(c.barrier_alpha, 3), height_text(c.barrier_max_interval), number(c.barrier_max_alpha, 3),
        )  # fmt: skip

    caption = (
        "The straight segments (1 − α)a + αb. P is the deepest fall of the loss on the way up from the low end, from α "
        "to α; monotonic if P is within what the choice of windows explains (noise). Losses in nats per token; "
        f"brackets are {CONFIDENCE:.0%} intervals over paired windows that allow for the choice among the α probed."
    )
    return Table(caption, header, tuple(map(row, landscape.segments)), frozenset({0, 1, 3, 4}), folded=True, wide=True)


def provenance_table(landscape: SurveyResult) -> Table:
    """Return what was measured, and how."""
    subject = landscape.subject
    rows = [
        ("model", subject.model),
        ("fingerprint of its weights and configuration", subject.fingerprint),
        ("dtype", subject.dtype),
        ("D", f"{subject.dimension:,}"),
        ("‖w‖", number(subject.norm)),
        ("chance, ln|V|", nats(subject.chance)),
        ("text", subject.data),
        ("tokens per window", str(subject.seq_len)),
        ("windows", ", ".join(f"{split} {count}" for split, count in subject.windows.items())),
        ("evaluations (position × window)", f"{landscape.run.probes.total:,}"),
        *((str(name), str(value)) for name, value in landscape.run.settings.items()),
    ]
    return provenance(rows)


def ray_values(landscape: SurveyResult) -> Table:
    """Return every value of the thin grey lines."""
    splits, norm, by_kl = list(landscape.basins), landscape.subject.norm, list(landscape.kl_radii)

    def values(ray: RayProfile, i: int) -> Iterator[str]:
        yield from (nats(float(ray.nll[split][i])) for split in splits)
        yield from (nats(float(ray.kl[split][i])) for split in by_kl)

    rows = (
        (str(ray.index), number(lam), number(lam / norm, 4), *values(ray, i))
        for ray in landscape.rays
        for i, lam in enumerate(ray.lambdas.tolist())
    )
    header = ("direction", "λ", "λ/‖w‖", *(f"NLL {split}" for split in splits), *(f"KL {split}" for split in by_kl))
    return Table("All values along the random directions", header, tuple(rows), frozenset(), folded=True)


def segment_values(landscape: SurveyResult) -> Table:
    """Return every value of the segments."""
    by_kl = any(segment.kl is not None for segment in landscape.segments)
    header = ("from a", "to b", "split", "α", "ℓ2 distance from w", "NLL", *(["KL"] if by_kl else []))
    rows = tuple(row for segment in landscape.segments for row in _segment_rows(segment))
    return Table("All values along the segments", header, rows, frozenset({0, 1, 2}), folded=True)


def _segment_rows(segment: SegmentResult) -> Iterator[tuple[str, ...]]:
    for i, (alpha, distance, nll) in enumerate(zip(segment.alphas, segment.distances, segment.nll, strict=True)):
        place = (number(float(alpha), 3), number(float(distance)), nats(float(nll)))
        kl = () if segment.kl is None else (nats(float(segment.kl[i])),)
        yield (segment.a, segment.b, segment.split, *place, *kl)


def plane_table(landscape: SurveyResult) -> Table:
    """Return one row per point of a plane."""
    header = ("plane through w and", "point", "x", "y", "ℓ2 distance from w", "NLL", "u")
    rows = tuple(
        (f"{plane.a}, {plane.b}", name, *_plane_place(plane, landscape, *plane.places[name], nll))
        for plane in landscape.planes
        for name, nll in plane.point_nll.items()
    )
    caption = (
        "The planes through w and two points: x along the way from w to the first, y at right angles to it, in ℓ2 "
        "distance; NLL on the windows of the plane, u its way from L(w) to chance."
    )
    return Table(caption, header, rows, frozenset({0, 1}))


def plane_values(landscape: SurveyResult) -> Table:
    """Return every value of the planes."""
    header = ("plane through w and", "x", "y", "ℓ2 distance from w", "NLL", "u")
    rows = tuple(
        (f"{plane.a}, {plane.b}", *_plane_place(plane, landscape, x, y, float(plane.nll[i, j])))
        for plane in landscape.planes
        for i, y in enumerate(plane.y.tolist())
        for j, x in enumerate(plane.x.tolist())
    )
    return Table("All values on the planes", header, rows, frozenset({0}), folded=True)


def _plane_place(plane: PlaneResult, landscape: SurveyResult, x: float, y: float, nll: float) -> tuple[str, ...]:
    u = float(plane.saturation(landscape.subject.chance, nll))
    return (number(x), number(y), number(math.hypot(x, y)), nats(nll), number(u, 3))


def _bits(owner: PointResult | SegmentResult) -> str:
    return "–" if owner.bits is None else str(owner.bits)


def _spread(basin: Basin) -> str:
    spread = basin.direction_spread
    if spread is None:
        return "not reached by each"
    return f"{number(spread.value, 3)} [{number(spread.low, 3)}, {number(spread.high, 3)}]"


def _radii(basin: Basin) -> str:
    return ", ".join("not reached" if radius is None else number(radius, 4) for radius in basin.direction_radii)
