"""Sum up a study for the terminal: per model, R and the perplexity of every method on every grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from landscape.claims.claim import Claim
from landscape.estimators.perplexity import perplexity
from landscape.formatting import data_size, duration, equals, number
from landscape.report.table import Table
from landscape.session.point_methods import METHODS
from landscape.session.request import TEST_SPLIT
from landscape.study.result import FailedCell, ModelStudy
from landscape.survey.result import PointResult, SurveyResult
from quant.scheme import grid_label

if TYPE_CHECKING:  # the planning of a study loads models
    from landscape.study.plan import CellPlan, ModelPlan, StudyPlan


def model_lines(model: ModelStudy) -> Iterator[str]:
    """Report a model, its radius, and how many of the paper's claims hold."""
    survey = model.survey
    subject, basin = survey.subject, survey.basin
    nll = survey.center[TEST_SPLIT]
    yield (
        f"{subject.model} on {subject.data}: {equals('R', basin.radius, basin)}, ‖w‖ = {number(subject.norm, 4)}; "
        f"perplexity of w on test {_perplexity(nll)}"
    )
    yield claims_line(model.claims)


def claims_line(claims: Iterable[Claim]) -> str:
    """Count the verdicts on the paper's claims; those beside the claims do not count."""
    counted = Counter(claim.verdict for claim in claims if not claim.aside)
    return f"the paper's claims: {counted['holds']} hold, {counted['fails']} fail, {counted['open']} are open"


def perplexity_table(survey: SurveyResult) -> Table:
    """Return the test perplexity of every method on every grid, one row a grid."""
    by_grid: dict[str, dict[str, PointResult]] = {}
    free: dict[str, PointResult] = {}
    for point in survey.points:
        if point.grid is None:
            free[point.name] = point
        else:
            by_grid.setdefault(grid_label(point.bits, point.grid), {})[point.method] = point
    methods = [name for name in METHODS if any(name in points for points in by_grid.values())]
    rows = [
        (grid, *(_cell(points.get(name)) for name in methods), _distance(points, survey))
        for grid, points in by_grid.items()
    ]
    rows += [
        (name, *(_cell(point) for _ in methods[:1]), *("" for _ in methods[1:]), "") for name, point in free.items()
    ]
    header = ("perplexity on test", *(METHODS[name].label for name in methods), "ρ of RTN")
    return Table("Perplexity on test", header, tuple(rows))


def failure_lines(failures: Iterable[FailedCell]) -> Iterator[str]:
    """Name each cell that failed, and why."""
    for failure in failures:
        what = failure.model if failure.cell == "all" else f"{failure.model} {failure.cell}"
        yield f"failed: {what}: {failure.reason}"


def plan_lines(plan: StudyPlan) -> Iterator[str]:
    """Report the cost of a whole study."""
    if not plan.seconds:
        if not plan.failures:
            yield "nothing to do: all points and probes are in the cache"
        return
    yield (
        f"in all about {duration(plan.seconds)} in one process, {data_size(plan.memory)} of memory, "
        f"{data_size(plan.disk)} of disk"
    )


def plan_table(plan: ModelPlan) -> Table:
    """Return one row per cell of a model, and one for its probes."""
    making = sum(cell.seconds for cell in plan.cells)
    forecast = plan.forecast
    probes = ("probes", f"{forecast.probes} to evaluate, {forecast.cached} stored")
    rows = [*map(_planned, plan.cells), (*probes, duration(max(0.0, forecast.seconds - making)), "", "")]
    header = (plan.model, "state", "about", "memory", "disk")
    return Table("Cells of the study", header, tuple(rows), frozenset({0, 1}))


def _planned(cell: CellPlan) -> tuple[str, ...]:
    if cell.stored:
        return (cell.name, "stored", "", "", "")
    return (cell.name, "to make", duration(cell.seconds), data_size(cell.memory), data_size(cell.disk))


def _cell(point: PointResult | None) -> str:
    return "" if point is None else _perplexity(point.nll[TEST_SPLIT])


def _distance(points: dict[str, PointResult], survey: SurveyResult) -> str:
    rtn = points.get("rtn")
    return "" if rtn is None or rtn.rho is None else f"{rtn.rho.value:.2f}"


def _perplexity(nll: float) -> str:
    """Write exp(NLL); beyond what a float holds, as ∞."""
    return number(perplexity(nll), 4)
