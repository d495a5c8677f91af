from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from landscape.report.survey.page import page, write_page
from landscape.survey.result import SurveyResult
from quant.errors import ToolkitError
from tests import synthetic


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


def test_a_page_that_cannot_be_written_is_one_line_and_leaves_the_old_one(
    found: SurveyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolkitError, match=r"^expected to write the page .*file.page\.html, got: .*$"):
        write_page(found, tmp_path / "file" / "page.html")
    old = tmp_path / "page.html"
    old.write_text("old")

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("landscape.report.markup.os.replace", full)
    with pytest.raises(ToolkitError, match="No space left"):
        write_page(found, old)
    assert old.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["file", "page.html"]


def test_what_no_reader_sees_in_a_name_is_written_out(found: SurveyResult) -> None:
    hidden = ["\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\u2028", "\udcff"]
    name = "".join(f"a{character}b" for character in hidden)
    shown = page(replace(found, subject=replace(found.subject, model=name, data=name)))
    written = "".join(f"a{character.encode('unicode_escape', 'surrogatepass').decode()}b" for character in hidden)
    assert f"<title>{written}" in shown
    assert name not in shown
