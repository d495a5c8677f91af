from __future__ import annotations

import os
import re
import shutil
import subprocess
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

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


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
    assert len(parsed.tables) == 7
    for point in found.points:
        assert f"{point.name}: {point.location}, {point.loss}" in parsed.text


def test_what_is_too_wide_for_the_screen_scrolls_and_its_caption_does_not(text: str, parsed: Page) -> None:
    assert (
        text.index('<div class="scroll" role="group"') < text.index('<div class="drawing">') < text.index('<div id="r')
    )
    style = dict(re.findall(r"^\.?(\w+) \{ (.*?) \}", parsed.style, re.MULTILINE))
    assert "min-width: 880px" in style["drawing"]
    assert "overflow-x: auto" in style["scroll"]
    assert "container-type: inline-size" in style["scroll"]
    assert style["caption"].endswith("position: sticky; left: 0; max-width: 100cqw;")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium to draw the page with")
def test_a_browser_without_a_network_draws_it(found: SurveyResult, text: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--window-size=1400,1000", "--virtual-time-budget=3000",
        "--dump-dom",
    ]  # fmt: skip
    command = [
        str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
        file.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    drawn = dom[dom.index("</style>") :]
    assert len(re.findall(r'<g class="trace scatter', drawn)) > 2 * (len(found.rays) + len(found.points))
    assert len(re.findall(r'class="js-line"', drawn)) > 2 * len(found.rays)
    assert len(re.findall(r'class="updatemenu-button"', drawn)) == 3 + 4


def test_the_page_tells_the_articles_of_the_basin() -> None:
    found = synthetic.landscape(bits=(4,), methods=("rtn",), directions=2, windows=4)
    basins = {split: replace(basin, articles=3) for split, basin in found.basins.items()}
    told = " ".join(basin_sentences(replace(found, basins=basins)))
    assert "(2 random directions, 4 windows in 3 articles)" in told
    assert "4 windows, each treated as independent" in " ".join(basin_sentences(found))
    rows = {row[0]: row[1:] for row in basin_table(replace(found, basins=basins)).rows}
    assert set(rows["articles of the windows"]) == {"3"}
