"""Put advice into words of the field: perplexities in per cent, bits per weight, and what to do at each bit width."""

from __future__ import annotations

import math
from collections.abc import Iterator

from landscape.advice.advise import AdviceResult
from landscape.advice.adviser import Control, WidthAdvice
from landscape.advice.choice import Choice
from landscape.advice.explain import Explanation
from landscape.advice.ways import NAMES
from landscape.estimators.intervals import Estimate
from landscape.estimators.perplexity import perplexity
from landscape.formatting import crossing_text, number, windows_text
from landscape.report.perplexity_change import change_with_ends
from landscape.session.request import JUDGED_SPLIT
from quant.scheme import QuantScheme

RULES = (
    "RTN is measured on every grid, on 4, 8, 16 … windows until its loss lies on one side of the limit. Its interval "
    "allows for having looked several times.",
    "GPTQ is foretold from RTN's loss, and at most that, as one ships RTN where GPTQ ends above it. Where RTN does not "
    "keep the limit and GPTQ may, it is tried on little data, and measured.",
    "QAFT is foretold from RTN's loss, plus what plain fine-tuning on the same text changes. That is measured where "
    "neither RTN nor GPTQ keeps the limit at some bit width.",
    "The verdict is the cheapest way whose loss keeps the limit with the probability asked for: RTN before GPTQ before "
    "QAFT, and within a way the grid of fewest bits per weight. Where none does, it is the one that comes nearest. The "
    "probability is that of each way on each grid by itself.",
)
"""How a verdict comes about, for readers."""


def subject_lines(advised: AdviceResult) -> list[str]:
    """Name the model, the limit and the basin."""
    subject = advised.subject
    windows = windows_text(subject.windows[JUDGED_SPLIT], advised.articles)
    lines = [
        f"{subject.model} on {subject.data} ({JUDGED_SPLIT}, up to {windows}, {subject.seq_len} tokens each): "
        f"perplexity {number(perplexity(advised.center_nll), 4)}",
        limit_line(advised),
    ]
    if advised.search is not None:
        found, last = advised.search.radius, advised.search.rounds[-1]
        radius = crossing_text(found, last.directions, last.windows, articles=last.articles)
        lines.append(
            f"basin: along random directions the loss is halfway to chance at a distance R = {radius} from the weights"
        )
    return lines


def limit_line(advised: AdviceResult) -> str:
    """Name the limit, and the probability with which it shall be kept."""
    most = number(perplexity(advised.center_nll + advised.limit.nats), 4)
    judged = "; QAFT is judged less what plain fine-tuning gains" if advised.net else ""
    return (
        f"limit {advised.limit.text}: perplexity at most {most}, to be kept with {100 * advised.confidence:g} % "
        f"probability{judged}"
    )


def grid_name(scheme: QuantScheme) -> str:
    """Name what has one scale, and the rule for it: ``group of 128, absmax``, or the float format."""
    return f"{_unit(scheme)}, {scheme.format or scheme.scale}"


def _unit(scheme: QuantScheme) -> str:
    return f"group of {scheme.group}" if scheme.group else scheme.granularity


def choice_name(choice: Choice) -> str:
    """Name a way and its grid: ``GPTQ with one scale per channel (mse)``, ``RTN to nvfp4``."""
    if choice.scheme.format:
        return f"{NAMES[choice.way]} to {choice.scheme.format}"
    return f"{NAMES[choice.way]} with one scale per {_unit(choice.scheme)} ({choice.scheme.scale})"


def verdict_line(found: WidthAdvice, advised: AdviceResult) -> str:
    """Say what to do at a bit width, in one sentence."""
    choice = found.verdict.choice
    size = f"{choice.bits_per_weight:.2f} bits per weight"
    cost = f"perplexity {cost_text(choice, advised)}{how(choice, ', ')}, {size}"
    if found.verdict.keeps:
        keeps = "keeps" if choice.as_shipped else "should keep"
        return f"{found.bits} bits: {choice_name(choice)} {keeps} the limit: {cost}"
    return f"{found.bits} bits: {missed(found, advised)}; {choice_name(choice)} comes nearest: {cost}"


