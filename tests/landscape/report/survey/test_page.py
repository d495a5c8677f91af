from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from landscape.report.survey.page import page, write_page
from landscape.report.survey.tables import basin_table
from landscape.report.survey.wording import basin_sentences
from landscape.session.run_record import ProbeCount
from landscape.survey.result import SurveyResult
from tests import synthetic
from tests.landscape.reading import Page


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


@pytest.fixture(scope="module")
def text(found: SurveyResult) -> str:
    return page(found)


@pytest.fixture(scope="module")
def parsed(text: str) -> Page:
    return Page(text)


def test_the_same_measurement_gives_the_same_bytes(found: SurveyResult, text: str, tmp_path: Path) -> None:
    probes = ProbeCount(found.run.probes.total, 1234, 0)
    again = synthetic.landscape()
    again = replace(again, run=replace(again.run, seconds=0.2, store="/elsewhere", probes=probes))
    write_page(again, tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_bytes() == text.encode()
    assert os.listdir(tmp_path / "new") == ["page.html"]
    assert '<div id="radial-landscape"' in text  # plotly's own would be random in every process


def test_it_loads_nothing(text: str, parsed: Page) -> None:
    assert parsed.loads == ["data:,"]
    assert not re.search(r"@import|url\(", parsed.style)
    assert "<script src" not in text
    assert "default-src 'none'" in text
    assert '"showSendToCloud":false' in text.replace(" ", "")


def test_who_cannot_see_the_plot_is_told_the_same(found: SurveyResult, text: str, parsed: Page) -> None:
    assert all(header["scope"] in ("col", "row") for header in parsed.headers)
    assert 'aria-label="Interactive plot: opt-125m: basin radius R = ' in text
    assert '<html lang="en">' in text
    assert len(parsed.tables) == 8  # the strip of verdicts with them
    for point in found.points:
        assert f"{point.name}: {point.location}, {point.loss}" in parsed.text


def test_a_table_too_wide_for_the_screen_scrolls_and_its_caption_does_not(parsed: Page) -> None:
    style = dict(re.findall(r"^\.?(\w+) \{ (.*?) \}", parsed.style, re.MULTILINE))
    assert "overflow-x: auto" in style["scroll"]
    assert "container-type: inline-size" in style["scroll"]
    assert style["caption"].endswith("position: sticky; left: 0; max-width: 100cqw;")


def test_the_page_has_one_title_and_folds_what_is_long(found: SurveyResult, text: str, parsed: Page) -> None:
    assert parsed.text.count("opt-125m: basin radius R = ") == 2  # of the window, and of the page
    assert text.count("How to read the plot") == 1
    folded = [part.split("</summary>")[0].split(">")[-1] for part in text.split("<details><summary>")[1:]]
    assert folded[:3] == ["How to read the plot", "Each point in words", "What was measured"]
    assert any(caption.startswith("The straight segments (1") for caption in folded)


def test_the_page_tells_the_articles_of_the_basin() -> None:
    found = synthetic.landscape(bits=(4,), methods=("rtn",), directions=2, windows=4)
    basins = {split: replace(basin, articles=3) for split, basin in found.basins.items()}
    told = " ".join(basin_sentences(replace(found, basins=basins)))
    assert "(2 random directions, 4 windows in 3 articles)" in told
    assert "4 windows, each treated as independent" in " ".join(basin_sentences(found))
    rows = {row[0]: row[1:] for row in basin_table(replace(found, basins=basins)).rows}
    assert set(rows["articles of the windows"]) == {"3"}
