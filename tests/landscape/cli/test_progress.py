"""The progress of a run on stderr."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from landscape.cli import progress
from landscape.cli.progress import ConsoleProgress, WorkLines
from landscape.session.forecast import Forecast
from tests.landscape.cli.asking import Run

FORECAST = Forecast(40, 0, (), 40.0, 80.0, 0.0, 10**9, 10**6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The present time, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_half_minute_has_pace_and_rest(clock: list[float]) -> None:
    lines = WorkLines()
    lines.begin(400.0)
    lines.stage = "probing"
    clock[0] += 20
    assert lines.after(50.0) is None
    clock[0] += 20
    assert lines.after(50.0) == "probing: 100 of 400 forward passes, 2.5 a second, about 2 min left"
    clock[0] += 20
    assert lines.after(50.0) is None
    clock[0] += 20
    assert lines.after(250.0) == "probing: 400 of 400 forward passes, 5.0 a second, about 0 s left"
    clock[0] += 40
    assert lines.after(8.0) == "probing: 408 of 400 forward passes, 3.4 a second, more than was forecast"


def test_without_a_forecast_there_is_the_pace_alone(clock: list[float]) -> None:
    lines = WorkLines()
    clock[0] += 100
    assert lines.after(0.0) is None
    assert lines.after(12_480.0) == "starting: 12,480 forward passes, 125 a second"


def test_a_second_forecast_counts_from_nothing(clock: list[float]) -> None:
    lines = WorkLines()
    for total in (400.0, 100.0):
        lines.begin(total)
        clock[0] += 40
        assert lines.after(40.0) == f"starting: 40 of {total:.0f} forward passes, 1.0 a second, " + (
            "about 6 min left" if total == 400 else "about 60 s left"
        )


def test_where_there_is_no_terminal_the_lines_are_printed(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with ConsoleProgress() as shown:
        shown.forecast(FORECAST)
        shown.stage(f"{'a long name ' * 9}(1/1): probing")
        shown.advance(10.0)
        shown.note("a note")
        shown.warn("a warning")
    said = capsys.readouterr().err
    assert "evaluate about 40 probes" in said
    assert re.search(
        r"^a long name .*: probing: 10 of 40 forward passes, .* a second, about .* left$", said, re.MULTILINE
    )
    assert "a note" in said


def test_quiet_leaves_warnings_alone(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with ConsoleProgress(quiet=True) as shown:
        shown.forecast(FORECAST)
        shown.stage("probing")
        shown.advance(10.0)
        shown.note("a note")
        shown.warn("a warning")
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "landscape: warning: a warning\n")


def test_a_long_stage_leaves_room_for_the_bar_and_its_times(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with ConsoleProgress() as shown:
        assert shown.console.is_terminal
        shown.forecast(FORECAST)
        shown.stage("opt-nano (1/1): measuring layer-wise errors on the train windows")
        shown.advance(10.0)
        shown._bar.refresh()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert re.search(r"opt-nano \(1/1\): measuring la.*… .*25 % 0:00:0\d left [-0]:", drawn)


def test_the_first_line_needs_no_torch() -> None:
    code = "import sys, landscape.cli.progress as p; p.ConsoleProgress().stage('x'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_every_stage_leaves_its_time_where_that_is_asked_for(
    clock: list[float], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConsoleProgress(verbose=True) as shown:
        for name, seconds in (("loading the model", 4), ("probing", 60), ("probing", 65), ("drawing", 0)):
            shown.stage(name)
            clock[0] += seconds
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if " took " in line] == [
        "loading the model took 4 s", "probing took 2 min", "drawing took 0 s",
    ]  # fmt: skip


def test_quiet_and_verbose_do_not_go_together(run: Run) -> None:
    code, _, err = run("radius", "--quiet", "--verbose")
    assert code == 2
    assert "expected --quiet or --verbose, got both" in err
