"""Turn a landscape and the verdicts on it into rows, and the rows back into what the tables read.

The first row of a file describes the survey, then comes one for each point and one for each claim; ``kind`` says which.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from landscape.claims.claim import Claim
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.survey.result import SurveyResult

Model = dict[str, Any]
"""The survey of a model, with its ``points`` and ``claims`` as lists."""


def rows(found: SurveyResult, measured: Sequence[Claim]) -> Iterator[Row]:
    """Yield all numbers of a model, JSON-able: a bound that the data cannot give is null."""
    basin = found.basin
    yield {
        "kind": "survey",
        "model": found.subject.model,
        "subject": asdict(found.subject) | {"data": Path(found.subject.data).name},  # not where a folder lay
        "settings": dict(found.run.settings),
        "basin": {"R": _edge(basin.radius), "r10": _edge(basin.r10), "r90": _edge(basin.r90),
                  "directions": basin.directions, "windows": basin.windows, "monotone": basin.monotone,
                  "non_finite": basin.non_finite},
        "center": dict(found.center),
    }  # fmt: skip
    for point in found.points:
        nll = {split: _number(value) for split, value in point.nll.items()}
        row = {"name": point.name, "distance": point.distance, "rho": _estimate(point.rho)}
        yield {"kind": "point"} | row | {"location": point.location, "loss": point.loss, "nll": nll}
    for claim in measured:
        yield {"kind": "claim"} | asdict(claim) | {"estimate": _estimate(claim.estimate)}


def model(rows: Iterable[Row]) -> Model:
    """Gather the rows of a file into one survey.

    Raises:
        ValueError: the file has not exactly one row of the survey.
    """
    kinds: dict[str, list[Row]] = {"survey": [], "point": [], "claim": []}
    for row in rows:
        kinds[row["kind"]].append({key: value for key, value in row.items() if key != "kind"})
    if len(kinds["survey"]) != 1:
        raise ValueError(f"expected one row of kind survey, got {len(kinds['survey'])}; measure the model again")
    return kinds["survey"][0] | {"points": kinds["point"], "claims": kinds["claim"]}


def _edge(crossing: Crossing) -> dict[str, float | None]:
    """Return a radius with its interval; a censored one has a lower bound only."""
    return {"value": crossing.value, "low": _number(crossing.low), "high": _number(crossing.high)}


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else {key: _number(value) for key, value in asdict(estimate).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
