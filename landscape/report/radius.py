"""Report R: as lines for the terminal and as JSON."""

from __future__ import annotations

import math
from typing import Any

from landscape.formatting import crossing_text, duration, windows_text
from landscape.radius import RadiusRequest, RadiusResult
from landscape.report.health import health_json
from landscape.report.values import JSON_VERSION, crossing_json, space_json
from landscape.report.work import evaluations

_WHY_NOT_PRECISE = {
    "exhausted": "no windows or directions are left; use a longer text, shorter windows or another split",
    "out of time": "--max-minutes ended the search; a search with more minutes continues from here",
}


def radius_json(measured: RadiusResult) -> dict[str, Any]:
    """Return the JSON object of ``landscape radius``.

    ``{schema_version, model, data, split, seq_len, space, family, pairs, center, chance, radius:
    {value, low, high}, precise, ended, rounds: [{directions, windows, articles, radius}], evaluated, cached, tokens,
    seconds, store, health: [{name, passed, words}]}``; ended is "precise", "not reached", "exhausted" (no directions or
    windows are left) or "out of time"; articles as in ``landscape probe``.
    """
    found = measured.search
    return {
        "schema_version": JSON_VERSION,
        "model": measured.subject.model,
        "data": measured.subject.data,
        "split": measured.split,
        "seq_len": measured.subject.seq_len,
        "space": space_json(measured.subject),
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
        "evaluated": measured.run.probes.evaluated,
        "cached": measured.run.probes.cached,
        "tokens": measured.tokens,
        "seconds": round(measured.run.seconds, 3),
        "store": measured.run.store,
        "health": health_json(measured.run.health),
    }


def radius_lines(request: RadiusRequest, measured: RadiusResult) -> list[str]:
    """Report R, and the rounds of the search for it."""
    found, length = measured.search, measured.subject.norm
    lines = [search_line(measured)]
    for index, each in enumerate(found.rounds, start=1):
        value = crossing_text(each.crossing, each.directions, each.windows, articles=each.articles)
        windows = windows_text(each.windows, each.articles)
        lines.append(f"round {index}: {each.directions} directions × {windows}: R = {value}")
    last = found.rounds[-1]
    radius, ratio = (
        crossing_text(found.radius, last.directions, last.windows, unit, last.articles) for unit in (1.0, length)
    )
    reached = ""
    if found.radius.value is not None and math.isfinite(found.radius.high):
        reached = f" ± {(found.radius.high - found.radius.value) / found.radius.value:.1%}"
    lines.append(f"R = {radius} = {ratio} ‖w‖{reached}")
    if found.ended in ("exhausted", "out of time"):
        lines.append(f"the requested ± {request.precision:.2g} R is not reached: {_WHY_NOT_PRECISE[found.ended]}")
    lines.append(f"{evaluations(measured.run.probes)}: {measured.tokens:,} tokens, in {duration(measured.run.seconds)}")
    lines.append(f"cache  {measured.run.store}")
    return lines


def search_line(measured: RadiusResult) -> str:
    """Name the model and the text that R was searched on."""
    subject, probes = measured.subject, measured.search.probes
    return (
        f"{subject.model} on {subject.data} ({measured.split}, windows of {subject.seq_len} tokens): "
        f"D = {subject.dimension:,}, ‖w‖ = {subject.norm:.4g}, L(w) = {probes.center_nll:.4f}, "
        f"chance ln|V| = {probes.chance:.3f}"
    )
