"""Run a study: a survey for each model, with the paper's claims judged on it.

All points and losses are in the stores of the models, so that a study that is killed goes on where it was. A point or
a model that fails is left out with its reason, and the study goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from landscape.claims.observe import observe
from landscape.claims.point_claims import claims
from landscape.session.progress import Progress, Silent
from landscape.session.session import Session
from landscape.study.cells import CLAIMS, WHOLE, ModelProgress
from landscape.study.request import StudyRequest
from landscape.study.result import FailedCell, ModelStudy, StudyResult
from landscape.survey.probe import SurveyRun
from landscape.survey.request import SurveyRequest
from landscape.survey.result import ShardResult
from landscape.survey.shard import ShardRun
from quant.errors import UsageError


def run_study(request: StudyRequest, progress: Progress | None = None) -> StudyResult:
    """Measure every model of a study, and judge the paper's claims on each.

    Args:
        request: Models, grids, methods and numbers.
        progress: Receives reports.

    Raises:
        UsageError: if the request is for one shard, which ``run_study_shard`` takes, or for a dry run, which
            ``plan_study`` takes.

    Example:
        >>> from dataclasses import replace
        >>> from landscape import PRESETS, StudyRequest, run_study
        >>> few = {"train_windows": 2, "validation_windows": 2, "test_windows": 2, "seq_len": 32, "alphas": 3}
        >>> small = replace(PRESETS["quick"], **few)
        >>> study = run_study(StudyRequest(models=("opt-nano",), bits=(2,), methods=("rtn",), preset=small))
        >>> [point.name for model in study.models for point in model.survey.points]
        ['rtn-int2-exact']
    """
    if request.shard is not None or request.dry_run:
        raise UsageError(
            "expected a whole study in run_study, got a shard or a dry run; see run_study_shard, plan_study"
        )
    started = time.monotonic()
    models, failures = [], []
    for survey, cells in _models(request, progress or Silent()):
        try:
            models.append(_measure(survey, cells))
        except Exception as error:
            cells.fail(WHOLE, error)
        failures += cells.failures
    return StudyResult(
        name=request.title,
        models=tuple(models),
        failures=tuple(failures),
        command="",
        seconds=time.monotonic() - started,
        settings=settings(request),
    )


def run_study_shard(
    request: StudyRequest, progress: Progress | None = None
) -> tuple[tuple[ShardResult, ...], tuple[FailedCell, ...]]:
    """Evaluate one shard of every model's survey; ``run_study`` then finds its losses and points in the stores.

    Args:
        request: Models, grids, methods and numbers, the same for all shards, and the shard.
        progress: Receives reports.

    Returns:
        One result per model, and the cells that failed.

    Raises:
        UsageError: if the request names no shard.
    """
    shard = request.shard
    if shard is None:
        raise UsageError("expected a shard such as WorkShard(1, 8) in run_study_shard, got none; use run_study")
    done, failures = [], []
    for survey, cells in _models(request, progress or Silent()):
        try:
            with Session.open(survey, cells) as session:
                done.append(ShardRun(survey, session, shard, cells).run_shard())
        except Exception as error:
            cells.fail(WHOLE, error)
        failures += cells.failures
    return tuple(done), tuple(failures)


def settings(request: StudyRequest) -> dict[str, object]:
    """Return the settings that the models of a study share."""
    return {
        "preset": request.preset.name,
        "bits": ", ".join(map(str, request.bits)),
        "methods": ", ".join(request.methods),
        "scales": ", ".join(request.scales),
        "granularities": ", ".join(request.granularities),
        "directions": request.directions,
        "seed": request.seed,
    }


def _measure(survey: SurveyRequest, cells: ModelProgress) -> ModelStudy:
    with Session.open(survey, cells) as session:
        run = SurveyRun(survey, session, cells)
        found = run.run()
        try:
            judged = claims(observe(run, found))
        except Exception as error:  # the survey is whole, and took hours: it stays
            cells.fail(CLAIMS, error)
            judged = ()
        return ModelStudy(found, judged, command="")


def _models(request: StudyRequest, progress: Progress) -> Iterator[tuple[SurveyRequest, ModelProgress]]:
    """Yield the survey of each model, with the receiver of its reports."""
    for place, survey in enumerate(request.surveys, start=1):
        name = f"{place}/{len(request.models)}"
        yield survey, ModelProgress(progress, survey.model, name, len(survey.specs))
