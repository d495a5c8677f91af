"""Report advice, as lines and as JSON: the verdict for each grid, the numbers behind it, and the next verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from landscape.advice.advise import AdviceResult
from landscape.advice.rules import GPTQ_LEAVES, WORDS, Advice, Finding, Margin, Recommendation
from landscape.estimators.intervals import Estimate
from landscape.formatting import crossing_text, duration, interval, nats, number, rise_text, windows_text
from landscape.report.health import health_json
from landscape.report.values import JSON_VERSION, crossing_json, finite_or_none, interval_json, space_json
from landscape.session.request import JUDGED_SPLIT

NAMES: dict[Recommendation, str] = {"rtn": "RTN", "grid": "another grid", "gptq": "GPTQ", "qaft": "QAFT"}


def subject_lines(advised: AdviceResult) -> list[str]:
    """Name the model, its basin and the limit."""
    subject = advised.subject
    found, last = advised.search.radius, advised.search.rounds[-1]
    radius = crossing_text(found, last.directions, last.windows, articles=last.articles)
    windows = windows_text(subject.windows[JUDGED_SPLIT], advised.articles)
    share = "" if found.value is None else f" = {number(found.value / subject.norm, 3)} ‖w‖"
    return [
        f"{subject.model} on {subject.data} ({JUDGED_SPLIT}, {windows}, {subject.seq_len} tokens each): "
        f"L(w) = {nats(advised.center_nll)}, chance ln|V| = {nats(subject.chance)}, R = {radius}{share}",
        f"limit {advised.limit.text}: ΔL at most {number(advised.limit.nats, 3)} nats per token",
        "ρ = ‖Δw‖/R along random directions; ρ_prof: random, but each tensor as far as by Δw; ρ_Δ: along Δw itself",
    ]


def verdict_line(advice: Advice) -> str:
    """Write ``int4 exact: a layer-wise method (GPTQ) should do``, and what else is possible."""
    evidence, text = advice.evidence, WORDS[advice.verdict]
    if advice.verdict == "grid":
        text += f", such as {evidence.best_other.grid}"
    if advice.keeps is False:
        text += {"grid": ", though RTN loses more than your limit there too"}.get(
            advice.verdict, " as well as training, though not within your limit"
        )
    if advice.verdict != "rtn" and evidence.clipping_dominates:
        text += "; clipping dominates"
    if advice.possible:
        text += f" (the intervals also allow: {', '.join(NAMES[way] for way in advice.possible)})"
    return f"int{evidence.scheme.bits} {evidence.scheme.grid}: {text}"


def reason_lines(advice: Advice) -> list[str]:
    """Report the measured loss, each number that decided with its bound, and the margin."""
    evidence = advice.evidence
    lines = [
        f"ΔL of RTN = {rise_text(evidence.rise)}",
        f"without its clipping ({evidence.clipped:.2g} of the weights) {rise_text(evidence.unclipped)}",
        f"on other grids: {', '.join(f'{grid.grid} {rise_text(rise)}' for grid, rise in evidence.others.items())}",
        f"ρ = {_ratio(evidence.rho)}, ρ_prof = {_ratio(evidence.rho_prof)}, ρ_Δ = {_ratio(evidence.rho_along)}",
    ]
    lines += [f"{NAMES[finding.verdict]}: {_finding(finding)}" for finding in advice.findings]
    lines += _kept(advice)
    if advice.margin is not None:
        lines.append(_margin(advice.margin))
    return lines


def cost_line(work: Mapping[Recommendation, float], pace: float) -> str:
    """Write ``would cost: GPTQ about 3.0 h, QAFT about 12.0 h``.

    Args:
        work: Forward passes of one window, by method.
        pace: Seconds of one forward pass.
    """
    return f"would cost: {', '.join(f'{NAMES[way]} about {duration(passes * pace)}' for way, passes in work.items())}"


def _kept(advice: Advice) -> list[str]:
    """Say what is known of the limit, where the advised method was not measured."""
    if advice.verdict == "gptq":
        least = Estimate(*(GPTQ_LEAVES * rise for rise in astuple(advice.evidence.rise)))
        said = "beyond your limit" if advice.keeps is False else "which may be within your limit"
        return [f"GPTQ left {GPTQ_LEAVES:.0%} of RTN's ΔL or more on opt-nano: here {rise_text(least)}, {said}"]
    return ["what QAFT leaves of ΔL is not predicted"] if advice.verdict == "qaft" else []


def _margin(margin: Margin) -> str:
    times = f"{number(max(margin.factor, 1 / margin.factor), 3)} times {'larger' if margin.factor > 1 else 'smaller'}"
    return f"next verdict: {NAMES[margin.verdict]}, if {margin.name} were {times}"


def _ratio(rho: Estimate | None) -> str:
    return "not known" if rho is None else _with_interval(rho)


def _with_interval(estimate: Estimate) -> str:
    return interval(estimate, number(estimate.value, 3), "not bounded by the data")


def _finding(finding: Finding) -> str:
    if finding.estimate is None:
        return f"{finding.name} is not known, must be at most {number(finding.most, 3)}"
    said = f"{finding.name} = {_with_interval(finding.estimate)}, {_where(finding)} the bound of"
    crossed = finding.open and not finding.surely and math.isfinite(finding.estimate.high)
    sharp = ", but its interval reaches across" if crossed else ""
    return f"{said} {number(finding.most, 3)}{sharp} ({finding.source})"


def _where(finding: Finding) -> str:
    if finding.holds:
        return "within"
    return "its upper end beyond" if finding.surely and finding.open and math.isfinite(finding.judged) else "beyond"


def advice_json(advised: AdviceResult) -> dict[str, Any]:
    """Return the JSON object of ``landscape advise``.

    ``{schema_version, model, data, seq_len, windows, articles, space: {dimension, norm}, center, chance, radius:
    {value, low, high}, limit: {text, nats}, advice: [{bits, grid, verdict, possible, keeps_limit, margin: {verdict,
    number, factor}, numbers: [{verdict, name, value, interval: {low, high}, judged, most, holds, open, source}],
    distance, rise, rise_interval, unclipped, unclipped_interval, clipped, others: {grid: rise}, others_interval: {grid:
    {low, high}}, rho, rho_interval, rho_prof, rho_prof_interval, rho_along, rho_along_interval, cost: {gptq, qaft}}],
    seconds_per_pass, evaluated, cached, seconds, store, health: [{name, passed, words}]}``; keeps_limit is whether the
    advised method keeps the limit, null if not known; judged is the value compared with most; costs are in forward
    passes of a window.
    """
    return {
        "schema_version": JSON_VERSION,
        "model": advised.subject.model,
        "data": advised.subject.data,
        "seq_len": advised.subject.seq_len,
        "windows": advised.subject.windows[JUDGED_SPLIT],
        "articles": advised.articles,
        "space": space_json(advised.subject),
        "center": advised.center_nll,
        "chance": advised.subject.chance,
        "radius": crossing_json(advised.search.radius),
        "limit": {"text": advised.limit.text, "nats": advised.limit.nats},
        "advice": [
            _advice(advice) | {"cost": dict(work)} for advice, work in zip(advised.advice, advised.work, strict=True)
        ],
        "seconds_per_pass": advised.pace,
        "evaluated": advised.run.probes.evaluated,
        "cached": advised.run.probes.cached,
        "seconds": round(advised.run.seconds, 3),
        "store": advised.run.store,
        "health": health_json(advised.run.health),
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
                "interval": interval_json(finding.estimate),
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
        "rise_interval": interval_json(evidence.rise),
        "unclipped": finite_or_none(evidence.unclipped.value),
        "unclipped_interval": interval_json(evidence.unclipped),
        "clipped": evidence.clipped,
        "others": {scheme.grid: finite_or_none(rise.value) for scheme, rise in evidence.others.items()},
        "others_interval": {scheme.grid: interval_json(rise) for scheme, rise in evidence.others.items()},
        "rho": evidence.rho and finite_or_none(evidence.rho.value),
        "rho_interval": interval_json(evidence.rho),
        "rho_prof": evidence.rho_prof and finite_or_none(evidence.rho_prof.value),
        "rho_prof_interval": interval_json(evidence.rho_prof),
        "rho_along": evidence.rho_along and finite_or_none(evidence.rho_along.value),
        "rho_along_interval": interval_json(evidence.rho_along),
    }
