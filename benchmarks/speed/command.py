"""Measure what a user waits for beside the work: the help of the command line, and the size of a page."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.speed.models import Options
from benchmarks.speed.turns import in_turns, ratio
from landscape import PRESETS, SurveyRequest, probe, write_page

HELP = "import sys; sys.argv = ['landscape', '--help']; from landscape.cli import main; main()"


def python(code: str) -> None:
    """Run code in an interpreter of its own."""
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


def bench_help(options: Options) -> Iterator[Row]:
    """Compare `landscape --help` with an interpreter that does nothing."""
    seconds = in_turns({"ours": lambda: python(HELP), "theirs": lambda: python("pass")}, options.rounds)
    yield ratio("help/python", seconds["ours"], seconds["theirs"])


def bench_page(options: Options) -> Iterator[Row]:
    """Measure the size of the page of a small survey of the built-in model, most of which is the plotting library."""
    preset = replace(PRESETS["quick"], train_windows=1, validation_windows=2, test_windows=2, seq_len=64)
    with tempfile.TemporaryDirectory() as folder:
        request = SurveyRequest(
            "opt-nano", bits=(4,), directions=2, methods=("rtn",), preset=preset, store=Path(folder) / "store"
        )
        page = Path(folder) / "page.html"
        write_page(probe(request), page)
        size = page.stat().st_size
    yield {"key": "page/size", "value": size / 1e6, "unit": "MB"}
