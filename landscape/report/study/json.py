"""Write a study as one JSON object: documented, versioned, and strict (no NaN, no infinity).

    schema_version  as for a survey
    name            of the study
    models          a survey each, as ``landscape probe --json`` writes it (``landscape.report.survey.json``), and
                    claims: [{number, case, text, source, measure, estimate: {value, low, high}, threshold, verdict,
                    note, aside}]    verdict is holds, fails or open; estimate is null where there is none
    failures        [{model, cell, reason}]      cell is the name of a point, or ``all``
    settings        those that the models share
    seconds, page

A dry run (``--dry-run``) is {schema_version, name, models: [{model, cells: [{name, stored, seconds, memory, disk}],
forecast: {probes, cached, seconds, memory, disk}}], failures, seconds, memory, disk}: seconds of wall time and bytes.
A shard is {schema_version, shards: [as ``landscape probe --shard`` writes it], failures}.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.claims.claim import Claim
from landscape.report.survey.json import shard_json, to_json
from landscape.report.values import JSON_VERSION, estimate_json
from landscape.study.result import FailedCell, StudyResult
from landscape.survey.result import ShardResult

if TYPE_CHECKING:  # the planning of a study loads models
    from landscape.study.plan import ModelPlan, StudyPlan


def study_json(study: StudyResult, page: Path | None = None) -> dict[str, Any]:
    """Return the JSON object of a study, ready for ``json.dumps(…, allow_nan=False)``."""
    return {
        "schema_version": JSON_VERSION,
        "name": study.name,
        "models": [to_json(model.survey) | {"claims": [*map(_claim, model.claims)]} for model in study.models],
        "failures": _failures(study.failures),
        "settings": dict(study.settings),
        "seconds": round(study.seconds, 3),
        "page": None if page is None else str(page),
    }


def shards_json(done: Iterable[ShardResult], failures: Iterable[FailedCell]) -> dict[str, Any]:
    """Return the JSON object of one shard of every model."""
    return {
        "schema_version": JSON_VERSION,
        "shards": [shard_json(each) for each in done],
        "failures": _failures(failures),
    }


def plan_json(plan: StudyPlan) -> dict[str, Any]:
    """Return the JSON object of a dry run."""
    return {
        "schema_version": JSON_VERSION,
        "name": plan.name,
        "models": [_model(model) for model in plan.models],
        "failures": _failures(plan.failures),
        "seconds": round(plan.seconds, 3),
        "memory": plan.memory,
        "disk": plan.disk,
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return asdict(claim) | {"estimate": estimate_json(claim.estimate)}


def _failures(failures: Iterable[FailedCell]) -> list[dict[str, Any]]:
    return [asdict(failure) for failure in failures]


def _model(plan: ModelPlan) -> dict[str, Any]:
    forecast = {key: getattr(plan.forecast, key) for key in ("probes", "cached", "seconds", "memory", "disk")}
    return {"model": plan.model, "cells": [asdict(cell) for cell in plan.cells], "forecast": forecast}
