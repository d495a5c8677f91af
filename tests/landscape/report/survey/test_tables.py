from __future__ import annotations

import pytest

from landscape.formatting import number
from landscape.report.survey.json import to_json
from landscape.report.survey.page import page
from landscape.survey.result import SurveyResult
from tests import synthetic
from tests.landscape.reading import Page, floats


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


@pytest.fixture(scope="module")
def parsed(found: SurveyResult) -> Page:
    return Page(page(found))


def test_points_are_in_the_table(found: SurveyResult, parsed: Page) -> None:
    rows = {row["point"]: row for row in parsed.table("The quantized points")}
    assert set(rows) == {p.name for p in found.points}
    for p in found.points:
        row = rows[p.name]
        assert (row["location"], row["loss"], row["bits"], row["grid"]) == (p.location, p.loss, str(p.bits), p.grid)
        assert floats(row["‖Δw‖"]) == pytest.approx([p.distance], rel=1e-4)
        assert floats(row["‖Δw‖/‖w‖"]) == pytest.approx([p.distance / found.subject.norm], rel=1e-3)
        assert floats(row["ρ = ‖Δw‖/R"]) == pytest.approx([p.rho.value, p.rho.low, p.rho.high], rel=5e-3)
        for split in ("train", "validation"):
            rise = p.rise[split]
            assert floats(row[f"NLL {split}"]) == pytest.approx([p.nll[split]], abs=6e-5)
            assert floats(row[f"ΔL {split}"]) == pytest.approx([rise.value, rise.low, rise.high], abs=6e-5)


def test_segments_are_in_the_table(found: SurveyResult, parsed: Page) -> None:
    rows = {(row["from a"], row["to b"], row["split"]): row for row in parsed.table("The straight segments")}
    assert len(rows) == len(found.segments)
    for s in found.segments:
        row, c = rows[s.a, s.b, s.split], s.connectivity
        assert row["monotonic"] == {True: "yes", False: "no", None: "open"}[c.monotonic]
        cells = [row[k] for k in ("deepest fall P", "noise", "from α", "to α", "low end α", "dip")]
        cells += [row["barrier over the line"], row["barrier over the ends"]]
        expected = [c.prominence, c.noise, c.ridge_alpha, c.valley_alpha, c.low_end, c.dip, c.barrier, c.barrier_max]
        assert [floats(cell)[0] for cell in cells] == pytest.approx(expected, abs=6e-5)
        assert [floats(row[k])[0] for k in ("its α", "at α")] == pytest.approx(
            [c.barrier_alpha, c.barrier_max_alpha], abs=6e-3
        )
        for name, e in (
            ("deepest fall P", c.prominence_interval),
            ("barrier over the line", c.barrier_interval),
            ("barrier over the ends", c.barrier_max_interval),
        ):
            assert floats(row[name])[1:] == pytest.approx([e.low, e.high], abs=6e-5)


def test_the_basin_is_in_the_table(found: SurveyResult, parsed: Page) -> None:
    rows = {row[""]: row for row in parsed.table("The basin")}
    for split, basin in found.basins.items():
        cells = {name: floats(row[split]) for name, row in rows.items()}
        for name, crossing in (
            ("R (half of the way from L(w) to chance)", basin.radius),
            ("r10, inner edge of the border", basin.r10),
            ("r90, outer edge of the border", basin.r90),
        ):
            assert cells[name] == pytest.approx([crossing.value, crossing.low, crossing.high], rel=5e-3)
        spread = basin.direction_spread
        assert cells["R of single directions: mean [least, largest]"] == pytest.approx(
            [spread.value, spread.low, spread.high], rel=5e-3
        )
        other = found.radii[split]
        for name, radius in (
            ("perplexity 5 % higher", other.kept),
            ("steepest rise", other.inflection),
            ("the parabola near w halfway to chance", other.quadratic),
        ):
            assert cells[name] == pytest.approx([radius.value, radius.low, radius.high], rel=5e-3)
        halfway = other.unigram.radius
        assert cells["halfway to the entropy of single tokens"] == pytest.approx(
            [halfway.value, halfway.low, halfway.high, other.unigram.reference], rel=5e-3
        )
        assert cells["R of each direction"] == pytest.approx(basin.direction_radii, rel=5e-4)
        assert cells["their standard deviation"] == pytest.approx([basin.direction_std], rel=5e-3)
        assert cells["L(w)"] == pytest.approx([found.center[split]], abs=6e-5)
        assert cells["chance, ln|V|"] == pytest.approx([10.82])
        assert (cells["directions"], cells["windows"]) == ([8], [8])


def test_every_plotted_value_is_in_a_table(found: SurveyResult, parsed: Page) -> None:
    rays = parsed.table("All values along the random directions")
    expected = [
        [ray.index, lam, ray.nll["train"][i], ray.nll["validation"][i]]
        for ray in found.rays
        for i, lam in enumerate(ray.lambdas)
    ]
    cells = [[floats(row[k])[0] for k in ("direction", "λ", "NLL train", "NLL validation")] for row in rays]
    assert len(cells) == len(expected)
    for got, want in zip(cells, expected, strict=True):
        assert got == pytest.approx(want, rel=1e-4)
    segments = parsed.table("All values along the segments")
    along = [(s.b, *v) for s in found.segments for v in zip(s.alphas, s.distances, s.nll, strict=True)]
    assert len(segments) == len(along)
    for row, (b, *want) in zip(segments, along, strict=True):
        assert row["to b"] == b
        got = [floats(row[k])[0] for k in ("α", "ℓ2 distance from w", "NLL")]
        assert got == pytest.approx(want, rel=1e-4, abs=1e-9)


def test_how_it_was_measured_is_in_the_table(found: SurveyResult, parsed: Page) -> None:
    rows = {row["setting"]: row["value"] for row in parsed.table("How it was measured")}
    assert rows["fingerprint of its weights and configuration"] == found.subject.fingerprint
    assert rows["windows"] == "train 8, validation 8"
    assert {name: str(value) for name, value in found.run.settings.items()}.items() <= rows.items()


def test_a_point_of_another_tool_is_in_the_tables_and_the_json() -> None:
    found = synthetic.landscape(bits=(4,), methods=("rtn",), external=("q4_k_m",))
    point = found.points[1]
    parsed = Page(page(found))
    (row,) = [row for row in parsed.table("The quantized points") if row["point"] == "q4_k_m"]
    assert (row["bits"], row["grid"], row["‖Δw‖"]) == ("–", "–", number(point.distance))
    assert "q4_k_m: " in parsed.text
    written = to_json(found)
    (entry,) = [entry for entry in written["points"] if entry["name"] == "q4_k_m"]
    assert (entry["method"], entry["bits"], entry["grid"]) == ("q4_k_m", None, None)
    assert {s["bits"] for s in written["segments"] if s["b"] == "q4_k_m"} == {None}


def test_values_that_are_not_finite_are_named_in_words() -> None:
    parsed = Page(page(synthetic.overflowing()))
    (row,) = (r for r in parsed.table("The quantized points") if r["point"] == "rtn-int2-exact")
    assert (row["NLL validation"], row["ΔL validation"]) == ("∞", "∞ (the model's output overflowed)")
    assert "Not drawn, since the NLL on validation is not finite: rtn-int2-exact." in parsed.text
    assert "not a number" in {r["NLL validation"] for r in parsed.table("All values along the random directions")}
