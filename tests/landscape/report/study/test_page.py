"""The page of a study: every section, the findings with their numbers, and the same bytes again."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from landscape.report.chart import Chart, Missing
from landscape.report.study.figures import charts, groups
from landscape.report.study.files import captions, write_figures
from landscape.report.study.findings import claim_findings, findings
from landscape.report.study.page import study_page, write_study_page
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult
from quant.errors import ToolkitError
from tests.landscape.report.study.study_sample import BITS, study, with_points


@pytest.fixture(scope="module")
def found() -> StudyResult:
    return study()


@pytest.fixture(scope="module")
def text(found: StudyResult) -> str:
    return study_page(found)


def verdicts(found: StudyResult, words: str) -> dict[str, str]:
    return {f.model: f.verdict for f in findings(found) if words in f.text}


def test_the_page_has_every_section_and_loads_nothing(found: StudyResult, text: str) -> None:
    for place in ("summary", *(group.id for group in groups(found)), "failures", "commands"):
        assert text.count(f'id="{place}"') == 1, place
    targets = set(re.findall(r'href="#([^"]+)"', text))
    assert targets <= set(re.findall(r'id="([^"]+)"', text))
    assert targets >= {chart.id for chart in charts(found) if chart.id.startswith(("figure-1", "figure-5"))}
    html = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!#|data:)', html)
    assert text.count("plotly.js v") == 1  # the library, once


def test_every_chart_is_there_with_its_title_and_caption(found: StudyResult, text: str) -> None:
    for chart in charts(found):
        if isinstance(chart, Chart):
            assert f'<h3 id="{chart.id}-title">' in text
            assert text.count(f'id="{chart.id}-plot"') == 1
    assert "Rounding goes beyond R with" in text


def test_commands_failures_identities_and_settings_are_there(found: StudyResult, text: str) -> None:
    assert found.command in text
    for model in found.models:
        assert model.command in text
        assert model.survey.subject.fingerprint in text
        assert model.survey.subject.data in text
    (failure,) = found.failures
    assert failure.cell in text
    assert failure.reason in text
    assert "standard" in text
    assert "quant-landscape" in text


def test_the_same_study_gives_the_same_bytes_whatever_it_took(found: StudyResult, text: str, tmp_path: Path) -> None:
    write_study_page(replace(found, seconds=1.0), tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_bytes() == text.encode()


def test_names_are_escaped(found: StudyResult) -> None:
    assert "<script>alert" not in study_page(replace(found, name="<script>alert(1)</script>", models=found.models[:1]))


def test_findings_are_those_of_the_numbers(found: StudyResult) -> None:
    layers = {"lower": 0, "higher": 0, "all": 0}
    for bits in BITS:
        by = {p.method: p.layers for p in found.models[0].survey.points if p.bits == bits}
        for rtn, gptq, qaft in zip(by["rtn"], by["gptq"], by["qaft"], strict=True):
            layers["lower"] += gptq.error["test"] < rtn.error["test"]
            layers["higher"] += qaft.error["test"] > rtn.error["test"]
            layers["all"] += 1
    each = {f.text: f for f in findings(found) if f.model == "opt-125m"}
    lower = each["GPTQ lowers the error of every layer from RTN’s level"]
    assert lower.numbers.startswith(f"{layers['lower']} of {layers['all']} ")
    assert lower.verdict == ("holds" if layers["lower"] == layers["all"] else "fails")
    higher = each["QAFT mostly raises the error of the layers above RTN’s"]
    assert higher.numbers.startswith(f"{layers['higher']} of {layers['all']} ")
    raw = {m.grid: m.raw["test"] for m in found.models[0].survey.misalignments}
    surely = all(estimate.low > 0 for estimate in raw.values())
    assert each["QAFT has a lower test NLL than GPTQ"].verdict == ("holds" if surely else "open")
    widest = max(raw.values(), key=lambda estimate: estimate.value)
    assert (
        f"{widest.value:+.4f} [{widest.low:+.4f}, {widest.high:+.4f}]"
        in each["QAFT has a lower test NLL than GPTQ"].numbers
    )
    assert verdicts(found, "lower learning rate") == {"opt-125m": "holds", "opt-350m": "holds"}
    assert verdicts(found, "one epoch") == {"opt-125m": "open", "opt-350m": "open"}  # a later epoch was kept
    assert verdicts(found, "Pareto") == {"all models": "holds"}


def test_a_finding_that_is_turned_round_fails(found: StudyResult) -> None:
    """Swap the losses of GPTQ and QAFT, and nothing that the paper says of them is left."""
    by = {(m.name, p.method, p.bits): p for m in found.models for p in m.survey.points}

    def swapped(p: PointResult) -> PointResult:
        other = {"gptq": "qaft", "qaft": "gptq"}.get(p.method)
        return p if other is None else replace(p, nll=by[name, other, p.bits].nll)

    models = []
    for model in found.models:
        name = model.name
        turned = [replace(m, raw={s: replace(e, value=-e.value, low=-e.high, high=-e.low) for s, e in m.raw.items()})
                  for m in model.survey.misalignments]  # fmt: skip
        survey = replace(model.survey, points=tuple(map(swapped, model.survey.points)), misalignments=tuple(turned))
        models.append(replace(model, survey=survey))
    worse = replace(found, models=tuple(models))
    assert set(verdicts(worse, "lower test NLL").values()) == {"fails"}
    assert verdicts(worse, "Pareto") == {"all models": "fails"}


def test_what_was_not_measured_is_open(found: StudyResult) -> None:
    bare = with_points(found, lambda p: replace(p, layers=(), training=None, size=None) if p.method != "gptq" else None)
    assert {f.verdict for f in findings(bare)} == {"open"}


def test_claims_are_summed_up_over_their_cases(found: StudyResult) -> None:
    own = {f.text: f for f in claim_findings(found) if f.model == "opt-125m"}
    assert [own[f"claim {n} of the paper"].verdict for n in (1, 2, 3, 5)] == ["holds", "open", "fails", "holds"]
    assert (
        own["claim 2 of the paper"].numbers == "1 holds, 1 open of 2 cases; 2 R to 3 R: open, no number: R is censored"
    )
    assert "0.500 [0.400, 0.600] (holds if > 0)" in own["claim 3 of the paper"].numbers


def test_figures_are_written_as_files_with_their_captions(found: StudyResult, tmp_path: Path) -> None:
    one = replace(found, models=found.models[1:])
    few = with_points(one, lambda p: p if (p.method, p.bits) == ("rtn", 2) else None)
    paths = write_figures(few, tmp_path / "figures")
    drawn = [chart.id for chart in charts(few) if isinstance(chart, Chart)]
    names = [f"{name}.{kind}" for name in drawn for kind in ("pdf", "svg", "png")]
    assert [path.name for path in paths] == [*names, "captions.md"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted([*names, "captions.md"])
    said = paths[-1].read_text()
    for chart in charts(few):
        assert chart.id in said
        assert (chart.reason if isinstance(chart, Missing) else chart.caption) in said
    assert said == captions(charts(few))
    assert all(math.isfinite(path.stat().st_size) and path.stat().st_size > 300 for path in paths)


def test_a_folder_that_cannot_be_written_is_said(found: StudyResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolkitError, match="expected to write the figure"):
        write_figures(replace(found, models=()), tmp_path / "file")
