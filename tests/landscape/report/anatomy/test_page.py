"""The anatomy as a page and as JSON."""

from __future__ import annotations

import json
import re

import pytest

from landscape.anatomy.result import AnatomyResult
from landscape.positions.parts import PARTS
from landscape.report.anatomy.json import anatomy_json
from landscape.report.anatomy.page import anatomy_page
from landscape.report.anatomy.wording import finding
from tests.landscape.reading import Page, floats


def test_the_page_loads_nothing_and_brings_plotly_once(dissected: AnatomyResult) -> None:
    text = anatomy_page(dissected)
    page = Page(text)
    assert page.loads == ["data:,"]
    assert 4e6 < len(text) < 7e6  # plotly.js is of 4.8 MB
    ids = re.findall(r'<div id="(anatomy-[a-z]+)"', text)
    assert ids == [f"anatomy-{n}" for n in ("waterfall", "matched", "parts", "block", "clipping", "restoration")]
    assert page.text.index("near but steep") < page.text.index("The numbers")
    assert "The location is judged by random directions probed at the very length of Δw" in page.text
    for sentence in finding(dissected):
        assert sentence in page.text


def test_tables_hold_the_numbers(dissected: AnatomyResult) -> None:
    page = Page(anatomy_page(dissected))
    for row, step in zip(page.table("The waterfall"), dissected.waterfall.steps, strict=True):
        assert floats(row["‖Δw‖/R"])[0] == pytest.approx(step.rho.value, rel=0.01)
        assert floats(row["R"])[0] == pytest.approx(step.radius.value, rel=0.01)
    for row, part in zip(page.table("The parts")[1:], PARTS, strict=True):
        for column, rise in (
            ("ΔL alone on w", dissected.anatomy.alone[part].rise),
            ("ΔL left when undone", dissected.anatomy.undone[part].rise),
            ("saved by undoing it", dissected.anatomy.saved[part]),
        ):
            assert floats(row[column]) == pytest.approx([rise.value, rise.low, rise.high], abs=1e-4)
        assert floats(row["share of ‖Δw‖²"])[0] == pytest.approx(dissected.anatomy.total.share(part), rel=0.01)
    restored = page.table("The point with the clipping")
    assert [row["tensors undone"] for row in restored] == [str(count) for count in dissected.restored]
    assert [floats(row["ΔL left, test"])[0] for row in restored] == pytest.approx(
        [dissected.held_out[count].value for count in dissected.restored], abs=1e-4
    )
    assert [row["within ppl+15%"] for row in restored][:2] == ["no", "yes"]


def test_the_json_is_strict_and_says_what_the_text_does(dissected: AnatomyResult) -> None:
    told = json.loads(json.dumps(anatomy_json(dissected), allow_nan=False))
    assert set(told) == {
        "schema_version", "model", "data", "split", "seq_len", "windows", "articles", "space", "point", "center",
        "chance", "distance", "limit", "location", "loss", "steep", "rise", "culprit", "waterfall", "parts", "clipped",
        "weights", "groups", "additivity", "clipping", "restored", "test_rise", "enough", "layers", "plan", "probes",
        "seconds", "store", "page", "health",
    }  # fmt: skip
    assert told["culprit"] == "clip"
    assert told["enough"] == 2
    assert told["rise"]["value"] == dissected.rise.value
    assert [step["rho"]["value"] for step in told["waterfall"]] == [s.rho.value for s in dissected.waterfall.steps]
    assert told["waterfall"][3]["matched"] is None
    assert told["clipping"][0]["clipped"] == dissected.anatomy.statistics[dissected.clipping[0].slots].clipped > 0
