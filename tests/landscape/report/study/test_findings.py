"""Findings are no stronger than the intervals behind them: cells without one, ties, infinite losses, few models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from landscape.report.study.findings import Finding, front, lower_nll, one_epoch, radius_predicts
from landscape.session.training_record import Epoch
from landscape.study.result import StudyResult
from landscape.survey.result import MethodGap, PointResult, SurveyResult
from tests.landscape.report.study.study_sample import BITS, around, study, with_points


@pytest.fixture(scope="module")
def found() -> StudyResult:
    return study()


def first_kept(p: PointResult) -> PointResult:
    """Keep the first epoch of QAFT, at the loss of the point."""
    if p.training is None:
        return p
    rate = p.training.chosen.rate
    kept = Epoch(rate, 1, p.nll["validation"], None, p.nll["test"])
    rows = tuple(kept if (e.rate, e.epoch) == (rate, 1) else e for e in p.training.epochs)
    return replace(p, training=replace(p.training, epochs=rows, chosen=kept))


def with_gaps(survey: SurveyResult, value: float, half: float) -> SurveyResult:
    """Drop M, and set L(GPTQ) − L(QAFT) of every grid."""
    gaps = tuple(MethodGap(f"int{b}-exact", {"test": around(value, half)}) for b in BITS)
    return replace(survey, misalignments=(), gaps=gaps)


def lost(survey: SurveyResult, name: str) -> SurveyResult:
    points = (replace(p, nll={**p.nll, "test": math.inf}) if p.name == name else p for p in survey.points)
    return replace(survey, points=tuple(points))


@pytest.mark.parametrize(("value", "half", "verdict"), [(0.2, 0.1, "holds"), (-0.2, 0.1, "fails"), (0.2, 0.3, "open")])
def test_where_the_first_epoch_was_kept_its_interval_judges(
    found: StudyResult, value: float, half: float, verdict: str
) -> None:
    survey = with_points(found, first_kept).models[0].survey
    judged = one_epoch(with_gaps(survey, value, half), "x")
    assert judged.verdict == verdict
    assert "interval" not in judged.numbers


def test_where_a_later_epoch_was_kept_one_epoch_is_open(found: StudyResult) -> None:
    judged = one_epoch(with_gaps(found.models[0].survey, 0.2, 0.1), "x")
    assert judged.verdict == "open"
    assert "5 not judged by an interval" in judged.numbers


def test_rtn_below_gptq_is_no_epoch_of_training(found: StudyResult) -> None:
    def untaught(p: PointResult) -> PointResult:
        if p.training is None:
            return p
        rows = tuple(replace(e, test_nll=50.0 if e.epoch else 0.0) for e in p.training.epochs)
        return replace(p, training=replace(p.training, epochs=rows, chosen=rows[0]))

    worse = with_points(found, untaught).models[0].survey
    worse = replace(worse, points=tuple(replace(p, nll={**p.nll, "test": 0.0}) if p.method == "qaft" else p
                                        for p in worse.points))  # fmt: skip
    judged = one_epoch(worse, "x")
    assert judged.numbers.startswith("0 of 5 cells")
    assert judged.verdict == "open"


def test_a_cell_is_not_judged_without_gptqs_loss_or_that_of_the_first_epoch(found: StudyResult) -> None:
    survey = lost(found.models[0].survey, "gptq-int2-exact")
    assert "of 4 cells" in one_epoch(survey, "x").numbers

    def late(p: PointResult) -> PointResult:
        if p.training is None:
            return p
        rows = tuple(replace(e, test_nll=None) if e.epoch == 1 else e for e in p.training.epochs)
        return replace(p, training=replace(p.training, epochs=rows))

    assert one_epoch(with_points(found, late).models[0].survey, "x").numbers.startswith("no test NLL after one epoch")


def test_the_interval_of_gptq_less_qaft_needs_no_control(found: StudyResult) -> None:
    judged = lower_nll(with_gaps(found.models[0].survey, 0.2, 0.1), "x")
    assert judged.verdict == "holds"
    assert "+0.2000 [+0.1000, +0.3000]" in judged.numbers
    assert lower_nll(replace(found.models[0].survey, misalignments=()), "x").verdict == "open"


def test_infinite_losses_are_counted_and_do_not_let_a_diverged_qaft_win(found: StudyResult) -> None:
    survey = with_gaps(found.models[0].survey, 0.2, 0.1)
    gptq, qaft = (lower_nll(lost(survey, f"{method}-int2-exact"), "x") for method in ("gptq", "qaft"))
    assert "a loss is not finite in 1 more: int2" in gptq.numbers
    assert "a loss is not finite in 1 more: int2" in qaft.numbers
    assert (gptq.verdict, qaft.verdict) == ("holds", "open")


@pytest.mark.parametrize(("value", "half", "verdict"), [(0.2, 0.1, "holds"), (0.2, 0.3, "open")])
def test_the_front_is_held_where_the_intervals_say_so(
    found: StudyResult, value: float, half: float, verdict: str
) -> None:
    models = tuple(replace(m, survey=with_gaps(m.survey, value, half)) for m in found.models)
    assert front(replace(found, models=models)).verdict == verdict


def of_models(found: StudyResult, count: int, change: Callable[[int, int], tuple[float, float]]) -> Finding:
    """Judge models whose ρ and M at each bit width are ``change(model, bits)``."""
    models = []
    for i in range(count):
        survey = found.models[0].survey
        points = tuple(replace(p, rho=around(change(i, p.bits or 8)[0], 0.01)) for p in survey.points)
        ms = tuple(replace(m, net={"test": around(change(i, int(m.grid[3]))[1], 0.01)}) for m in survey.misalignments)
        subject = replace(survey.subject, model=f"m{i}")
        models.append(
            replace(found.models[0], survey=replace(survey, points=points, misalignments=ms, subject=subject))
        )
    return radius_predicts(replace(found, models=tuple(models)))


def test_the_bit_widths_of_one_model_prove_nothing(found: StudyResult) -> None:
    judged = of_models(found, 1, lambda model, bits: (10.0 - bits, 10.0 - bits))
    assert judged.verdict == "open"
    assert "r_s = 1.0, n = 5, not tested" in judged.numbers


def test_models_at_the_same_bit_width_are_the_evidence(found: StudyResult) -> None:
    assert of_models(found, 6, lambda model, bits: (10 - bits + model / 9, 10 - bits + model / 9)).verdict == "holds"
    assert of_models(found, 6, lambda model, bits: (10 - bits + model / 9, 10 - bits - model / 9)).verdict == "fails"
    unrelated = (0, 3, 1, 5, 2, 4)
    judged = of_models(found, 6, lambda model, bits: (10 - bits + model / 9, 10 - bits + unrelated[model] / 9))
    assert judged.verdict == "open"
