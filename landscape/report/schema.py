"""The landscape as one JSON object: documented, versioned, and strict (no NaN, no infinity).

    schema_version  2                           (1 had no points of other tools, and ``scale`` for ``grid``)
    model, data     names as the user gave them
    space           {dimension, norm, blocks, share, outside: [{kind, names, weights}]}    D and ‖w‖; blocks is how many
                    weights the decoder blocks have, share D over that, outside what the others are
    center          {split: NLL}                 L(w), nats per token
    chance          ln|V|
    basin           {split, directions, windows, articles, radius, band: {r10, r90}, reentry: {r10, radius, r90},
                    monotone, non_finite, direction_radii, other_radii: {kept, inflection, quadratic, unigram:
                    {reference, radius}}}; reentry is whether the mean profile comes back below a level farther out,
                    monotone whether it never falls, non_finite the share of losses that overflowed, direction_radii
                    those of single directions, null if not reached; of the other radii kept is where perplexity is 5 %
                    higher, inflection where the loss rises most steeply, quadratic where the parabola near w is halfway
                    to chance, unigram halfway to the entropy of single tokens: null if not known;
                    articles is how many articles of the text the windows are of, which intervals take for independent,
                    null if that is not known and each window is;
                    each radius {value, low, high}, 95 % interval; value is null if the profile never gets there (then
                    low is a lower bound), high is null if unbounded
    points          [{name, method, bits, grid, distance, rho, rho_interval: {low, high}, nll: {split}, location,
                    loss, experts: {matrices, few, none}}]; rho is null if R is censored, bits and grid are for a point
                    that another tool made; loss is kept, degraded (not shown to be kept) or lost; experts counts their
                    matrices, those that saw fewer calibration tokens than inputs, or none: null but for GPTQ on experts
    segments        [{a, b, bits, split, alphas, nll, monotonic, prominence, prominence_interval: {low, high},
                    ridge_alpha, valley_alpha, barrier, barrier_interval, barrier_alpha, barrier_max,
                    barrier_max_interval, barrier_max_alpha}]; each segment has its own alphas
                    prominence is the deepest fall, from ridge_alpha to valley_alpha; barrier the largest excess over
                    the straight line between the ends' losses, barrier_max over the higher of them
    planes          [{a, b, bits, split, windows, x, y, nll, points: [{name, x, y, nll}]}], empty without --plane;
                    nll[i][j] is at y[i], x[j], ℓ2 distances from w along e1, towards a, and e2, at right angles to it
    probes          {total, cached, evaluated}
    seconds, store, page
    health          [{name, passed, words}]      checks of the run itself; passed is null for one that was not made or
                                                 is not judged, and words say why

A number that is not finite (a model whose output overflowed) is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from landscape.advice.advise import AdviceResult
from landscape.advice.rules import Advice
from landscape.curvature.anharmonicity import CurvatureResult, Quadratic
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.estimators.other_radii import OtherRadii
from landscape.health.checks import Check
from landscape.radius import RadiusResult
from landscape.survey.result import PlaneResult, PointResult, SegmentResult, SubjectInfo, SurveyResult

JSON_VERSION = 2


def to_json(landscape: SurveyResult, page: Path | None = None) -> dict[str, Any]:
    """The JSON object of a landscape, ready for ``json.dumps(…, allow_nan=False)``."""
    subject, basin = landscape.subject, landscape.basin
    return {
        "schema_version": JSON_VERSION,
        "model": subject.model,
        "space": space_json(subject),
        "data": subject.data,
        "center": {split: finite_or_none(nll) for split, nll in landscape.center.items()},
        "chance": subject.chance,
        "basin": {
            "split": landscape.verdict_split,
            "directions": basin.directions,
            "windows": basin.windows,
            "articles": basin.articles,
            "radius": crossing_json(basin.radius),
            "band": {"r10": crossing_json(basin.r10), "r90": crossing_json(basin.r90)},
            "reentry": {"r10": basin.r10.reentry, "radius": basin.radius.reentry, "r90": basin.r90.reentry},
            "monotone": basin.monotone,
            "non_finite": basin.non_finite,
            "direction_radii": list(basin.direction_radii),
            "other_radii": _other_radii(landscape.radii[landscape.verdict_split]),
        },
        "points": [_point(point) for point in landscape.points],
        "segments": [_segment(segment) for segment in landscape.segments],
        "planes": [_plane(plane) for plane in landscape.planes],
        "probes": {
            "total": landscape.probes.total,
            "cached": landscape.probes.cached,
            "evaluated": landscape.probes.evaluated,
        },
        "seconds": round(landscape.seconds, 3),
        "store": landscape.store,
        "page": None if page is None else str(page),
        "health": health_json(landscape.health),
    }


def radius_json(measured: RadiusResult) -> dict[str, Any]:
    """The JSON object of ``landscape radius``.

    ``{schema_version, model, data, split, seq_len, space, family, pairs, center, chance, radius:
    {value, low, high}, precise, ended, rounds: [{directions, windows, articles, radius}], evaluated, cached, tokens,
    seconds, store, health: [{name, passed, words}]}``; ended is "precise", "not reached", "exhausted" (no directions or
    windows are left) or "out of time"; articles as in ``landscape probe``.
    """
    found = measured.found
    return {
        "schema_version": JSON_VERSION,
        "model": measured.model,
        "data": measured.data,
        "split": measured.split,
        "seq_len": measured.seq_len,
        "space": space_json(measured),
        "family": measured.family,
        "pairs": measured.pairs,
        "center": found.probes.center_nll,
        "chance": found.probes.chance,
        "radius": crossing_json(found.radius),
        "precise": found.precise,
        "ended": found.ended,
        "rounds": [
            {
                "directions": each.directions,
                "windows": each.windows,
                "articles": each.articles,
                "radius": crossing_json(each.crossing),
            }
            for each in found.rounds
        ],
        "evaluated": measured.evaluated,
        "cached": measured.cached,
        "tokens": measured.tokens,
        "seconds": round(measured.seconds, 3),
        "store": measured.store,
        "health": health_json(measured.health),
    }


def space_json(subject: SubjectInfo | RadiusResult | AdviceResult) -> dict[str, Any]:
    """The weight space; the same in every JSON object."""
    coverage = subject.coverage
    outside = [{"kind": each.kind, "names": list(each.names), "weights": each.weights} for each in coverage.outside]
    return {
        "dimension": subject.dimension,
        "norm": subject.norm,
        "blocks": coverage.total,
        "share": coverage.share,
        "outside": outside,
    }


def health_json(checks: Iterable[Check]) -> list[dict[str, Any]]:
    """The checks of a run; the same in every JSON object."""
    return [{"name": check.name, "passed": check.passed, "words": check.words} for check in checks]


def advice_json(advised: AdviceResult) -> dict[str, Any]:
    """The JSON object of ``landscape advise``.

    ``{schema_version, model, data, seq_len, windows, articles, space: {dimension, norm}, center, chance, radius:
    {value, low, high}, limit: {text, nats}, advice: [{bits, grid, verdict, possible, keeps_limit, margin: {verdict,
    number, factor}, numbers: [{verdict, name, value, interval: {low, high}, judged, most, holds, open, source}],
    distance, rise, rise_interval, unclipped, unclipped_interval, clipped, others: {grid: rise}, others_interval: {grid:
    {low, high}}, rho, rho_interval, rho_prof, rho_prof_interval, rho_along, rho_along_interval, cost: {gptq, qaft}}],
    seconds_per_pass, evaluated, cached, seconds, store, health: [{name, passed, words}]}``; keeps_limit is whether the
    way that is advised keeps the limit, null if not known; judged is what was held against most; costs are in forward
    passes of a window.
    """
    return {
        "schema_version": JSON_VERSION,
        "model": advised.model,
        "data": advised.data,
        "seq_len": advised.seq_len,
        "windows": advised.windows,
        "articles": advised.articles,
        "space": space_json(advised),
        "center": advised.center_nll,
        "chance": advised.chance,
        "radius": crossing_json(advised.found.radius),
        "limit": {"text": advised.limit.text, "nats": advised.limit.nats},
        "advice": [
            _advice(advice) | {"cost": dict(work)} for advice, work in zip(advised.advice, advised.work, strict=True)
        ],
        "seconds_per_pass": advised.pace,
        "evaluated": advised.evaluated,
        "cached": advised.cached,
        "seconds": round(advised.seconds, 3),
        "store": advised.store,
        "health": health_json(advised.health),
    }


def _advice(advice: Advice) -> dict[str, Any]:
    evidence, margin = advice.evidence, advice.margin
    return {
        "bits": evidence.scheme.bits,
        "grid": evidence.scheme.grid,
        "verdict": advice.verdict,
        "possible": list(advice.possible),
        "keeps_limit": advice.keeps,
        "margin": margin and {"verdict": margin.verdict, "number": margin.name, "factor": margin.factor},
        "numbers": [
            {
                "verdict": finding.verdict,
                "name": finding.name,
                "value": finding.estimate and finite_or_none(finding.estimate.value),
                "interval": _interval(finding.estimate),
                "judged": finite_or_none(finding.judged),
                "most": finding.most,
                "holds": finding.holds,
                "open": finding.open,
                "source": finding.source,
            }
            for finding in advice.findings
        ],
        "distance": evidence.distance,
        "rise": finite_or_none(evidence.rise.value),
        "rise_interval": _interval(evidence.rise),
        "unclipped": finite_or_none(evidence.unclipped.value),
        "unclipped_interval": _interval(evidence.unclipped),
        "clipped": evidence.clipped,
        "others": {scheme.grid: finite_or_none(rise.value) for scheme, rise in evidence.others.items()},
        "others_interval": {scheme.grid: _interval(rise) for scheme, rise in evidence.others.items()},
        "rho": evidence.rho and finite_or_none(evidence.rho.value),
        "rho_interval": _interval(evidence.rho),
        "rho_prof": evidence.rho_prof and finite_or_none(evidence.rho_prof.value),
        "rho_prof_interval": _interval(evidence.rho_prof),
        "rho_along": evidence.rho_along and finite_or_none(evidence.rho_along.value),
        "rho_along_interval": _interval(evidence.rho_along),
    }


def curvature_json(curved: CurvatureResult) -> dict[str, Any]:
    """The JSON object of ``landscape curvature``.

    ``{schema_version, radius: the object of landscape radius, products, pairs, lambdas, center, top: {value, residual,
    products}, seconds}``. Each of ``products`` and ``pairs`` is ``{trace: {value, low, high, standard_error, df,
    directions, windows, articles}, quadratic_radius: {value, low, high}, index: {value, low, high}}``, the last two
    null if the trace is not positive; articles as in ``landscape probe``. ``top`` is null if it was not asked for. Of
    the radius, ``evaluated``, ``cached``, ``tokens`` and ``health`` are of all the work.
    """
    top = curved.top
    return {
        "schema_version": JSON_VERSION,
        "radius": radius_json(curved.measured),
        "products": _quadratic(curved.products),
        "pairs": _quadratic(curved.pairs),
        "lambdas": list(curved.lambdas),
        "center": curved.center_nll,
        "top": None if top is None else {"value": top.value, "residual": top.residual, "products": top.products},
        "seconds": round(curved.measured.seconds, 3),
    }


def _quadratic(way: Quadratic) -> dict[str, Any]:
    trace = way.trace
    error = {"standard_error": finite_or_none(trace.error.value), "df": trace.error.df}
    design = {"directions": trace.directions, "windows": trace.windows, "articles": trace.articles}
    return {
        "trace": estimate_json(trace.estimate) | error | design,
        "quadratic_radius": None if way.radius is None else estimate_json(way.radius),
        "index": None if way.index is None else estimate_json(way.index),
    }


def estimate_json(estimate: Estimate) -> dict[str, float | None]:
    """A number with its interval; the same in every JSON object."""
    return {
        "value": finite_or_none(estimate.value),
        "low": finite_or_none(estimate.low),
        "high": finite_or_none(estimate.high),
    }


def finite_or_none(value: float | None) -> float | None:
    """The number, or None where it is not finite: JSON knows neither NaN nor infinity."""
    return value if value is not None and math.isfinite(value) else None


def _other_radii(radii: OtherRadii) -> dict[str, Any]:
    unigram = radii.unigram
    return {
        "kept": crossing_json(radii.kept),
        "inflection": None if radii.inflection is None else estimate_json(radii.inflection),
        "quadratic": None if radii.quadratic is None else estimate_json(radii.quadratic),
        "unigram": unigram and {"reference": unigram.reference, "radius": crossing_json(unigram.radius)},
    }


def crossing_json(crossing: Crossing) -> dict[str, float | None]:
    """A radius with its interval; ``value`` is None where it is not reached, and ``low`` then a lower bound."""
    return {"value": crossing.value, "low": finite_or_none(crossing.low), "high": finite_or_none(crossing.high)}


def _interval(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {"low": finite_or_none(estimate.low), "high": finite_or_none(estimate.high)}


def _point(point: PointResult) -> dict[str, Any]:
    return {
        "name": point.name,
        "method": point.method,
        "bits": point.bits,
        "grid": point.grid,
        "distance": point.distance,
        "rho": None if point.rho is None else finite_or_none(point.rho.value),
        "rho_interval": _interval(point.rho),
        "nll": {split: finite_or_none(nll) for split, nll in point.nll.items()},
        "location": point.location,
        "loss": point.loss,
        "experts": None if point.experts is None else asdict(point.experts),
    }


def _segment(segment: SegmentResult) -> dict[str, Any]:
    shape = segment.connectivity
    return {
        "a": segment.a,
        "b": segment.b,
        "bits": segment.bits,
        "split": segment.split,
        "alphas": segment.alphas.tolist(),
        "nll": [finite_or_none(value) for value in segment.nll.tolist()],
        "monotonic": shape.monotonic,
        "prominence": finite_or_none(shape.prominence),
        "prominence_interval": _interval(shape.prominence_interval),
        "ridge_alpha": shape.ridge_alpha,
        "valley_alpha": shape.valley_alpha,
        "barrier": finite_or_none(shape.barrier),
        "barrier_interval": _interval(shape.barrier_interval),
        "barrier_alpha": shape.barrier_alpha,
        "barrier_max": finite_or_none(shape.barrier_max),
        "barrier_max_interval": _interval(shape.barrier_max_interval),
        "barrier_max_alpha": shape.barrier_max_alpha,
    }


def _plane(plane: PlaneResult) -> dict[str, Any]:
    return {
        "a": plane.a,
        "b": plane.b,
        "bits": plane.bits,
        "split": plane.split,
        "windows": plane.windows,
        "x": plane.x.tolist(),
        "y": plane.y.tolist(),
        "nll": [[finite_or_none(value) for value in row] for row in plane.nll.tolist()],
        "points": [
            {"name": name, "x": plane.places[name][0], "y": plane.places[name][1], "nll": finite_or_none(nll)}
            for name, nll in plane.point_nll.items()
        ],
    }
