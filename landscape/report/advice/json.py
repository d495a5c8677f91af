"""Report advice as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from landscape.advice.advise import AdviceResult
from landscape.advice.adviser import Control, GridEvidence, WidthAdvice
from landscape.advice.choice import Choice
from landscape.advice.explain import Explanation
from landscape.advice.recipe import Original
from landscape.advice.recipes import recipes
from landscape.report.advice.wording import is_open
from landscape.report.health import health_json
from landscape.report.values import JSON_VERSION, crossing_json, estimate_json, finite_or_none, space_json
from landscape.session.request import JUDGED_SPLIT


def advice_json(advised: AdviceResult) -> dict[str, Any]:
    """Return the JSON object of ``landscape advise``.

    ``{schema_version, model, data, seq_len, windows, articles, space: {dimension, norm, …}, center, chance, limit:
    {text, nats}, confidence, net, radius: {value, low, high}, control: {rise: {value, low, high}, refused}, recipes:
    [{tool, language, code, notes}], advice: [{bits, verdict: {way, grid, keeps, open}, choices: [{way, grid,
    bits_per_weight, rise: {value, low, high}, net: {value, low, high}, source, windows, tokens}], grids: [{grid,
    bits_per_weight, distance, rho: {value, low, high}, windows, decided, left: {grid: rise}, explanation: {clipped,
    remaining, rho_prof}}], cost: {gptq, qaft}}], seconds_per_pass, evaluated, cached, seconds, store, health: [{name,
    passed, words}], page}``; a
    number that was not measured is null; rises are nats per token, costs forward passes of a window.
    """
    subject, run, shipped = advised.subject, advised.run, advised.smallest.choice
    return {
        "schema_version": JSON_VERSION,
        "model": subject.model,
        "data": subject.data,
        "seq_len": subject.seq_len,
        "windows": subject.windows[JUDGED_SPLIT],
        "articles": advised.articles,
        "space": space_json(subject),
        "center": advised.center_nll,
        "chance": subject.chance,
        "limit": {"text": advised.limit.text, "nats": advised.limit.nats},
        "confidence": advised.confidence,
        "net": advised.net,
        "radius": None if advised.search is None else crossing_json(advised.search.radius),
        "control": _control(advised.control),
        "recipes": [asdict(recipe) for recipe in recipes(Original.of(subject), shipped.way, shipped.scheme)],
        "advice": [_width(found, advised) for found in advised.advice],
        "seconds_per_pass": advised.pace,
        "evaluated": run.probes.evaluated,
        "cached": run.probes.cached,
        "seconds": round(run.seconds, 3),
        "store": run.store,
        "health": health_json(run.health),
    }


def _width(found: WidthAdvice, advised: AdviceResult) -> dict[str, Any]:
    chosen = found.verdict.choice
    return {
        "bits": found.bits,
        "verdict": {
            "way": chosen.way,
            "grid": chosen.scheme.grid,
            "keeps": found.verdict.keeps,
            "open": is_open(found, advised),
        },
        "choices": [_choice(choice) for choice in found.choices],
        "grids": [_grid(grid, advised) for grid in found.grids],
        "cost": dict(advised.work[found.bits]),
    }


def _control(control: Control | None) -> dict[str, Any] | None:
    return None if control is None else {"rise": estimate_json(control.rise), "refused": control.refused}


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "way": choice.way,
        "grid": choice.scheme.grid,
        "bits_per_weight": choice.bits_per_weight,
        "rise": estimate_json(choice.rise),
        "net": estimate_json(choice.net),
        "source": choice.source,
        "windows": choice.windows,
        "tokens": choice.tokens,
    }


def _grid(grid: GridEvidence, advised: AdviceResult) -> dict[str, Any]:
    return {
        "grid": grid.scheme.grid,
        "bits_per_weight": grid.bits_per_weight,
        "distance": grid.distance,
        "rho": estimate_json(advised.rho(grid)),
        "windows": grid.rtn.windows,
        "decided": grid.rtn.decided,
        "left": {scheme.grid: finite_or_none(rise) for scheme, rise in grid.left.items()},
        "explanation": _explanation(advised.explanations.get(str(grid.scheme))),
    }


def _explanation(explained: Explanation | None) -> dict[str, Any] | None:
    if explained is None:
        return None
    return {
        "clipped": explained.clipped,
        "remaining": estimate_json(explained.remaining),
        "rho_prof": estimate_json(explained.rho_prof),
    }
