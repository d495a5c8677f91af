"""Write advice as one self-contained page: what to do, the ways and grids, and where rounding lies in the basin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from landscape.advice.advise import AdviceResult
from landscape.advice.adviser import WidthAdvice
from landscape.advice.recipe import Original
from landscape.advice.recipes import recipes
from landscape.formatting import sentence
from landscape.report.advice.figure import CAPTION, basin_chart
from landscape.report.advice.tables import READING, cost_line, decision_table, measured_table
from landscape.report.advice.wording import (
    RULES,
    choice_name,
    control_line,
    cost_text,
    explanation_line,
    how,
    is_open,
    limit_line,
    missed,
    reason_lines,
    subject_lines,
    verdict_line,
)
from landscape.report.health import health_summary
from landscape.report.markup import render, write_text
from landscape.report.plot import figure_html
from landscape.report.plotly_chart import draw


@dataclass(frozen=True)
class _Verdict:
    """The verdict for one bit width, as the strip shows it."""

    bits: int
    state: str
    """``kept``, ``open`` or ``lost``."""
    what: str
    change: str
    note: str


def advice_page(advised: AdviceResult, following: str) -> str:
    """Return the page as one HTML document, the same bytes for the same advice.

    Args:
        advised: The advice.
        following: The command to type next.
    """
    chart, shipped = basin_chart(advised), advised.smallest.choice
    reasons = [
        f"{verdict_line(found, advised)}. {'. '.join([*reason_lines(found, advised), ''])}" for found in advised.advice
    ]
    explained = [f"{name}: {explanation_line(each)}." for name, each in advised.explanations.items()]
    return render(
        "advice.html",
        title=f"How to quantize {advised.subject.model}",
        limit=f"{sentence(limit_line(advised))}.",
        verdicts=[_verdict(found, advised) for found in advised.advice],
        following=following,
        decisions=decision_table(advised),
        reading=f"{READING}.",
        costs=f"{sentence(cost_line(advised))}.",
        control=f"{sentence(control_line(advised.control, advised.net))}.",
        figure=None if chart is None else figure_html(draw(chart), "basin-plot"),
        caption=CAPTION,
        handed=choice_name(shipped),
        recipes=recipes(Original.of(advised.subject), shipped.way, shipped.scheme),
        reasons=[*reasons, *explained],
        rules=RULES,
        subject=subject_lines(advised),
        health=health_summary(advised.run.health),
        tables=[measured_table(advised)],
    )


def write_advice_page(advised: AdviceResult, path: Path, following: str) -> None:
    """Write the page, whole or not at all.

    Args:
        advised: The advice.
        path: The file; an older one is replaced, missing folders are made.
        following: The command to type next.

    Raises:
        ToolkitError: if it cannot be written.
    """
    write_text(advice_page(advised, following), path)


def _verdict(found: WidthAdvice, advised: AdviceResult) -> _Verdict:
    choice = found.verdict.choice
    size = f"{choice.bits_per_weight:.2f} bits per weight"
    note = f"{how(choice)}; {size}" if how(choice) else size
    lost = "" if found.verdict.keeps else f"{missed(found, advised)}; nearest: "
    state = "kept" if found.verdict.keeps else "open" if is_open(found, advised) else "lost"
    return _Verdict(found.bits, state, f"{lost}{choice_name(choice)}", cost_text(choice, advised), note)
