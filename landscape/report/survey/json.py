"""Write a landscape as one JSON object: documented, versioned, and strict (no NaN, no infinity).

    schema_version  4                           (3 had no perplexity, KL and sizes; 2 no ``inconclusive``, which it
                                                called degraded; 1 no points of other tools, and ``scale`` for ``grid``)
    model, data     names as the user gave them
    space           {dimension, norm, blocks, share, outside: [{kind, names, weights}]}    D and ‖w‖; blocks is the
                    number of weights in the decoder blocks, share is D over that, outside lists the other weights
    center          {split: NLL}                 L(w), nats per token
    center_perplexity   {split: exp(NLL)}        of tokens, in windows of the length that was asked for
    center_size     {space_bits, model_bits, bytes}    what w takes at 16 bits a weight, as size of a point
    chance          ln|V|
    basin           {split, directions, windows, articles, radius, band: {r10, r90}, reentry: {r10, radius, r90},
                    monotone, non_finite, direction_radii, other_radii: {kept, inflection, quadratic, unigram:
                    {reference, radius}}}
                    articles: how many articles of the text the windows come from, which intervals treat as
                    independent; null if that is not known, and each window is treated as independent
                    each radius: {value, low, high}, 95 % interval; value is null if the profile never gets there (then
                    low is a lower bound), high is null if unbounded
                    reentry: whether the mean profile comes back below a level farther out
                    monotone: whether the mean profile never falls; non_finite: the share of losses that overflowed
                    direction_radii: those of single directions, null if not reached
                    other_radii, null if not known: kept is where perplexity is 5 % higher, inflection where the loss
                    rises most steeply, quadratic where the parabola near w is halfway to chance, unigram halfway to the
                    entropy of single tokens
    kl_radii        {split: {reference, radius: {value, low, high}}}, empty without --loss kl: R_kl, where the mean KL
                    over the random directions reaches half of the reference C − H(w), nats per token, with the mean
                    entropy H of the predictions at w; an interval over directions and windows, as that of R
    points          [{name, method, bits, grid, distance, rho, rho_interval: {low, high}, nll: {split}, location,
                    loss, experts: {matrices, few, none}, perplexity: {split},
                    perplexity_change_percent: {split: {value, low, high}}, kl: {split: {value, low, high}},
                    agreement: {split: {value, low, high}}, size: {space_bits, model_bits, bytes},
                    training: {chosen, epochs: [{rate, epoch, validation_nll, training_nll, test_nll}]},
                    layers: [{name, block, kind, weights, norm, distance, zeros, clipped,
                    damping, error: {split}}]}]
                    rho is null if R is censored; bits and grid are null for a point that another tool made
                    loss: lost from half of the way to chance on; else kept if all of the interval of its rise is within
                    a perplexity 5 % higher, degraded if all of it lies beyond, inconclusive if it reaches across
                    experts: how many matrices of experts there are, how many saw fewer calibration tokens than inputs,
                    how many saw none; null but for GPTQ on experts
                    perplexity_change_percent: 100 (exp(ΔL) − 1), against w
                    kl: mean KL(w ‖ point), nats per token; agreement: the share of the tokens whose most probable id
                    is the same as at w; 95 % intervals over windows, or the articles of these
                    size: bits per weight of the space (codes, scales of 16 bits, zeros), bits per parameter of the
                    whole model, whose other weights take 16, and its bytes; null for points of other tools
                    training: null if not trained; chosen is the epoch that was kept, epoch 0 the start, at no rate
                    layers: one for each matrix, empty unless looked at; norm ‖W‖, distance ‖ΔW‖, zeros and clipped
                    shares of its weights, damping GPTQ's choice, error ‖ΔW x‖²/n; null where it does not apply
    rays            [{direction, lambdas, nll: {split: […]}, kl: {split: […]}, agreement: {split: […]}}], random
                    directions from w, with a value at each of lambdas, ℓ2 distances from w, which is not among them; kl
                    is the mean KL(w ‖ position), agreement the share of the tokens whose most probable id is the same
                    as at w, both null without --loss kl
    segments        [{a, b, bits, split, alphas, nll, monotonic, prominence, prominence_interval: {low, high},
                    ridge_alpha, valley_alpha, barrier, barrier_interval, barrier_alpha, barrier_max,
                    barrier_max_interval, barrier_max_alpha, kl, agreement}]; each segment has its own
                    alphas; kl and agreement at each of them are as those of rays
                    prominence: the deepest fall, from ridge_alpha to valley_alpha
                    barrier: the largest excess over the straight line between the losses of the ends; barrier_max: the
                    largest excess over the higher of them
    planes          [{a, b, bits, split, windows, x, y, nll, points: [{name, x, y, nll}]}], empty without --plane;
                    nll[i][j] is at y[i], x[j], ℓ2 distances from w along e1, towards a, and e2, at right angles to it
    misalignments   [{grid, control, net: {split: {value, low, high}}, raw: {split: …}}], one for each grid with GPTQ,
                    QAFT and its control: net is M = [L(GPTQ) − L(w)] − [L(QAFT) − L(control)], raw is L(GPTQ) − L(QAFT)
    probes          {total, cached, evaluated}
    seconds, store, page
    health          [{name, passed, words}]      checks of the run itself; passed is null for a check that was not made
                                                 or is not judged, and words give the reason

A number that is not finite (a model whose output overflowed) is null.

A shard (``--shard i/n``) is an object with schema_version, model, space, data, shard: {index, count}, points: the names
of those it made, probes, seconds, store and health.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from landscape.estimators.other_radii import OtherRadii
from landscape.estimators.perplexity import in_per_cent, perplexity, perplexity_change
from landscape.report.health import health_json
from landscape.report.values import (
    JSON_VERSION,
    crossing_json,
    estimate_json,
    finite_or_none,
    interval_json,
    size_json,
    space_json,
)
from landscape.session.training_record import TrainingRecord
from landscape.survey.result import (
    Array,
    Misalignment,
    PlaneResult,
    PointResult,
    RayProfile,
    SegmentResult,
    ShardResult,
    SurveyResult,
)


def to_json(landscape: SurveyResult, page: Path | None = None) -> dict[str, Any]:
    """Return the JSON object of a landscape, ready for ``json.dumps(…, allow_nan=False)``."""
    subject, basin = landscape.subject, landscape.basin
    return {
        "schema_version": JSON_VERSION,
        "model": subject.model,
        "space": space_json(subject),
        "data": subject.data,
        "center": {split: finite_or_none(nll) for split, nll in landscape.center.items()},
        "center_perplexity": _perplexities(landscape.center),
        "center_size": size_json(landscape.center_size),
        "chance": subject.chance,
        "basin": {
            "split": landscape.split,
            "directions": basin.directions,
            "windows": basin.windows,
            "articles": basin.articles,
            "radius": crossing_json(basin.radius),
            "band": {"r10": crossing_json(basin.r10), "r90": crossing_json(basin.r90)},
            "reentry": {"r10": basin.r10.reentry, "radius": basin.radius.reentry, "r90": basin.r90.reentry},
            "monotone": basin.monotone,
            "non_finite": basin.non_finite,
            "direction_radii": list(basin.direction_radii),
            "other_radii": _other_radii(landscape.radii[landscape.split]),
        },
        "kl_radii": {
            split: {"reference": found.reference, "radius": crossing_json(found.radius)}
            for split, found in landscape.kl_radii.items()
        },
        "points": [_point(point) for point in landscape.points],
        "rays": [_ray(ray) for ray in landscape.rays],
        "segments": [_segment(segment) for segment in landscape.segments],
        "planes": [_plane(plane) for plane in landscape.planes],
        "misalignments": [_misalignment(each) for each in landscape.misalignments],
        "probes": asdict(landscape.run.probes),
        "seconds": round(landscape.run.seconds, 3),
        "store": landscape.run.store,
        "page": None if page is None else str(page),
        "health": health_json(landscape.run.health),
    }


def shard_json(done: ShardResult) -> dict[str, Any]:
    """Return the JSON object of one shard."""
    return {
        "schema_version": JSON_VERSION,
        "model": done.subject.model,
        "space": space_json(done.subject),
        "data": done.subject.data,
        "shard": asdict(done.shard),
        "points": list(done.points),
        "probes": asdict(done.run.probes),
        "seconds": round(done.run.seconds, 3),
        "store": done.run.store,
        "health": health_json(done.run.health),
    }


def _other_radii(radii: OtherRadii) -> dict[str, Any]:
    unigram = radii.unigram
    return {
        "kept": crossing_json(radii.kept),
        "inflection": estimate_json(radii.inflection),
        "quadratic": estimate_json(radii.quadratic),
        "unigram": unigram and {"reference": unigram.reference, "radius": crossing_json(unigram.radius)},
    }


def _point(point: PointResult) -> dict[str, Any]:
    return {
        "name": point.name,
        "method": point.method,
        "bits": point.bits,
        "grid": point.grid,
        "distance": point.distance,
        "rho": None if point.rho is None else finite_or_none(point.rho.value),
        "rho_interval": interval_json(point.rho),
        "nll": {split: finite_or_none(nll) for split, nll in point.nll.items()},
        "location": point.location,
        "loss": point.loss,
        "experts": None if point.experts is None else asdict(point.experts),
        "perplexity": _perplexities(point.nll),
        "perplexity_change_percent": {
            split: estimate_json(in_per_cent(perplexity_change(rise))) for split, rise in point.rise.items()
        },
        "kl": {split: estimate_json(found.kl) for split, found in point.fidelity.items()},
        "agreement": {split: estimate_json(found.agreement) for split, found in point.fidelity.items()},
        "size": size_json(point.size),
        "training": None if point.training is None else _training(point.training),
        "layers": [_finite(asdict(layer)) for layer in point.layers],
    }


def _perplexities(nll: Mapping[str, float]) -> dict[str, float | None]:
    return {split: finite_or_none(perplexity(value)) for split, value in nll.items()}


def _ray(ray: RayProfile) -> dict[str, Any]:
    return {
        "direction": ray.index,
        "lambdas": ray.lambdas.tolist(),
        "nll": _profiles(ray.nll),
        "kl": _profiles(ray.kl) or None,
        "agreement": _profiles(ray.agreement) or None,
    }


def _profiles(values: Mapping[str, Array]) -> dict[str, list[float | None]]:
    return {split: [finite_or_none(value) for value in row.tolist()] for split, row in values.items()}


def _profile(values: Array | None) -> list[float | None] | None:
    return None if values is None else [finite_or_none(value) for value in values.tolist()]


def _training(record: TrainingRecord) -> dict[str, Any]:
    return {
        "chosen": _finite(asdict(record.chosen)),
        "epochs": [_finite(asdict(epoch)) for epoch in record.epochs],
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with None for numbers that are not finite, those of inner mappings too."""
    return {key: _strict(value) for key, value in values.items()}


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _finite(value)
    return finite_or_none(value) if isinstance(value, float) else value


def _misalignment(found: Misalignment) -> dict[str, Any]:
    return {
        "grid": found.grid,
        "control": found.control,
        "net": {split: estimate_json(each) for split, each in found.net.items()},
        "raw": {split: estimate_json(each) for split, each in found.raw.items()},
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
        "prominence_interval": interval_json(shape.prominence_interval),
        "ridge_alpha": shape.ridge_alpha,
        "valley_alpha": shape.valley_alpha,
        "barrier": finite_or_none(shape.barrier),
        "barrier_interval": interval_json(shape.barrier_interval),
        "barrier_alpha": shape.barrier_alpha,
        "barrier_max": finite_or_none(shape.barrier_max),
        "barrier_max_interval": interval_json(shape.barrier_max_interval),
        "barrier_max_alpha": shape.barrier_max_alpha,
        "kl": _profile(segment.kl),
        "agreement": _profile(segment.agreement),
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
