"""Set the verdicts on the paper's findings in a table: a line a finding, a cell a model, understood in five seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landscape.claims.claim import Verdict
from landscape.formatting import sentence
from landscape.report.study.findings import Finding
from landscape.study.result import StudyResult

SIGNS: dict[Verdict, str] = {"holds": "✓", "fails": "✕", "open": "?"}
"""A sign beside each word, for readers who do not see colours."""


@dataclass(frozen=True)
class Statement:
    """A finding of the paper, and what every model says to it."""

    text: str
    source: str
    findings: list[Finding]


@dataclass(frozen=True)
class VerdictCell:
    """The verdict of one model, or of all of them, on a finding."""

    model: str
    verdict: Verdict
    sign: str
    number: str
    figure: str
    span: int
    """Number of columns."""


@dataclass(frozen=True)
class VerdictLine:
    """A finding of the paper, and its verdicts; None where a model was not judged."""

    text: str
    cells: tuple[VerdictCell | None, ...]


@dataclass(frozen=True)
class VerdictTable:
    """The verdicts, one column a model."""

    models: tuple[str, ...]
    lines: tuple[VerdictLine, ...]


def statements(found: Sequence[Finding]) -> list[Statement]:
    """Gather the findings with one text, in their order, each text and its numbers as sentences."""
    texts = dict.fromkeys((finding.text, finding.source) for finding in found)
    return [Statement(sentence(text), source, [f for f in found if f.text == text]) for text, source in texts]


def verdict_table(study: StudyResult, found: Sequence[Finding]) -> VerdictTable:
    """Return the table; a finding on all models together spans all columns."""
    models = tuple(model.name for model in study.models)
    return VerdictTable(models, tuple(_line(each, models) for each in statements(found)))


def _line(each: Statement, models: Sequence[str]) -> VerdictLine:
    by_model = {finding.model: _cell(finding, 1) for finding in each.findings}
    if set(by_model) & set(models):
        return VerdictLine(each.text, tuple(by_model.get(model) for model in models))
    return VerdictLine(each.text, tuple(_cell(finding, max(1, len(models))) for finding in each.findings))


def _cell(finding: Finding, span: int) -> VerdictCell:
    sign = SIGNS[finding.verdict]
    return VerdictCell(finding.model, finding.verdict, sign, finding.short, finding.figure, span)
