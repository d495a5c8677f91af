"""The options for model and text are those that differ from the defaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from landscape.advice.request import AdviceRequest
from landscape.radius import RadiusRequest
from landscape.session.presets import PRESETS
from landscape.session.subject_words import subject_words
from landscape.survey.request import SurveyRequest


def test_defaults_are_not_written() -> None:
    assert subject_words(SurveyRequest("org/m")) == subject_words(RadiusRequest("org/m")) == ()
    assert subject_words(AdviceRequest("org/m")) == ("--preset", "standard")  # others have quick


def test_where_a_run_is_computed_is_not_written() -> None:
    request = SurveyRequest("org/m", "a.txt", exclude=("a", "b*"), bos=True, store=Path("x"), device="cpu")
    assert subject_words(request) == ("--data", "a.txt", "--exclude", "a,b*", "--bos")


def test_a_preset_that_was_made_in_python_has_no_name() -> None:
    own = replace(PRESETS["quick"], name="mine", seq_len=7)
    assert subject_words(AdviceRequest("org/m", preset=own)) == ("--seq-len", "7")
