"""The top of the page of a study: verdicts in a table, perplexities, units, and sentences that begin with symbols."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from landscape.formatting import sentence
from landscape.report.chart import Chart
from landscape.report.study.cells import size_unit, surveys
from landscape.report.study.findings import claim_findings, findings
from landscape.report.study.tables import perplexity_tables, point_table
from landscape.report.study.tradeoff import tradeoff
from landscape.report.study.verdicts import SIGNS, verdict_table
from landscape.study.result import StudyResult
from quant.size import ModelSize
from tests.landscape.report.study.study_sample import study, with_points


@pytest.fixture(scope="module")
def found() -> StudyResult:
    return study()


def test_every_finding_is_one_cell_with_its_verdict_and_figure(found: StudyResult) -> None:
    every = [*findings(found), *claim_findings(found)]
    table = verdict_table(found, every)
    assert table.models == ("opt-125m", "opt-350m")
    cells = [cell for line in table.lines for cell in line.cells if cell]
    assert sorted((c.model, c.verdict, c.number, c.figure) for c in cells) == sorted(
        (f.model, f.verdict, f.short, f.figure) for f in every
    )
    assert all(cell.sign == SIGNS[cell.verdict] for cell in cells)
    assert {sum(cell.span if cell else 1 for cell in line.cells) for line in table.lines} == {2}


def test_the_short_number_is_one_of_those_in_the_words(found: StudyResult) -> None:
    for finding in [*findings(found), *claim_findings(found)]:
        assert set(re.findall(r"\d+\.\d+", finding.short)) <= set(re.findall(r"\d+\.\d+", finding.numbers))


def test_perplexities_are_exp_of_the_nll_and_their_change_is_against_w(found: StudyResult) -> None:
    tables = perplexity_tables(found)
    assert len(tables) == 2
    survey = found.models[0].survey
    rows = {row[0]: dict(zip(tables[0].header[1:], row[1:], strict=True)) for row in tables[0].rows}
    assert tables[0].header == ("method", "int8", "int6", "int4", "int3", "int2")
    for point in survey.points:
        value, change = rows[point.method.upper()][f"int{point.bits}"].split(" (")
        assert float(value.replace(",", "")) == pytest.approx(math.exp(point.nll["test"]), rel=1e-3)
        percent = 100 * math.expm1(point.rise["test"].value)
        if not change.startswith("×"):
            assert float(change.rstrip(" %)").replace("−", "-").replace("±", "")) == pytest.approx(percent, abs=0.51)
    assert f"{math.exp(survey.center['test']):.2f}" in tables[0].caption


def test_sizes_of_small_models_are_in_megabytes_everywhere(found: StudyResult) -> None:
    assert size_unit(surveys(found)).name == "GB"
    small = with_points(found, lambda p: replace(p, size=ModelSize(4.0, 4.0, 600_000)))
    small = replace(small, models=tuple(
        replace(m, survey=replace(m.survey, center_size=ModelSize(16.0, 16.0, 2_400_000))) for m in small.models
    ))  # fmt: skip
    chart, table = tradeoff(small), point_table(small)
    assert isinstance(chart, Chart)
    (panel,) = chart.panels[0]
    assert "(MB, logarithmic)" in panel.x.title
    assert {x for mark in panel.marks if getattr(mark, "labels", ()) for x in mark.x} == {0.6, 2.4}  # type: ignore[union-attr]
    assert "MB" in table.header
    assert {row[table.header.index("MB")] for row in table.rows} == {"0.600", "2.40"}


@pytest.mark.parametrize(
    "text", ["w_RTN lies", "int3 1e-4", "r_s = 0.9", "w is", "ρ is", "opt-125m trains", "ln|V| is"]
)
def test_symbols_and_names_stay_as_they_are(text: str) -> None:
    assert sentence(text) == text


@pytest.mark.parametrize(("text", "said"), [("lower in 2", "Lower in 2"), ("one epoch", "One epoch"), ("", "")])
def test_words_begin_a_sentence_with_a_capital(text: str, said: str) -> None:
    assert sentence(text) == said
