"""The verbs do what the examples in their docstrings say."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

import landscape
from landscape.cli.commands import COMMANDS
from tests.conftest import ROOT

VERBS = ("advise", "dissect", "measure_curvature", "measure_radius", "probe", "quantize", "run_study")


def test_every_command_has_its_verb() -> None:
    verbs = [resolve_name(command.verb) for command in COMMANDS]
    assert sorted(verb.__name__ for verb in verbs) == list(VERBS)
    assert all(verb is getattr(landscape, verb.__name__) for verb in verbs)
    assert set(VERBS) < set(landscape.__all__)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_takes_a_request_and_a_progress_and_returns_a_result(name: str) -> None:
    request, progress = inspect.signature(getattr(landscape, name)).parameters.values()
    assert (request.name, progress.name, progress.default) == ("request", "progress", None)
    (asked,) = (command.request for command in COMMANDS if command.verb.endswith(f":{name}"))
    assert request.annotation == asked.__name__
    assert getattr(landscape, asked.__name__) is asked


@pytest.mark.parametrize("name", VERBS)
def test_the_example_of_a_verb_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path))
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(landscape, name), name, globs={})
    assert example.examples
    printed: list[str] = []
    doctest.DocTestRunner().run(example, out=printed.append)
    assert not printed, "".join(printed)


def test_quantize_is_the_verb_though_its_module_has_the_same_name() -> None:
    """And the package is imported without it, so that signals are handled as early as can be."""
    code = (
        "import sys, landscape\n"
        "assert 'landscape.quantize' not in sys.modules\n"
        "import landscape.quantize\n"
        "assert landscape.quantize is sys.modules['landscape.quantize'].quantize\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
