"""Write the page of a study: what holds of the paper, the figures, every number in tables. It loads nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from landscape.report.chart import Chart, Missing
from landscape.report.health import health_summary
from landscape.report.markup import render, write_text
from landscape.report.plot import Figure, figure_html
from landscape.report.plotly_chart import draw
from landscape.report.study.figures import groups
from landscape.report.study.findings import Finding, claim_findings, findings
from landscape.report.study.landscapes import interactive
from landscape.report.study.tables import failure_table, study_tables, subject_sentences
from landscape.session.run_record import Check
from landscape.study.result import StudyResult

READING = (
    "A finding holds or fails where the numbers decide it, and is open where they do not: an interval that reaches "
    "across the threshold, or numbers that were not measured. One case that fails makes the finding fail."
)
_PANEL = 330  # pixels that a panel needs: a narrower screen scrolls


@dataclass(frozen=True)
class _Drawing:
    """A figure as the page shows it, or why it is not drawn."""

    id: str
    title: str
    caption: str
    notes: tuple[str, ...]
    figure: Markup | None
    least_width: int = 0


@dataclass(frozen=True)
class _Section:
    id: str
    title: str
    source: str
    drawings: list[_Drawing]


@dataclass(frozen=True)
class _Statement:
    """A finding of the paper, and what every model says to it."""

    text: str
    source: str
    findings: list[Finding]


def study_page(study: StudyResult) -> str:
    """Return the page as one HTML document, the same bytes for the same study."""
    found, claims = findings(study), claim_findings(study)
    return render(
        "study.html",
        title=f"Study: {study.name}",
        subject=subject_sentences(study),
        summary=summary(study, [*found, *claims]),
        findings=_grouped(found),
        claims=_grouped(claims),
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


def summary(study: StudyResult, found: list[Finding]) -> list[str]:
    """Sum up how many findings of the paper hold here."""
    if not study.models:
        return ["No model of this study was measured: see what failed."]
    counts = Counter(finding.verdict for finding in found)
    words = ", ".join(f"{counts[v]} {v}" for v in ("holds", "fails", "open") if counts[v])
    said = f"Of {len(found)} findings of the paper, each judged on every model or on all of them: {words}."
    failed = list(dict.fromkeys(f"{f.text} ({f.model})" for f in found if f.verdict == "fails"))
    return [said, f"Not so here: {'; '.join(failed)}."] if failed else [said]


def _grouped(found: list[Finding]) -> list[_Statement]:
    """Gather the findings with one text, in their order."""
    texts = dict.fromkeys((finding.text, finding.source) for finding in found)
    return [_Statement(*key, [f for f in found if (f.text, f.source) == key]) for key in texts]


def _sections(study: StudyResult) -> Iterator[_Section]:
    """Yield the sections; plotly.js is in the first figure alone."""
    richer, library = interactive(study), True
    for group in groups(study):
        drawings = []
        for chart in group.charts:
            drawings.append(_drawing(chart, richer, library))
            library = library and isinstance(chart, Missing)
        yield _Section(group.id, group.title, group.source, drawings)


def _drawing(chart: Chart | Missing, richer: dict[str, Figure], library: bool) -> _Drawing:
    if isinstance(chart, Missing):
        return _Drawing(chart.id, chart.title, chart.reason, chart.notes, None)
    figure = richer.get(chart.id) or draw(chart)
    least = _PANEL * chart.columns if chart.id not in richer else 880
    return _Drawing(
        chart.id, chart.title, chart.caption, chart.notes, figure_html(figure, f"{chart.id}-plot", library), least
    )


def _checks(study: StudyResult) -> Iterator[Check]:
    """Yield the checks of all runs, named by their model."""
    for model in study.models:
        for check in model.survey.run.health:
            yield replace(check, name=f"{model.name}: {check.name}") if len(study.models) > 1 else check
