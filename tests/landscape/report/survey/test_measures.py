"""Perplexity, size, KL and agreement reach the page, the terminal and the JSON as they were measured."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from landscape.estimators.intervals import Estimate
from landscape.report.survey.json import to_json
from landscape.report.survey.page import page
from landscape.report.survey.summary import summary_lines, summary_table
from landscape.survey.result import SurveyResult
from quant.size import ModelSize
from tests import synthetic
from tests.landscape.reading import Page, floats


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape(external=("q4_k_m",), by_kl=True)


@pytest.fixture(scope="module")
def parsed(found: SurveyResult) -> Page:
    return Page(page(found))


def test_the_page_has_a_row_for_w_and_each_point(found: SurveyResult, parsed: Page) -> None:
    rows = {row["point"]: row for row in parsed.table("Perplexity, size and fidelity")}
    assert list(rows) == ["w", *(point.name for point in found.points)]
    assert (rows["w"]["bits per weight"], rows["w"]["GB"]) == ("16.000", "0.2505")
    for split, nll in found.center.items():
        assert floats(rows["w"][f"perplexity {split}"]) == pytest.approx([math.exp(nll)], rel=1e-3)
    for point in found.points:
        row = rows[point.name]
        for split, fidelity in point.fidelity.items():
            rise, kl, agreement = point.rise[split], fidelity.kl, fidelity.agreement
            changes = [100 * math.expm1(nats) for nats in (rise.value, rise.low, rise.high)]
            assert floats(row[f"change {split}"]) == pytest.approx(changes, rel=0.05)
            assert floats(row[f"perplexity {split}"]) == pytest.approx([math.exp(point.nll[split])], rel=1e-3)
            assert floats(row[f"KL(w ‖ point) {split}"]) == pytest.approx([kl.value, kl.low, kl.high], abs=6e-5)
            shares = [100 * each for each in (agreement.value, agreement.low, agreement.high)]
            assert floats(row[f"agreement {split}"]) == pytest.approx(shares, abs=0.06)
        if point.size is None:
            assert (row["bits per weight"], row["bits per parameter"], row["GB"]) == ("–", "–", "–")
        else:
            assert floats(row["bits per weight"]) == pytest.approx([point.size.space_bits], abs=6e-4)
            assert floats(row["bits per parameter"]) == pytest.approx([point.size.model_bits], abs=6e-4)
            assert floats(row["GB"]) == pytest.approx([point.size.bytes / 1e9], rel=1e-3)


def test_the_page_has_the_radius_by_kl_and_every_value(found: SurveyResult, parsed: Page) -> None:
    for row in parsed.table("The radius by KL"):
        by_kl, basin = found.kl_radii[row["split"]], found.basins[row["split"]]
        radius = by_kl.radius
        assert floats(row["R_kl"]) == pytest.approx([radius.value, radius.low, radius.high], rel=5e-3)
        assert floats(row["R"])[0] == pytest.approx(basin.radius.value, rel=5e-3)
        assert floats(row["C − H(w)"]) == [by_kl.reference]
    rays = parsed.table("All values along the random directions")
    expected = [ray.kl["validation"][i] for ray in found.rays for i in range(len(ray.lambdas))]
    assert [floats(row["KL validation"])[0] for row in rays] == pytest.approx(expected, abs=6e-5)
    segments = parsed.table("All values along the segments")
    along = [value for segment in found.segments for value in segment.kl]  # type: ignore[union-attr]
    assert [floats(row["KL"])[0] for row in segments] == pytest.approx(along, abs=6e-5)


def test_the_terminal_has_them_in_a_line_of_120_characters(found: SurveyResult) -> None:
    table = summary_table(found)
    widths = [max(len(cell) for cell in (*name.split("\n"), *(row[i] for row in table.rows))) for i, name in
              enumerate(table.header)]  # fmt: skip
    assert sum(widths) + 2 * (len(widths) - 1) <= 120
    for point, row in zip(found.points, table.rows, strict=True):
        cells = dict(zip(table.header, row, strict=True))
        kl, agreement = point.fidelity["validation"].kl, point.fidelity["validation"].agreement
        assert floats(cells["KL\nto w"]) == pytest.approx([kl.value], rel=6e-3)
        assert floats(cells["agrees\nwith w"]) == pytest.approx([100 * agreement.value], abs=0.06)
        change = 100 * math.expm1(point.rise["validation"].value)
        assert floats(cells["perplexity\nagainst w"]) == pytest.approx([change], rel=0.05)
        assert cells["bits per\nweight"] == ("–" if point.size is None else f"{point.size.space_bits:.2f}")
    lines = "\n".join(summary_lines(found))
    assert "by KL: R_kl = " in lines
    assert "R_kl" not in "\n".join(summary_lines(synthetic.landscape()))
    assert f"validation {math.exp(found.center['validation']):.4g}" in lines


def test_the_json_has_them_all(found: SurveyResult) -> None:
    written = to_json(found)
    json.dumps(written, allow_nan=False)
    assert written["schema_version"] == 4
    assert written["center_perplexity"] == {split: math.exp(nll) for split, nll in found.center.items()}
    assert written["center_size"] == {"space_bits": 16.0, "model_bits": 16.0, "bytes": 250_479_360}
    for split, by_kl in found.kl_radii.items():
        assert written["kl_radii"][split]["reference"] == by_kl.reference
        assert written["kl_radii"][split]["radius"]["value"] == by_kl.radius.value
    for entry, point in zip(written["points"], found.points, strict=True):
        for split, fidelity in point.fidelity.items():
            assert entry["perplexity"][split] == math.exp(point.nll[split])
            assert entry["perplexity_change_percent"][split]["high"] == 100 * math.expm1(point.rise[split].high)
            assert entry["kl"][split] == vars(fidelity.kl)
            assert entry["agreement"][split] == vars(fidelity.agreement)
        assert entry["size"] == (None if point.size is None else vars(point.size))
    for entry, segment in zip(written["segments"], found.segments, strict=True):
        assert entry["kl"] == segment.kl.tolist()  # type: ignore[union-attr]


def test_without_kl_there_is_nothing_of_it(found: SurveyResult) -> None:
    plain = synthetic.landscape()
    written, parsed = to_json(plain), Page(page(plain))
    assert written["kl_radii"] == {}
    assert {entry["kl"] is None for entry in written["segments"]} == {True}
    assert not any("R_kl" in caption for caption in parsed.tables)


def test_overflow_and_what_was_not_measured_are_shown_as_such() -> None:
    plain = synthetic.landscape(bits=(4,), methods=("rtn",))
    infinite = Estimate(math.inf, -math.inf, math.inf)
    (point,) = plain.points
    fidelity = replace(point.fidelity["validation"], kl=infinite)
    lost = replace(
        point, fidelity={"validation": fidelity}, rise={**point.rise, "validation": infinite},
        nll={**point.nll, "validation": math.inf}, size=ModelSize(4.0, 9.0, 10**9),
    )  # fmt: skip
    found = replace(plain, points=(lost,))
    (_, row) = Page(page(found)).table("Perplexity, size and fidelity")
    assert row["perplexity validation"] == "∞"
    assert "overflowed" in row["KL(w ‖ point) validation"]
    assert "overflowed" in row["change validation"]
    assert row["KL(w ‖ point) train"] == "–"
    (entry,) = to_json(found)["points"]
    assert entry["perplexity"]["validation"] is None
    assert entry["kl"]["validation"] == {"value": None, "low": None, "high": None}
    json.dumps(entry, allow_nan=False)
