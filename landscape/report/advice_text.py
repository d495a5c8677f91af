"""Advice in words: the verdict for each grid, the numbers that decided it, and how far the next verdict is."""

from __future__ import annotations

import math

from landscape.advice import WORDS, Advice, Finding, Margin, Verdict
from landscape.advised import Advised
from landscape.estimate import Estimate
from landscape.report.wording import crossing_text, duration, interval, nats, number, rise_text, windows_text

NAMES: dict[Verdict, str] = {"rtn": "RTN", "grid": "another grid", "gptq": "GPTQ", "qaft": "QAFT"}


def subject_lines(advised: Advised) -> list[str]:
    """The model, its basin and the limit."""
    found, last = advised.found.radius, advised.found.rounds[-1]
    radius = crossing_text(found, last.directions, last.windows, articles=last.articles)
    windows = windows_text(advised.windows, advised.articles)
    share = "" if found.value is None else f" = {number(found.value / advised.norm, 3)} ‖w‖"
    return [
        f"{advised.model} on {advised.data} (validation, {windows}, {advised.seq_len} tokens each): "
        f"L(w) = {nats(advised.center_nll)}, chance ln|V| = {nats(advised.chance)}, R = {radius}{share}",
        f"limit {advised.limit.text}: ΔL at most {number(advised.limit.nats, 3)} nats per token",
    ]


def verdict_line(advice: Advice) -> str:
    """``int4 exact: a layer-wise method (GPTQ) should do``, and what else is possible."""
    evidence, text = advice.evidence, WORDS[advice.verdict]
    if advice.verdict == "grid":
        text += f", such as {evidence.best_other.grid}"
    if advice.verdict != "rtn" and evidence.clipping_dominates:
        text += "; clipping dominates"
    if advice.possible:
        text += f" (the intervals also allow: {', '.join(NAMES[way] for way in advice.possible)})"
    return f"int{evidence.scheme.bits} {evidence.scheme.grid}: {text}"


def reason_lines(advice: Advice) -> list[str]:
    """The measured loss, each number that decided with its bound, and the margin."""
    evidence = advice.evidence
    lines = [
        f"ΔL of RTN = {rise_text(evidence.rise)}",
        f"without its clipping ({evidence.clipped:.2g} of the weights) {rise_text(evidence.unclipped)}",
        f"on other grids: {', '.join(f'{grid.grid} {rise_text(rise)}' for grid, rise in evidence.others.items())}",
        f"ρ = {_ratio(evidence.rho)}, ρ_prof = {_ratio(evidence.rho_prof)}, ρ_Δ = {_ratio(evidence.rho_along)}",
    ]
    lines += [f"{NAMES[finding.verdict]}: {_finding(finding)}" for finding in advice.findings]
    if advice.margin is not None:
        lines.append(_margin(advice.margin))
    return lines


def cost_text(passes: float, pace: float) -> str:
    """``about 3.0 h``, of so many forward passes that take ``pace`` seconds each."""
    return f"about {duration(passes * pace)}"


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
    word = "within" if finding.holds else "beyond"
    sharp = "" if not finding.open or math.isinf(finding.estimate.high) else ", but its interval reaches across"
    value, most = _with_interval(finding.estimate), number(finding.most, 3)
    return f"{finding.name} = {value}, {word} {most}{sharp} ({finding.source})"
