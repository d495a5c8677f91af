"""A study asks each model for the same survey."""

from __future__ import annotations

from dataclasses import fields

import pytest

from landscape.session.presets import PRESETS
from landscape.study.request import StudyRequest
from landscape.survey.request import SurveyRequest
from quant.errors import UsageError


def test_every_model_gets_the_survey_of_the_study():
    study = StudyRequest(
        models=("opt-nano", "other"), texts=("tales", "a/b"), bits=(4, 2), scales=("absmax",), seed=3, directions=5,
        preset=PRESETS["standard"],
    )  # fmt: skip
    first, second = study.surveys
    assert (first.model, first.data) == ("opt-nano", "tales")
    assert (second.model, second.data) == ("other", "a/b")
    for survey in study.surveys:
        assert type(survey) is SurveyRequest
        for field in fields(SurveyRequest):
            if field.name not in ("model", "data"):
                assert getattr(survey, field.name) == getattr(study, field.name), field.name


def test_one_text_is_for_all_and_none_is_the_default_of_each():
    models = ("opt-nano", "other")
    assert [survey.data for survey in StudyRequest(models=models, texts=("x",)).surveys] == ["x", "x"]
    assert [survey.corpus for survey in StudyRequest(models=models).surveys] == ["tales", "wikitext2"]


def test_a_study_is_called_by_its_models_unless_it_has_a_name():
    assert StudyRequest(models=("a", "b")).title == "a, b"
    assert StudyRequest(models=("a", "b"), name="c").title == "c"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"models": ()}, "at least one model"),
        ({"models": ("a", "a")}, "more than once"),
        ({"models": ("a", "b"), "texts": ("x", "y", "z")}, "one for each of 2 models, got 3"),
        ({"models": ("a", "b"), "revision": "v1"}, "a revision belongs to one model"),
        ({"scales": ("exakt",)}, "exakt"),
        ({"methods": ("gptq2",)}, "gptq2"),
    ],
)
def test_what_cannot_be_met_is_refused_before_a_model_is_loaded(asked, words):
    with pytest.raises(UsageError, match=words):
        StudyRequest(**asked)
