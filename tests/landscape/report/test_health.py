from __future__ import annotations

from dataclasses import replace

import pytest

from landscape.report.survey.page import page
from landscape.session.run_record import Check
from landscape.survey.result import SurveyResult
from tests import synthetic

SOUND = Check("finite losses", True, "All 9 losses are finite.")
UNJUDGED = [Check(name, None, "Nothing was evaluated.") for name in ("L(w) reproduced", "float resolution")]
WRONG = Check("deterministic evaluation", False, "It draws <random> numbers.")


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


def test_a_failed_check_stands_above_the_plot_in_plain_words(found: SurveyResult) -> None:
    text = page(replace(found, run=replace(found.run, health=(WRONG, *UNJUDGED, SOUND))))
    top = text[text.index("<h1>") : text.index("<figure")]
    assert "This run is not sound" in top
    assert "It draws &lt;random&gt; numbers." in top
    assert "All 9 losses" not in top
    section = text[text.index("Is this run sound?") :]
    assert "No: 1 of 2 checks failed, see the top of the page: deterministic evaluation." in section
    assert "Not judged: <strong>L(w) reproduced, float resolution.</strong> Nothing was evaluated." in section


def test_passed_checks_are_folded_to_one_line(found: SurveyResult) -> None:
    text = page(replace(found, run=replace(found.run, health=(SOUND, *UNJUDGED))))
    assert "not sound" not in text
    section = text[text.index("Is this run sound?") : text.index('id="numbers-title"')]
    assert "Yes, as far as checked: 1 check passed, none failed." in section
    assert "<details><summary>Passed: finite losses</summary>" in section
    assert "All 9 losses are finite." in section[section.index("<details>") :]
