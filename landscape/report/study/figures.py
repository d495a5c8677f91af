"""List all figures of a study, in the order of the page: the paper's, then ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from landscape.report.chart import Chart, Missing
from landscape.report.study.cells import slugs
from landscape.report.study.dampings import dampings
from landscape.report.study.epochs import epochs
from landscape.report.study.fidelity import fidelity
from landscape.report.study.landscapes import planes, radial
from landscape.report.study.matrices import matrices
from landscape.report.study.misalignment import misalignment
from landscape.report.study.objectives import objectives
from landscape.report.study.rates import best_rates, rates
from landscape.report.study.ratios import ratios
from landscape.report.study.tradeoff import tradeoff
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult


@dataclass(frozen=True)
class Group:
    """Figures that belong together."""

    id: str
    title: str
    source: str
    """Figure of the paper; empty for those that it does not have."""
    charts: tuple[Chart | Missing, ...]


def groups(study: StudyResult) -> list[Group]:
    """Return all figures of a study; those that cannot be drawn say why."""
    named = [(model.survey, slug) for model, slug in zip(study.models, slugs(study), strict=True)]
    return [
        Group("objectives", "Local and global objective", "Figure 1, Appendix D", _each(objectives, named)),
        Group("tradeoff", "Loss against size", "Figure 2", (tradeoff(study),)),
        Group("landscapes", "The radial landscape", "Figures 3 and 6", _each(radial, named)),
        Group("radii", "Radius and distance", "", (ratios(study), misalignment(study))),
        Group("planes", "Planes", "", tuple(chart for survey, slug in named for chart in planes(survey, slug))),
        Group("learning-rates", "Learning rates of QAFT", "Figure 4, Appendix A", (rates(study), best_rates(study))),
        Group("epochs", "Epochs of QAFT", "Figure 5, Appendix B", _each(epochs, named)),
        Group("dampings", "Dampings of GPTQ", "Appendix C", _each(dampings, named)),
        Group("matrices", "Matrix by matrix", "", _each(matrices, named)),
        Group("predictions", "Predictions and loss", "", (fidelity(study),)),
    ]


def charts(study: StudyResult) -> Iterator[Chart | Missing]:
    """Yield all figures of a study."""
    for group in groups(study):
        yield from group.charts


def _each(
    make: Callable[[SurveyResult, str], Chart | Missing], named: list[tuple[SurveyResult, str]]
) -> tuple[Chart | Missing, ...]:
    return tuple(make(survey, slug) for survey, slug in named)
