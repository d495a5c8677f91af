"""The paper's figures beside ours: tables that are made of the rows, and pictures that are there."""

from __future__ import annotations

import re
import tomllib

from benchmarks.rows import Row
from benchmarks.study import measure, table

STUDY: Row = {"kind": "study", "model": "m", "command": "landscape study m.toml", "probes": 9, "settings": {}}
CHART: Row = {
    "kind": "figure", "id": "figure-2", "group": "Loss | size", "source": "Figure 2", "title": "t", "drawn": True,
    "reason": "",
}  # fmt: skip
FINDING: Row = {
    "kind": "finding", "text": "QAFT holds the front", "source": "§4.2", "verdict": "fails", "numbers": "1 of 2",
    "figure": "figure-2",
}  # fmt: skip


def test_a_figure_has_its_command_its_picture_and_its_findings() -> None:
    other = STUDY | {"model": "n", "command": "landscape study n.toml"}
    missing = CHART | {"drawn": False, "reason": "one point"}
    (row,) = list(table.figures([[STUDY, CHART, FINDING], [other, missing]]))[2:]
    assert row == (
        "| Figure 2 | `landscape study m.toml --figures DIR`<br>`landscape study n.toml --figures DIR` "
        "| Loss \\| size: [m](figures/m--figure-2.png), n: not drawn, one point | m: QAFT holds the front: **fails** |"
    )


def test_a_group_of_several_charts_names_each_and_findings_of_others_stay_away() -> None:
    second = CHART | {"id": "figure-2b"}
    (row,) = list(table.figures([[STUDY, CHART, second, FINDING | {"figure": "figure-9"}]]))[2:]
    assert "[m (figure-2)](figures/m--figure-2.png), [m (figure-2b)](figures/m--figure-2b.png)" in row
    assert row.endswith("| – |")


def test_a_finding_stands_beside_its_numbers_on_every_model() -> None:
    header, _, row = table.findings([[STUDY, FINDING], [STUDY | {"model": "n"}]])
    assert header == "| the paper | m | n |"
    assert row == "| QAFT holds the front (§4.2) | **fails**: 1 of 2 |  |"


def test_the_tables_are_those_of_the_rows() -> None:
    page = table.PAGE
    assert page.filled(table.tables()) == page.text
    measured = [table.name(rows) for rows in table.studies()]
    assert measured == [model for model in table.MODELS if (measure.HERE / f"{model}.jsonl").exists()]
    assert measured


def test_every_picture_is_on_the_page_and_there() -> None:
    linked = set(re.findall(r"figures/([\w-]+\.png)", table.PAGE.text))
    assert linked == {path.name for path in measure.FIGURES.glob("*.png")}


def test_the_rows_are_of_the_studies_in_the_files() -> None:
    for rows in table.studies():
        (study,) = table.of_kind(rows, "study")
        path = measure.HERE / f"{study['model']}.toml"
        asked = tomllib.loads(path.read_text())
        assert study["command"].startswith(f"landscape study benchmarks/study/{path.name}")
        bits = dict.fromkeys(p["bits"] for p in table.of_kind(rows, "point") if p["bits"])
        assert list(bits) == asked["bits"]
        assert study["settings"]["preset"] == asked["preset"]
