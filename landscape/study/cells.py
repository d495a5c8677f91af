"""Follow a study cell by cell: which points of which model are made, and which failed."""

from __future__ import annotations

from landscape.formatting import duration
from landscape.session.forecast import Forecast
from landscape.session.point_specs import MadeSpec
from landscape.session.progress import Progress
from landscape.study.result import FailedCell
from quant.errors import ToolkitError, first_line

WHOLE = "all"
"""Name of the cell of a model that failed as a whole."""
CLAIMS = "claims"
"""Name of the cell of a model on which the paper's claims could not be judged."""


def reason(error: Exception) -> str:
    """Describe an error in one line; one that is no error of the user's is called unexpected, with its kind."""
    if isinstance(error, ToolkitError):
        return " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {first_line(error)}"


class ModelProgress:
    """The cells of one model of a study: passes reports on, with the model's name, and keeps what failed.

    Implements ``landscape.session.progress.Progress`` and ``landscape.survey.watcher.Watcher``.
    """

    def __init__(self, progress: Progress, model: str, place: str, cells: int) -> None:
        """Begin a model.

        Args:
            progress: Receives the reports.
            model: Name of the model.
            place: Its place in the study, such as ``2/3``.
            cells: Number of its points.
        """
        self._progress, self._model, self._place, self._cells = progress, model, place, cells
        self._made = 0
        self.failures: list[FailedCell] = []
        """Cells that failed so far."""

    def made(self, spec: MadeSpec, seconds: float) -> None:
        """Report a point that was made."""
        self._made += 1
        self.note(f"made {spec.name} in {duration(seconds)}")

    def failed(self, spec: MadeSpec, error: Exception) -> None:
        """Keep a point that could not be made, and why."""
        self.fail(spec.name, error)

    def fail(self, cell: str, error: Exception) -> None:
        """Keep a cell that failed, and report it as a warning."""
        failure = FailedCell(self._model, cell, reason(error))
        self.failures.append(failure)
        what = "it" if cell == WHOLE else cell
        self.warn(f"{what} is left out, since it failed: {failure.reason}")

    def forecast(self, forecast: Forecast) -> None:
        """Report the cost of the model, and how many of its points the store has."""
        left = len(forecast.points)
        self.note(f"{self._cells - left} of {self._cells} points are in the store")
        self._progress.forecast(forecast)

    def stage(self, name: str) -> None:
        """Name the stage that begins."""
        self._progress.stage(self._named(name))

    def advance(self, work: float) -> None:
        """Pass on work that is done."""
        self._progress.advance(work)

    def note(self, message: str) -> None:
        """Report a fact."""
        self._progress.note(self._named(message))

    def warn(self, message: str) -> None:
        """Report a problem."""
        self._progress.warn(self._named(message))

    def _named(self, text: str) -> str:
        return f"{self._model} ({self._place}): {text}"
