"""Plan a study: forecast the cost of each cell, before anything is evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.formatting import plural
from landscape.session.forecast import Forecast, disk_growth, search_seconds
from landscape.session.memory import making_need, peak
from landscape.session.point_methods import find_method
from landscape.session.point_specs import MadeSpec
from landscape.session.progress import Progress, Silent
from landscape.session.session import Session
from landscape.study.cells import WHOLE, reason
from landscape.study.request import StudyRequest
from landscape.study.result import FailedCell
from landscape.survey.probe import SurveyRun
from landscape.survey.request import SurveyRequest


@dataclass(frozen=True)
class CellPlan:
    """One point of a study, and what it takes to make it."""

    name: str
    """Name of the point."""
    stored: bool
    """Whether the store has it."""
    seconds: float
    """Wall time of making it, the search for its scales included; 0 if it is stored."""
    memory: int
    """Peak memory of the process on the host while it is made, in bytes; 0 if it is stored."""
    disk: int
    """Growth of the store, in bytes; 0 if it is stored."""


@dataclass(frozen=True)
class ModelPlan:
    """One model of a study: its points, and the cost of all that is left."""

    model: str
    """Name that the user gave."""
    cells: tuple[CellPlan, ...]
    """Its points, in the order of the survey."""
    forecast: Forecast
    """The whole that is left: points and probes."""


@dataclass(frozen=True)
class StudyPlan:
    """The cost of a study."""

    name: str
    """Name of the study."""
    models: tuple[ModelPlan, ...]
    """The models, in the order of the request."""
    failures: tuple[FailedCell, ...]
    """Models that cannot be planned, with the reasons."""

    @property
    def seconds(self) -> float:
        """Wall time of all that is left."""
        return sum(model.forecast.seconds for model in self.models)

    @property
    def memory(self) -> int:
        """Peak memory of the process, in bytes."""
        return max((model.forecast.memory for model in self.models), default=0)

    @property
    def disk(self) -> int:
        """Growth of the stores, in bytes."""
        return sum(model.forecast.disk for model in self.models)


def plan_study(request: StudyRequest, progress: Progress | None = None) -> StudyPlan:
    """Forecast every cell of a study; two forward passes of each model are timed, nothing else is evaluated.

    Args:
        request: Models, grids, methods and numbers.
        progress: Receives reports.
    """
    progress = progress or Silent()
    planned, failures = [], []
    for survey in request.surveys:
        try:
            planned.append(_planned(survey, progress))
        except Exception as error:  # the next model may well be there; the plan says why this one is not
            failures.append(FailedCell(survey.model, WHOLE, reason(error)))
    return StudyPlan(request.title, tuple(planned), tuple(failures))


def _planned(survey: SurveyRequest, progress: Progress) -> ModelPlan:
    with Session.open(survey, progress) as session:
        run = SurveyRun(survey, session)
        forecast = run.forecast()
        missing = run.points.missing
        progress.note(f"{survey.model}: {plural(len(missing), 'point')} of {len(run.points.specs)} to make")
        pace = session.pace() if missing else 0.0
        first = {spec.scheme: spec for spec in reversed(missing)}  # the first point on a grid searches for its scales
        cells = tuple(
            _cell(session, spec, pace, searches=first[spec.scheme] == spec)
            if spec in missing
            else CellPlan(spec.name, True, 0.0, 0, 0)
            for spec in run.points.specs
        )
        return ModelPlan(survey.model, cells, forecast)


def _cell(session: Session, spec: MadeSpec, pace: float, searches: bool) -> CellPlan:
    subject = session.subject
    searching = search_seconds(subject.space, session.maker.searched([spec])) if searches else 0.0
    memory, _ = peak(making_need(subject, spec, len(subject.calibration.windows)), subject.checkpoint)
    disk = disk_growth(subject.space.dimension, [find_method(spec.method).on_grid], 0)
    return CellPlan(spec.name, False, session.point_work(spec) * pace + searching, memory, disk)
