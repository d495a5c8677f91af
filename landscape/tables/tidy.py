"""Turn a survey or a study into tidy tables: one row an observation, one column a variable.

    tables = tidy(probe(SurveyRequest("opt-nano", bits=(4, 2))))
    pandas.DataFrame(tables["points"])          # or polars.DataFrame: rows are dataclasses

An identical run gives identical tables: seconds, folders and ages are not in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from landscape.claims.claim import Claim
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult
from landscape.tables.column import Row
from landscape.tables.findings import (
    ClaimRow,
    FailureRow,
    MisalignmentRow,
    claim_rows,
    failure_rows,
    misalignment_rows,
)
from landscape.tables.lines import (
    RayRow,
    SegmentRow,
    SegmentSummaryRow,
    ray_rows,
    segment_rows,
    segment_summary_rows,
)
from landscape.tables.making import (
    DampingRow,
    EpochRow,
    LayerErrorRow,
    LayerRow,
    RateRow,
    damping_rows,
    epoch_rows,
    layer_error_rows,
    layer_rows,
    rate_rows,
)
from landscape.tables.models import ModelRow, SplitRow, model_rows, split_rows
from landscape.tables.planes import PlanePointRow, PlaneRow, plane_point_rows, plane_rows
from landscape.tables.points import PointRow, point_rows

Tables = Mapping[str, Sequence[Row]]
"""Rows by the name of their table."""

_OF_A_SURVEY: dict[str, tuple[type[Row], Callable[[SurveyResult], Iterable[Row]]]] = {
    "models": (ModelRow, model_rows),
    "splits": (SplitRow, split_rows),
    "points": (PointRow, point_rows),
    "misalignments": (MisalignmentRow, misalignment_rows),
    "rays": (RayRow, ray_rows),
    "segments": (SegmentRow, segment_rows),
    "segment_summary": (SegmentSummaryRow, segment_summary_rows),
    "planes": (PlaneRow, plane_rows),
    "plane_points": (PlanePointRow, plane_point_rows),
    "layers": (LayerRow, layer_rows),
    "layer_errors": (LayerErrorRow, layer_error_rows),
    "dampings": (DampingRow, damping_rows),
    "epochs": (EpochRow, epoch_rows),
    "rates": (RateRow, rate_rows),
}
TABLES: dict[str, type[Row]] = {name: row for name, (row, _) in _OF_A_SURVEY.items()} | {
    "claims": ClaimRow,
    "failures": FailureRow,
}
"""The class of the rows of every table, by its name and in their order."""


def tidy(found: SurveyResult | StudyResult) -> dict[str, list[Row]]:
    """Return all tables of a result; a table without an observation is there, and empty."""
    if isinstance(found, SurveyResult):
        return survey_tables(found)
    tables = [survey_tables(each.survey, each.claims) for each in found.models]
    whole = {name: [row for each in tables for row in each[name]] for name in TABLES}
    return whole | {"failures": list(failure_rows(found.failures))}


def survey_tables(found: SurveyResult, claims: tuple[Claim, ...] = ()) -> dict[str, list[Row]]:
    """Return all tables of one model.

    Args:
        found: Its landscape.
        claims: The paper's claims on it, in a study.
    """
    tables: dict[str, list[Row]] = {name: list(make(found)) for name, (_, make) in _OF_A_SURVEY.items()}
    return tables | {"claims": list(claim_rows(found.subject.model, claims)), "failures": []}
