"""Scripts, rows and pages are where the documentation says; every page has a folder and targets in the Makefile."""

import importlib
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.parent.name for path in (ROOT / "benchmarks").glob("*/README.md"))
PATHS = re.compile(r"(?<![\w/])((?:benchmarks|landscape|tests|quant)/[\w/-]+\.(?:py|md|jsonl))\b")
RUNS = {"speed": {"now", "before", "peers"}, "advice": {"opt-nano"}, "models": {"models"}}
"""Rows that are not those of two models."""
SCRIPTS = {"models": "train"}  # which measures what it has trained
MARKDOWN = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *map(ROOT.joinpath, ("README.md", "CONTRIBUTING.md", "quant/README.md")),
        *ROOT.glob("landscape/*.md"),
        *ROOT.glob("benchmarks/*/*.md"),
    )
)


def test_every_page_has_a_script_that_measures_one_that_makes_tables_and_rows() -> None:
    assert PAGES == ["advice", "claims", "methods", "models", "radius", "speed", "study"]
    for page in PAGES:
        assert callable(importlib.import_module(f"benchmarks.{page}.{SCRIPTS.get(page, 'measure')}").main)
        assert importlib.import_module(f"benchmarks.{page}.table").PAGE.path == ROOT / "benchmarks" / page / "README.md"
        runs = RUNS.get(page, {"opt-nano", "smollm2-135m"})
        assert {path.stem for path in (ROOT / "benchmarks" / page).glob("*.jsonl")} >= runs


def test_the_makefile_has_the_pages() -> None:
    listed = re.search(r"^PAGES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed is not None
    assert sorted(listed[1].split()) == PAGES


@pytest.mark.parametrize("document", [*MARKDOWN, "Makefile"])
def test_modules_to_run_exist(document: str) -> None:
    for module in re.findall(r"python -m (benchmarks[\w.]*\w)", (ROOT / document).read_text()):
        if module != "benchmarks":  # of the Makefile, which fills in the rest
            assert find_spec(module), module


@pytest.mark.parametrize("document", MARKDOWN)
def test_links_lead_to_files(document: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / document).read_text()):
        if not link.startswith("http"):
            assert (ROOT / document).parent.joinpath(link).exists(), link


def test_files_that_are_named_exist() -> None:
    """Paths in prose, docstrings and messages."""
    code = [path for folder in ("benchmarks", "landscape", "quant") for path in (ROOT / folder).rglob("*.py")]
    for document in (*map(ROOT.joinpath, MARKDOWN), *code):
        for path in PATHS.findall(document.read_text()):
            if Path(path).name != "x.py":  # a file to be added
                assert (ROOT / path).exists(), f"{document}: {path}"
