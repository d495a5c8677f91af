"""Figure 2 against a brute force and the numbers of the study."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from landscape.report.chart import Chart, Missing, Series
from landscape.report.study.tradeoff import (
    Candidate,
    candidates,
    comparable,
    pareto_front,
    quantized_places,
    tradeoff,
)
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult
from tests.landscape.report.study.study_sample import BITS, study, with_points


@pytest.fixture(scope="module")
def found() -> StudyResult:
    return study()


def front_by_force(all_of: list[Candidate]) -> set[Candidate]:
    def dominates(a: Candidate, b: Candidate) -> bool:
        better = a.gigabytes < b.gigabytes or a.nll < b.nll
        return a.gigabytes <= b.gigabytes and a.nll <= b.nll and better

    return {b for b in all_of if not any(dominates(a, b) for a in all_of)}


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_that_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 8, (30, 2))  # small integers: with ties
    every = [Candidate("m", str(i), "rtn", float(x), float(y)) for i, (x, y) in enumerate(places)]
    front = pareto_front(every)
    assert set(front) == front_by_force(every)
    assert len(front) == len(set(front))
    assert [c.gigabytes for c in front] == sorted(c.gigabytes for c in front)


def test_the_front_of_the_study_is_drawn_as_steps(found: StudyResult) -> None:
    surveys = [model.survey for model in found.models]
    every = [
        Candidate(s.subject.model, p.name, p.method, p.size.bytes / 1e9, p.nll["test"])
        for s in surveys for p in s.points if p.size
    ]  # fmt: skip
    every += [
        Candidate(s.subject.model, "w", "w", s.center_size.bytes / 1e9, s.center["test"])
        for s in surveys
        if s.center_size
    ]
    assert set(candidates(surveys)) == set(every)
    chart = tradeoff(found)
    assert isinstance(chart, Chart)
    (line,) = series(chart, "Pareto front")
    corners = list(zip(line.x, line.y, strict=True))
    expected = sorted((c.gigabytes, c.nll) for c in front_by_force(every))
    assert corners[::2] == expected
    assert [y for _, y in corners[1::2]] == [nll for _, nll in expected]  # each level lasts up to the next size
    assert [x for x, _ in corners[1:-1:2]] == [size for size, _ in expected[1:]]
    own = [c for c in front_by_force(every) if c.method != "w"]
    trained = [c for c in own if c.method == "qaft"]
    assert f"QAFT holds {len(trained)} of the {len(own)} quantized places" in chart.title


def series(chart: Chart, name: str) -> list[Series]:
    return [m for _, _, panel in chart.each_panel for m in panel.marks if isinstance(m, Series) and m.name == name]


def test_the_strips_go_from_qaft_to_gptq(found: StudyResult) -> None:
    chart = tradeoff(found)
    assert isinstance(chart, Chart)
    for bits in BITS:
        strips = series(chart, f"gap, int{bits}")
        assert len(strips) == len(found.models)
        for strip, model in zip(strips, found.models, strict=True):
            by = {p.method: p for p in model.survey.points if p.bits == bits}
            assert strip.y == (by["qaft"].nll["test"], by["gptq"].nll["test"])
            assert by["gptq"].size is not None
            assert strip.x[1] == by["gptq"].size.gigabytes
            assert f"{by['gptq'].nll['test'] - by['qaft'].nll['test']:+.4f}" in strip.hover[0]


def test_models_whose_nats_do_not_compare_have_panels_of_their_own(found: StudyResult) -> None:
    first, second = found.models
    other = with_settings(second.survey, **{"corpus fingerprint": "cd" * 32})  # other ids: text or tokenizer
    apart = replace(found, models=(first, replace(second, survey=other)))
    assert len(comparable([first.survey, other])) == 2
    chart = tradeoff(apart)
    assert isinstance(chart, Chart)
    assert len(chart.panels) == 2
    assert len(series(chart, "Pareto front")) == 2
    assert any("nats per token do not compare" in note for note in chart.notes)
    longer = replace(second.survey, subject=replace(second.survey.subject, seq_len=7))
    assert len(comparable([first.survey, longer])) == 2
    assert len(comparable([first.survey, with_settings(second.survey, seed=1)])) == 2
    assert len(comparable([first.survey, second.survey])) == 1


def test_of_a_text_that_is_a_path_the_title_has_the_last_name(found: StudyResult) -> None:
    (first, *_), folder = found.models, "somewhere/on/disk/wikitext-2/"
    survey = replace(first.survey, subject=replace(first.survey.subject, data=folder))
    chart = tradeoff(replace(found, models=(replace(first, survey=survey),)))
    assert isinstance(chart, Chart)
    assert chart.panels[0][0].title == "opt-125m on wikitext-2"


def with_settings(survey: SurveyResult, **changes: object) -> SurveyResult:
    return replace(survey, run=replace(survey.run, settings={**survey.run.settings, **changes}))


def test_models_without_a_fingerprint_of_their_text_are_not_compared(found: StudyResult) -> None:
    bare = [replace(m.survey, run=replace(m.survey.run, settings={})) for m in found.models]
    assert len(comparable(bare)) == 2


def test_a_place_that_qaft_shares_with_rtn_counts_once_and_not_for_qaft() -> None:
    tie = [Candidate("m", f"{method}-int4", method, 1.0, 3.0) for method in ("rtn", "qaft")]
    alone = Candidate("m", "qaft-int3", "qaft", 0.75, 3.5)
    places = quantized_places(pareto_front([*tie, alone, Candidate("m", "w", "w", 4.0, 2.9)]))
    assert [(p.methods, p.is_trained, p.is_untrained) for p in places] == [
        ({"qaft"}, True, False), ({"rtn", "qaft"}, False, False),
    ]  # fmt: skip


def test_the_control_is_not_on_the_front(found: StudyResult) -> None:
    survey = found.models[0].survey
    control = replace(
        survey.points[0], name="w_ft", method="w_ft", bits=None, grid=None, size=survey.center_size,
        nll={**survey.points[0].nll, "test": 0.1},
    )  # fmt: skip
    assert all(c.method != "w_ft" for c in candidates([replace(survey, points=(*survey.points, control))]))


def test_points_without_size_or_finite_loss_are_named(found: StudyResult) -> None:
    bare = with_points(found, lambda p: replace(p, size=None) if p.name == "rtn-int8-exact" else p)
    lost = with_points(
        bare, lambda p: replace(p, nll={**p.nll, "test": math.nan}) if p.name == "gptq-int2-exact" else p
    )
    chart = tradeoff(lost)
    assert isinstance(chart, Chart)
    assert sum("rtn-int8-exact, gptq-int2-exact" in note for note in chart.notes) == 2


def test_without_any_size_it_says_so(found: StudyResult) -> None:
    bare = with_points(found, lambda p: replace(p, size=None))
    models = tuple(replace(m, survey=replace(m.survey, center_size=None)) for m in bare.models)
    missing = tradeoff(replace(bare, models=models))
    assert isinstance(missing, Missing)
    assert missing.reason == "No point has both a size and a finite NLL on test."
