"""No name from a file, a model or the command line is markup on a page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from jinja2 import UndefinedError

from landscape.anatomy.result import AnatomyResult
from landscape.report.anatomy.page import anatomy_page
from landscape.report.markup import render
from landscape.report.survey.page import page
from landscape.session.run_record import Check, RunRecord
from tests import synthetic
from tests.landscape.reading import Page

NAMES = ("<b>x</b>", "</script><script>alert(1)</script>", "&amp;", "a\"b'c", "{{ title }}", "$figure", "<!-- -->")
SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)


def assert_text(text: str, name: str, calm: str) -> None:
    """The name is on the page as text, and the page has the very tags that it has with a name without markup."""
    assert name in Page(text).text
    assert tags(text) == tags(calm)
    assert "<" not in name or name not in SCRIPT.sub("", text)


def tags(text: str) -> list[str]:
    """All tags outside scripts, without the values of their attributes."""
    return [re.sub(r'"[^"]*"', '""', tag) for tag in re.findall(r"<[^>]*>", SCRIPT.sub("<script></script>", text))]


def survey(name: str) -> str:
    found = synthetic.landscape(
        model=name, bits=(4,), methods=("rtn",), external=(f"point {name}",), directions=2, windows=2
    )
    subject = replace(found.subject, data=f"data {name}", fingerprint=f"hash {name}")
    return page(replace(found, subject=subject, run=run(found.run, name)))


def run(record: RunRecord, name: str) -> RunRecord:
    return replace(record, settings={f"key {name}": f"value {name}"}, health=checks(name))


def anatomy(dissected: AnatomyResult, name: str) -> str:
    worst, *others = dissected.anatomy.groups["block"]
    groups = {"block": (replace(worst, slots=f"block={name}"), *others)}
    first, *rest = dissected.clipping
    statistics = {**dissected.anatomy.statistics, name: dissected.anatomy.statistics[first.slots]}
    return anatomy_page(
        replace(
            dissected,
            subject=replace(dissected.subject, model=name, data=f"data {name}"),
            point=f"point {name}",
            anatomy=replace(dissected.anatomy, groups=groups, statistics=statistics),
            clipping=(replace(first, slots=name), *rest),
            layers={},
            run=run(dissected.run, name),
        )
    )


def checks(name: str) -> tuple[Check, ...]:
    return tuple(Check(f"{name} {passed}", passed, f"words {name}") for passed in (True, False, None))


@pytest.mark.parametrize("name", NAMES)
def test_a_survey_prints_names_as_text(name: str) -> None:
    assert_text(survey(name), name, survey("calm"))


@pytest.mark.parametrize("name", NAMES)
def test_an_anatomy_prints_names_as_text(dissected: AnatomyResult, name: str) -> None:
    assert_text(anatomy(dissected, name), name, anatomy(dissected, "calm"))


def test_a_misspelt_name_in_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("anatomy.html", title="t")
