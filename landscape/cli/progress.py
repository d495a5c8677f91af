"""Show the progress of a run on stderr: a bar on a terminal, a line now and then in a file or pipe.

This module is there before torch is: the first line comes while that is imported.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from landscape.cli.plain_console import PlainConsole
from landscape.formatting import duration, number
from quant.interruption import check
from quant.printable import printable

if TYPE_CHECKING:
    from landscape.session.forecast import Forecast

EVERY = 30.0
"""Least seconds between two lines of progress where there is no terminal."""
BAR, BESIDE = 20, 28
"""Columns of the bar, and of the numbers beside it."""


class ConsoleProgress:
    """A bar that follows a run, or lines that say the same."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        """Show nothing yet.

        Args:
            quiet: Whether only warnings are shown.
            verbose: Whether each stage leaves a line with the time that it took.
        """
        self.console = PlainConsole(stderr=True)
        self._quiet, self._timed = quiet, StageTimes() if verbose else None
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self.console,
            transient=True,
            disable=quiet,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._lines = None if quiet or self.console.is_interactive else WorkLines()

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timed is not None and (line := self._timed.turn()):
            self._print(line)
        if self._bar.live.is_started:  # else it would print an empty line before the error of a refused request
            self._bar.stop()

    def forecast(self, forecast: Forecast) -> None:
        """Print what will be done, and what it will cost."""
        from landscape.report.work import forecast_lines

        for line in forecast_lines(forecast):
            self._print(line)
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task("starting", total=forecast.work or None)
        if self._lines is not None:
            self._lines.begin(forecast.work)

    def stage(self, name: str) -> None:
        """Name the work that begins; the bar appears with the first. An interruption that was lost ends the run."""
        check()
        if self._timed is not None and (line := self._timed.turn(name)):
            self._print(line)
        if self._lines is not None:
            self._print(name)
            self._lines.stage = name
            return
        self._bar.start()
        room = max(self.console.width - BAR - BESIDE, 10)  # without them the rest of the line would give way
        shown = printable(name)
        self._bar.update(self._task, description=shown if len(shown) <= room else f"{shown[: room - 1]}…")

    def advance(self, work: float) -> None:
        """Move the bar. An interruption that was lost ends the run."""
        check()
        self._bar.advance(self._task, work)
        if self._lines is not None and (line := self._lines.after(work)):
            self._print(line)

    def note(self, message: str) -> None:
        """Print a line."""
        if not self._quiet:
            self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.console.print(f"landscape: warning: {message}", markup=False, highlight=False)

    def _print(self, line: str) -> None:
        if not self._quiet:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class StageTimes:
    """Times of the stages, one after the other."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._since = 0.0

    def turn(self, stage: str | None = None) -> str | None:
        """Begin a stage, and return a line with the time of the one before; none where it is the same one.

        Args:
            stage: Its name; None at the end of the run.
        """
        if stage == self._stage:
            return None
        ended, since, now = self._stage, self._since, time.monotonic()
        self._stage, self._since = stage, now
        return None if ended is None else f"{ended} took {duration(now - since)}"


class WorkLines:
    """Lines on the work done so far, at most one every ``EVERY`` seconds."""

    def __init__(self) -> None:
        self.stage = "starting"
        """Name of the present stage."""
        self.begin(0.0)

    def begin(self, work: float) -> None:
        """Begin to count.

        Args:
            work: The work ahead, in forward passes of one window; 0 if it is not known.
        """
        self._total, self._done = work, 0.0
        self._started = self._said = time.monotonic()

    def after(self, work: float) -> str | None:
        """Count work that was done, and return a line if it is time for one."""
        self._done += work
        now = time.monotonic()
        if now - self._said < EVERY or not self._done:
            return None
        self._said = now
        rate = self._done / max(now - self._started, 1e-9)
        of_all = f" of {self._total:,.0f}" if self._total else ""
        pace = f"{self.stage}: {self._done:,.0f}{of_all} forward passes, {number(rate, 2)} a second"
        if not self._total:
            return pace
        left = (self._total - self._done) / rate
        return f"{pace}, about {duration(left)} left" if left >= 0 else f"{pace}, more than was forecast"
