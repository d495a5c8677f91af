"""Float formats on the page of a study: by their own names, and never as integers."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

from landscape.report.chart import Chart
from landscape.report.study.cells import cell_name, cells, width_names
from landscape.report.study.figures import charts
from landscape.report.study.misalignment import places
from landscape.report.study.page import study_page
from landscape.report.study.tables import perplexity_tables
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult
from tests.landscape.report.study.study_sample import study


def renamed(survey: SurveyResult) -> SurveyResult:
    """int4 as NVFP4, with all that hangs on its name."""
    points = tuple(
        replace(p, grid="nvfp4", name=f"{p.method}-nvfp4") if p.bits == 4 and p.grid == "exact" else p
        for p in survey.points
    )
    names = {old.name: new.name for old, new in zip(survey.points, points, strict=True)}
    segments = tuple(replace(s, a=names.get(s.a, s.a), b=names.get(s.b, s.b)) for s in survey.segments)
    found = tuple(replace(m, grid="nvfp4" if m.grid == "int4-exact" else m.grid) for m in survey.misalignments)
    planes = tuple(plane for plane in survey.planes if plane.bits != 4)
    return replace(survey, points=points, segments=segments, misalignments=found, planes=planes)


@cache
def floats() -> StudyResult:
    found = study(failures=())
    models = tuple(replace(each, survey=renamed(each.survey), claims=()) for each in found.models)
    settings = {**found.settings, "bits": (8, 6, "nvfp4", 3, 2)}
    return replace(found, models=models, settings=settings, command="landscape study --bits 8,6,nvfp4,3,2")


def test_cells_have_the_names_of_their_formats() -> None:
    survey = floats().models[0].survey
    assert [cell_name(cell, survey) for cell in cells(survey)] == [
        "int8 exact", "int6 exact", "int3 exact", "int2 exact", "nvfp4",
    ]  # fmt: skip
    assert width_names((8, 4, 3), [survey]) == ("int8", "nvfp4", "int3")
    assert [place.short for place in places(floats())][:1] != []
    assert {place.short for place in places(floats())} >= {"nvfp4", "int2"}


def test_tables_have_them_too() -> None:
    table = perplexity_tables(floats())[0]
    assert table.header == ("method", "int8", "int6", "nvfp4", "int3", "int2")
    assert "RTN nvfp4" in {row[0] for row in table.rows}


def test_nothing_on_the_page_calls_it_an_integer() -> None:
    page = study_page(floats())
    assert "nvfp4" in page
    assert "int4" not in page.replace("uint4", "")
    for chart in charts(floats()):
        assert not isinstance(chart, Chart) or "int4" not in json.dumps(str(chart))