def cost_text(choice: Choice, advised: AdviceResult) -> str:
    """Write what a choice costs, in per cent of the perplexity; say so where fine-tuning is taken off.

    Where RTN's output overflowed, nothing is known of a way that was not measured.
    """
    rise = choice.judged(advised.net)
    if choice.source == "foretold" and not math.isfinite(rise.value):
        return "not known"
    less = " less plain fine-tuning" if advised.net and choice.net is not None else ""
    return f"{change_with_ends(rise)}{less}"


def missed(found: WidthAdvice, advised: AdviceResult) -> str:
    """Say how sure it is that no way keeps the limit, where none keeps it with the probability asked for."""
    if is_open(found, advised):
        return "it is open whether any way keeps the limit"
    return "nothing is likely to keep the limit"


def is_open(found: WidthAdvice, advised: AdviceResult) -> bool:
    """Return whether no way keeps the limit with the probability asked for, and yet some way may keep it."""
    rises = (choice.judged(advised.net) for choice in found.choices)
    return not found.verdict.keeps and any(rise.low <= advised.limit.nats for rise in rises)


def how(choice: Choice, before: str = "") -> str:
    """Say how a loss is known, where it is not measured at the point that one would ship; else nothing."""
    if choice.source == "foretold":
        return f"{before}foretold"
    return f"{before}calibrated with {choice.tokens:,} tokens" if choice.tokens else ""


def reason_lines(found: WidthAdvice, advised: AdviceResult) -> Iterator[str]:
    """Say what became of the cheaper ways on the grid of the verdict."""
    chosen = found.verdict.choice
    for choice in found.choices:
        if choice.scheme == chosen.scheme and choice.price < chosen.price:
            rise = f"{cost_text(choice, advised)}{how(choice, ', ')}"
            yield f"{NAMES[choice.way]}: {rise}: {_against(choice, advised)}"


def _against(choice: Choice, advised: AdviceResult) -> str:
    """Say how a choice that does not keep the limit stands to it."""
    rise = choice.judged(advised.net)
    overflowed = choice.source == "measured" and not math.isfinite(rise.value)
    if overflowed or rise.low > advised.limit.nats:
        return "not enough"
    return "inconclusive"


def explanation_line(explained: Explanation) -> str:
    """Say why RTN on a grid costs what it costs."""
    if explained.remaining is None:
        clipping = (
            "nothing is clipped" if not explained.clipped else f"{explained.clipped:.2g} of the weights are clipped"
        )
    else:
        clipping = (
            f"with the clipping of {explained.clipped:.2g} of the weights undone, "
            f"{number(100 * explained.remaining.value, 3)} % of the rise is left"
        )
    if explained.rho_prof is None:
        return f"{clipping}; R along directions that move each matrix as far as rounding does is not reached"
    share = number(100 * explained.rho_prof.value, 3)
    return f"{clipping}; the distance is {share} % of R along directions that move each matrix as far as rounding does"


def control_line(control: Control | None, net: bool) -> str:
    """Say what plain fine-tuning changes, and whether QAFT includes it.

    Args:
        control: The control of QAFT; None if no verdict needed it.
        net: Whether QAFT is judged less its control.
    """
    if control is None:
        return "QAFT is foretold without what plain fine-tuning on the same text changes: no verdict needed it"
    if control.rise is None:
        return (
            "QAFT is foretold without what plain fine-tuning on the same text changes, and cannot be trained here: "
            f"{control.refused}"
        )
    tried = "plain fine-tuning on the same text, tried for 32 short steps: perplexity"
    counted = "is taken off QAFT" if net else "is part of QAFT, as foretold"
    return f"{tried} {change_with_ends(control.rise)}; it {counted}"


def share_text(rho: Estimate | None) -> str:
    """Write ‖Δw‖ in per cent of R."""
    return "–" if rho is None else f"{100 * rho.value:.2g} %" if rho.value < 0.1 else f"{100 * rho.value:.0f} %"
