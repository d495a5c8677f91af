"""Write the page of a study: what holds of the paper, the figures, every number in tables. It loads nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from landscape.report.chart import Missing
from landscape.report.health import health_summary
from landscape.report.markup import render, write_text
from landscape.report.plot import figure_html
from landscape.report.plotly_chart import draw
from landscape.report.study.figures import groups
from landscape.report.study.findings import Finding, claim_findings, findings
from landscape.report.study.landscapes import interactive, radial_controls
from landscape.report.study.tables import failure_table, perplexity_tables, study_tables, subject_sentences
from landscape.report.study.verdicts import statements, verdict_table
from landscape.report.survey.controls import Controls
from landscape.session.run_record import Check
from landscape.study.result import StudyResult

READING = (
    "A finding holds or fails where the numbers decide it, and is open where they do not: an interval that reaches "
    "across the threshold, or numbers that were not measured. One case that fails makes the finding fail."
)


@dataclass(frozen=True)
class _Drawing:
    """A figure as the page shows it, or why it is not drawn."""

    id: str
    title: str
    caption: str
    notes: tuple[str, ...]
    figure: Markup | None
    controls: Controls | None = None
    """Buttons above it."""


@dataclass(frozen=True)
class _Section:
    id: str
    title: str
    source: str
    drawings: list[_Drawing]


def study_page(study: StudyResult) -> str:
    """Return the page as one HTML document, the same bytes for the same study."""
    found, claims = findings(study), claim_findings(study)
    return render(
        "study.html",
        title=f"Study: {study.name}",
        subject=subject_sentences(study),
        summary=summary(study, [*found, *claims]),
        verdicts=verdict_table(study, [*found, *claims]),
        perplexities=perplexity_tables(study),
        findings=statements(found),
        claims=statements(claims),
        reading=READING,
        groups=list(_sections(study)),
        failures=failure_table(study),
        command=study.command,
        commands=[model.command for model in study.models],
        health=health_summary(list(_checks(study))),
        tables=study_tables(study),
    )


def write_study_page(study: StudyResult, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        study: The study.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    write_text(study_page(study), path)


def summary(study: StudyResult, found: list[Finding]) -> str:
    """Sum up how many findings of the paper hold here."""
    if not study.models:
        return "No model of this study was measured: see what failed."
    counts = Counter(finding.verdict for finding in found)
    words = ", ".join(f"{counts[v]} {v}" for v in ("holds", "fails", "open") if counts[v])
    return f"Of {len(found)} findings of the paper, each judged on every model or on all of them: {words}."


def _sections(study: StudyResult) -> Iterator[_Section]:
    """Yield the sections; plotly.js is in the first figure alone."""
    richer, buttons, library = interactive(study), radial_controls(study), True
    for group in groups(study):
        drawings = []
        for chart in group.charts:
            if isinstance(chart, Missing):
                drawings.append(_Drawing(chart.id, chart.title, chart.reason, chart.notes, None))
                continue
            own = buttons.get(chart.id)
            figure = richer.get(chart.id) or draw(chart)
            markup = figure_html(figure, f"{chart.id}-plot", library, buttons=own is not None)
            drawings.append(_Drawing(chart.id, chart.title, chart.caption, chart.notes, markup, own))
            library = False
        yield _Section(group.id, group.title, group.source, drawings)


def _checks(study: StudyResult) -> Iterator[Check]:
    """Yield the checks of all runs, named by their model."""
    for model in study.models:
        for check in model.survey.run.health:
            yield replace(check, name=f"{model.name}: {check.name}") if len(study.models) > 1 else check
