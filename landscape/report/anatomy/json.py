"""Write an anatomy as one JSON object: documented, versioned with the landscape's, and strict (no NaN, no infinity).

    schema_version, model, data, split, seq_len, windows: {split: count}, space
    articles                     {split: count}: how many articles the windows come from, which intervals treat as
                                 independent; null if that is not known, and each window is treated as independent
    point, center, chance, distance, limit: {text, nats}
    location, loss, steep        the two words, and whether ΔL is shown to be beyond that of random directions of that
                                 length: their intervals are apart. loss is as for ``probe``, against this limit.
                                 location is judged by u at ‖Δw‖ itself, matched of the sphere over chance - center
                                 (inside below 0.1, outside above 0.9), not by the intervals of r10 and r90 as in the
                                 JSON of landscape probe, which few windows can leave unresolved
    rise                         ΔL of the point; every such estimate is {value, low, high}, nats per token
    culprit                      shrink, round, clip, or null where no part is shown to be to blame
    waterfall                    [{kind, radius, rho, matched: {mean, low, high, spread, multiple, directions}}]; rho is
                                 null if R is censored; matched is null along Δw itself
    parts                        {part: {norm, share, alone, undone, saved}}; saved is null if an output overflowed
    clipped, weights             counts
    groups                       {grouping: [{slots, distance, rise}]}, costliest first
    additivity                   {grouping: {sum, whole, excess}}
    clipping                     [{slots, clipped, distance, rise}], costliest first
    restored                     [{count, slots, rise, test}]: what is left with the clipping of so many tensors undone,
                                 on validation windows, which ranked them, and on test windows, which did not
    test_rise                    ΔL of the point on the test windows
    enough                       the smallest of these counts whose ΔL the limit keeps; null if none. A limit keeps a ΔL
                                 if the upper end of its interval is within it
    layers                       {grouping: [{slots, distance, norm, radius, rho}]}, most spent first
    plan                         null, or {bits: {tensor: bits}, bytes, float_bytes, mean_bits, predicted,
                                 size: {text, bits_per_weight}, or null for the fewest bytes under the limit,
                                 fused: whether q, k, v and gate, up have one width, groups: [[tensor]] of one width,
                                 checks: {split: {sum, whole, excess, kept}},
                                 uniform: [{name, bits, bytes, rise: {split}}]}
    probes: {total, cached, evaluated}, seconds, store, page
    health                       [{name, passed, words}]: checks of the run itself

A number that is not finite is null.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from landscape.anatomy.bit_plan import BitPlan
from landscape.anatomy.effects import Additivity, Effect
from landscape.anatomy.layer_radii import LayerRadius
from landscape.anatomy.result import AnatomyResult
from landscape.anatomy.waterfall import Matched, WaterfallStep
from landscape.positions.parts import PARTS
from landscape.report.health import health_json
from landscape.report.values import JSON_VERSION, crossing_json, estimate_json, finite_or_none, space_json


def anatomy_json(found: AnatomyResult, page: Path | None = None) -> dict[str, Any]:
    """Return the JSON object of an anatomy, ready for ``json.dumps(…, allow_nan=False)``."""
    subject, parts, held_out = found.subject, found.anatomy, found.held_out
    return {
        "schema_version": JSON_VERSION,
        "model": subject.model,
        "data": subject.data,
        "split": found.split,
        "seq_len": subject.seq_len,
        "windows": dict(subject.windows),
        "articles": dict(found.articles),
        "space": space_json(subject),
        "point": found.point,
        "center": found.center_nll,
        "chance": subject.chance,
        "distance": found.waterfall.distance,
        "limit": {"text": found.limit.text, "nats": found.limit.nats},
        "location": found.location,
        "loss": found.loss,
        "steep": found.steep,
        "rise": estimate_json(found.rise),
        "culprit": parts.culprit,
        "waterfall": [_step(step, found.waterfall.rise) for step in found.waterfall.steps],
        "parts": {
            part: {
                "norm": parts.total.norm(part),
                "share": finite_or_none(parts.total.share(part)),
                "alone": estimate_json(parts.alone[part].rise),
                "undone": estimate_json(parts.undone[part].rise),
                "saved": estimate_json(parts.saved[part]),
            }
            for part in PARTS
        },
        "clipped": parts.total.clipped,
        "weights": parts.total.weights,
        "groups": {grouping: _effects(effects) for grouping, effects in parts.groups.items()},
        "additivity": {grouping: _additivity(added) for grouping, added in parts.additivity.items()},
        "clipping": [
            {**effect, "clipped": parts.statistics[effect["slots"]].clipped} for effect in _effects(found.clipping)
        ],
        "restored": [
            {
                "count": count,
                "slots": effect.slots,
                "rise": estimate_json(effect.rise),
                "test": estimate_json(held_out[count]),
            }
            for count, effect in found.restored.items()
        ],
        "test_rise": estimate_json(held_out[0]),
        "enough": found.enough,
        "layers": {grouping: [_layer(radius) for radius in radii] for grouping, radii in found.layers.items()},
        "plan": None if found.plan is None else _plan(found.plan),
        "probes": {
            "total": found.run.probes.total,
            "cached": found.run.probes.cached,
            "evaluated": found.run.probes.evaluated,
        },
        "seconds": round(found.run.seconds, 3),
        "store": found.run.store,
        "page": None if page is None else str(page),
        "health": health_json(found.run.health),
    }


def _step(step: WaterfallStep, rise: float) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "radius": crossing_json(step.radius),
        "rho": estimate_json(step.rho),
        "matched": None if step.matched is None else _matched(step.matched, rise),
    }


def _matched(matched: Matched, rise: float) -> dict[str, Any]:
    return {
        "mean": matched.mean,
        "low": finite_or_none(matched.interval.low),
        "high": finite_or_none(matched.interval.high),
        "spread": matched.spread,
        "multiple": finite_or_none(matched.multiple(rise)),
        "directions": matched.directions,
    }


def _effects(effects: Iterable[Effect]) -> list[dict[str, Any]]:
    return [{"slots": e.slots, "distance": e.distance, "rise": estimate_json(e.rise)} for e in effects]


def _additivity(added: Additivity) -> dict[str, Any]:
    return {
        "sum": estimate_json(added.sum),
        "whole": estimate_json(added.whole),
        "excess": estimate_json(added.excess),
    }


def _layer(radius: LayerRadius) -> dict[str, Any]:
    return {
        "slots": radius.slots,
        "distance": radius.distance,
        "norm": radius.norm,
        "radius": crossing_json(radius.radius),
        "rho": estimate_json(radius.rho),
    }


def _plan(plan: BitPlan) -> dict[str, Any]:
    return {
        "bits": dict(plan.bits),
        "bytes": plan.bytes,
        "float_bytes": plan.float_bytes,
        "mean_bits": plan.mean_bits,
        "predicted": plan.predicted,
        "size": None if plan.size is None else {"text": plan.size.text, "bits_per_weight": plan.size.bits_per_weight},
        "fused": plan.fused,
        "groups": [list(group) for group in plan.groups],
        "checks": {split: {**_additivity(check), "kept": plan.kept(split)} for split, check in plan.checks.items()},
        "uniform": [
            {
                "name": u.name,
                "bits": u.bits,
                "bytes": u.bytes,
                "rise": {s: estimate_json(r) for s, r in u.rise.items()},
            }
            for u in plan.uniform
        ],
    }
