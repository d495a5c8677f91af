"""One browser for all tests here, and the pages that they look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from landscape.anatomy.result import AnatomyResult
from landscape.report.anatomy.page import write_anatomy_page
from landscape.report.study.page import write_study_page
from landscape.report.survey.page import write_page
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult
from tests import synthetic
from tests.landscape.report.browser.pages import find_browser
from tests.landscape.report.study.study_sample import study


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    executable = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:  # closed after this folder: its event loop would be in the way of other tests
        started = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def found() -> SurveyResult:
    """Three bit widths, a point of another tool, rays above chance, and one plane."""
    whole = synthetic.landscape(bits=(8, 4, 2), external=("q4_k_m",), directions=4, plane=True)
    return replace(whole, planes=whole.planes[-1:])


@pytest.fixture(scope="session")
def survey_file(found: SurveyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browser") / "survey.html"
    write_page(found, path)
    return path


@pytest.fixture(scope="session")
def studied() -> StudyResult:
    """Two models at five bit widths, planes at the two lowest of the first."""
    return study()


@pytest.fixture(scope="session")
def study_file(studied: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browser") / "study.html"
    write_study_page(studied, path)
    return path


@pytest.fixture(scope="session")
def anatomy_file(dissected: AnatomyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browser") / "anatomy.html"
    write_anatomy_page(dissected, path)
    return path
