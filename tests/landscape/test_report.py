from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from landscape.basin import location
from landscape.cli.console import near_but_steep
from landscape.estimate import Estimate
from landscape.health import Check
from landscape.report import page, write_page
from landscape.result import Landscape, ProbeCount
from landscape.schema import to_json
from landscape.wording import interval, number, point_note, typical_rise, verdict_hint
from quant.errors import ToolkitError
from tests import synthetic
from tests.landscape.test_figures import overflowing

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Reads a page: its tables by caption, its text outside scripts, what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.headers: list[dict[str, str | None]] = []
        self.loads: list[str] = []
        self.text = ""
        self.style = ""
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.loads += [str(v) for k, v in attributes if k in ("src", "srcset", "href", "data", "poster", "action")]
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self.headers += [dict(attributes)] if tag == "th" else []
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        here = next((tag for tag in reversed(self._open) if tag != "span"), "")
        if here == "style":
            self.style += data
        elif here != "script":
            self.text += data
        if here == "caption":
            self._caption = data
        elif here in ("td", "th"):
            self._rows[-1][-1] += data

    def table(self, start: str) -> list[dict[str, str]]:
        """Rows of a table by the names of its columns."""
        head, *rows = next(rows for caption, rows in self.tables.items() if caption.startswith(start))
        return [dict(zip(head, row, strict=True)) for row in rows]


def floats(text: str) -> list[float]:
    """The numbers in a cell."""
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text.replace("−", "-").replace(",", ""))]


@pytest.fixture(scope="module")
def found() -> Landscape:
    return synthetic.landscape()


@pytest.fixture(scope="module")
def text(found: Landscape) -> str:
    return page(found)


@pytest.fixture(scope="module")
def parsed(text: str) -> Page:
    return Page(text)


def test_the_same_measurement_gives_the_same_bytes(found: Landscape, text: str, tmp_path: Path) -> None:
    again = replace(
        synthetic.landscape(), seconds=0.2, store="/elsewhere", probes=ProbeCount(found.probes.total, 1234, 0)
    )
    write_page(again, tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_bytes() == text.encode()
    assert os.listdir(tmp_path / "new") == ["page.html"]
    assert '<div id="radial-landscape"' in text  # plotly's own would be random in every process


def test_it_loads_nothing(text: str, parsed: Page) -> None:
    assert parsed.loads == ["data:,"]
    assert not re.search(r"@import|url\(", parsed.style)
    assert "<script src" not in text
    assert "default-src 'none'" in text
    assert '"showSendToCloud":false' in text.replace(" ", "")


def test_points_are_in_the_table(found: Landscape, parsed: Page) -> None:
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


def test_segments_are_in_the_table(found: Landscape, parsed: Page) -> None:
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


def test_a_ridge_is_told_with_its_place_its_depth_and_their_intervals(found: Landscape, parsed: Page) -> None:
    ridged = [s for s in found.segments if s.a == "w" and s.split == "validation" and not s.connectivity.monotonic]
    assert ridged
    for s in ridged:
        c = s.connectivity
        p = c.prominence_interval
        assert (
            f"From w to {s.b} the loss falls by P = {p.value:.4f} [{p.low:.4f}, {p.high:.4f}] from "
            f"the ridge at α = {number(c.ridge_alpha, 3)} to the valley at α = {number(c.valley_alpha, 3)}"
        ) in parsed.text


def test_the_json_has_ridge_barriers_and_intervals_of_each_segment(found: Landscape) -> None:
    written = to_json(found)
    assert written["schema_version"] == 2  # fields were added, none changed
    for entry, s in zip(written["segments"], found.segments, strict=True):
        c = s.connectivity
        for name in ("prominence", "barrier", "barrier_max"):
            estimate = getattr(c, f"{name}_interval")
            assert (entry[name], entry[f"{name}_interval"]) == (
                estimate.value, {"low": estimate.low, "high": estimate.high}
            )  # fmt: skip
        for name in ("ridge_alpha", "valley_alpha", "barrier_alpha", "barrier_max_alpha"):
            assert entry[name] == getattr(c, name)
        assert entry["alphas"] == list(s.alphas)
        assert entry["nll"] == list(s.nll)


def test_the_basin_is_in_the_table(found: Landscape, parsed: Page) -> None:
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
        assert cells["R of each direction"] == pytest.approx(basin.direction_radii, rel=5e-4)
        assert cells["their standard deviation"] == pytest.approx([basin.direction_std], rel=5e-3)
        assert cells["L(w)"] == pytest.approx([found.center[split]], abs=6e-5)
        assert cells["chance, ln|V|"] == pytest.approx([10.82])
        assert (cells["directions"], cells["windows"]) == ([8], [8])


def test_every_plotted_value_is_in_a_table(found: Landscape, parsed: Page) -> None:
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


def test_how_it_was_measured_is_in_the_table(found: Landscape, parsed: Page) -> None:
    rows = {row["setting"]: row["value"] for row in parsed.table("How it was measured")}
    assert rows["fingerprint of its weights"] == found.subject.fingerprint
    assert rows["windows"] == "train 8, validation 8"
    assert {name: str(value) for name, value in found.settings.items()}.items() <= rows.items()


def test_who_cannot_see_the_plot_is_told_the_same(found: Landscape, text: str, parsed: Page) -> None:
    assert all(header["scope"] in ("col", "row") for header in parsed.headers)
    assert 'aria-label="Interactive plot: opt-125m: basin radius R = ' in text
    assert '<html lang="en">' in text
    assert len(parsed.tables) == 6
    for point in found.points:
        assert f"{point.name}: {point.location}, {point.loss}" in parsed.text


def test_a_ruined_point_deep_inside_reads_near_but_steep() -> None:
    found = synthetic.smollm2_like(bits=(6,), methods=("rtn",), directions=3)
    (point,) = found.points
    assert (point.location, point.loss) == ("inside", "degraded")
    parsed = Page(page(found))
    assert "rtn-int6-exact: inside, degraded: near but steep." in parsed.text
    typical = typical_rise(found, point.distance)
    assert f"Random directions at that distance: ΔL about +{typical:.4f}." in parsed.text
    assert point.rise["validation"].low > 4 * typical


def test_the_typical_rise_is_that_of_the_rays(found: Landscape) -> None:
    lam = float(found.rays[0].lambdas[4])
    mean = sum(ray.nll["validation"][4] for ray in found.rays) / 8 - found.center["validation"]
    assert typical_rise(found, lam) == pytest.approx(mean)
    assert typical_rise(found, 10 * found.rays[0].lambdas[-1]) is None
    assert typical_rise(overflowing(), float(found.rays[0].lambdas[-1])) is None


@pytest.mark.parametrize(
    ("method", "place", "loss", "hint"),
    [
        ("rtn", "inside", "kept", "rounding is cheap here"),
        ("gptq", "inside", "kept", "near and flat"),
        ("rtn", "inside", "lost", "near but steep"),
        ("qaft", "outside", "degraded", "far but not lost"),
        ("rtn", "outside", "lost", "far and lost"),
        ("rtn", "border", "lost", ""),
    ],
)
def test_what_two_words_mean_together(found: Landscape, method: str, place: str, loss: str, hint: str) -> None:
    assert verdict_hint(replace(found.points[0], method=method, location=place, loss=loss)) == hint  # type: ignore[arg-type]


def test_a_degraded_point_no_steeper_than_random_directions_is_not_called_steep() -> None:
    found = synthetic.landscape(synthetic.Well(steep=0.9), bits=(6,), methods=("rtn",))
    (point,) = found.points
    assert (point.location, point.loss) == ("inside", "degraded")
    assert point.rise["validation"].value < typical_rise(found, point.distance)
    assert point_note(point, found).verdict.endswith("no steeper than a random step of that length")
    assert near_but_steep(found) == []
    steep = synthetic.landscape(synthetic.Well(steep=1.5), bits=(6,), methods=("rtn",))
    assert near_but_steep(steep) == ["rtn-int6-exact"]


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


def test_intervals_that_are_not_bounded_read_as_words() -> None:
    found = synthetic.landscape(directions=1, windows=1, bits=(4,), methods=("rtn",), model="opt-nano")
    parsed = Page(page(found))
    assert f"opt-nano: basin radius R = {found.basin.radius.value:.1f} (not bounded by one direction)" in parsed.text
    assert "(not bounded by one window)" in parsed.text
    assert "rtn-int4-exact: unresolved, degraded" in parsed.text
    assert not re.search(r"\b(inf|nan|None)\b", parsed.text)


def test_a_censored_radius_reads_as_a_bound() -> None:
    found = synthetic.landscape(lambdas=[5, 10, 20, 30, 40, 50])
    assert location(60.0, found.basin) == "unresolved"
    parsed = Page(page(found))
    assert "opt-125m: basin radius R is more than 50.0" in parsed.text
    assert {row["ρ = ‖Δw‖/R"] for row in parsed.table("The quantized points")} == {"R not reached"}


def test_values_that_are_not_finite_are_named_in_words() -> None:
    parsed = Page(page(overflowing()))
    (row,) = (r for r in parsed.table("The quantized points") if r["point"] == "rtn-int2-exact")
    assert (row["NLL validation"], row["ΔL validation"]) == ("∞", "∞ (the model's output overflowed)")
    assert "Not drawn, since the NLL on validation is not finite: rtn-int2-exact." in parsed.text
    assert "not a number" in {r["NLL validation"] for r in parsed.table("All values along the random directions")}


SOUND = Check("finite losses", True, "0 of 9", "none", "All 9 losses are finite.")
UNJUDGED = [Check(name, None, "", "", "Nothing was evaluated.") for name in ("L(w) reproduced", "float resolution")]
WRONG = Check("deterministic evaluation", False, "1.0 and 2.0", "equal", "It draws <random> numbers.")


def test_a_failed_check_stands_above_the_plot_in_plain_words(found: Landscape) -> None:
    text = page(replace(found, health=(WRONG, *UNJUDGED, SOUND)))
    top = text[text.index("<h1>") : text.index("<figure")]
    assert "This run is not sound" in top
    assert "It draws &lt;random&gt; numbers." in top
    assert "All 9 losses" not in top
    section = text[text.index("Is this run sound?") :]
    assert "No: 1 of 2 checks failed, as is said at the top of the page: deterministic evaluation." in section
    assert "Not judged: <strong>L(w) reproduced, float resolution.</strong> Nothing was evaluated." in section


def test_passed_checks_are_folded_to_one_line(found: Landscape) -> None:
    text = page(replace(found, health=(SOUND, *UNJUDGED)))
    assert "not sound" not in text
    section = text[text.index("Is this run sound?") : text.index('id="numbers-title"')]
    assert "Nothing speaks against it: 1 check passed, none failed." in section
    assert "<details><summary>Passed: finite losses</summary>" in section
    assert "All 9 losses are finite." in section[section.index("<details>") :]


def test_names_are_escaped() -> None:
    name = "<b>x</b></script><script>alert(1)</script> $figure &amp; \"q'"
    found = synthetic.landscape(model=name, bits=(4,), methods=("rtn",), directions=2, windows=2)
    odd = replace(found, subject=replace(found.subject, data="<i>data</i>"), settings={"<u>key</u>": "<u>value</u>"})
    text = page(odd)
    assert "alert(1)</script>" not in text
    assert "<b>x" not in text
    assert "<i>data" not in text
    assert "<u>" not in text[text.index("</figure>") :]
    assert name in Page(text).text


def test_a_page_that_cannot_be_written_is_one_line_and_leaves_the_old_one(
    found: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolkitError, match=r"^expected to write the page .*file.page\.html, got: .*$"):
        write_page(found, tmp_path / "file" / "page.html")
    old = tmp_path / "page.html"
    old.write_text("old")

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("landscape.report.os.replace", full)
    with pytest.raises(ToolkitError, match="No space left"):
        write_page(found, old)
    assert old.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["file", "page.html"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(71.24, "71.2"), (0.0284, "0.0284"), (1992.6, "1,993"), (0.0, "0"), (-3.456, "−3.46"), (2.5e-7, "2.50e−07"),
     (float("inf"), "∞"), (float("nan"), "not a number"), (9.999, "10.0")],
)  # fmt: skip
def test_numbers_are_written_out(value: float, text: str) -> None:
    assert number(value, 3) == text


def test_half_an_interval_keeps_its_known_end() -> None:
    assert interval(Estimate(2.0, 1.5, float("inf")), "2.00", "unbounded") == "2.00 [1.50, ∞]"
    assert interval(Estimate(2.0, 0.0, float("inf")), "2.00", "unbounded") == "2.00 (unbounded)"


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium to draw the page with")
def test_a_browser_without_a_network_draws_it(found: Landscape, text: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--window-size=1400,1000", "--virtual-time-budget=3000",
        "--dump-dom",
    ]  # fmt: skip
    command = [
        str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
        file.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    drawn = dom[dom.index("</style>") :]
    assert len(re.findall(r'<g class="trace scatter', drawn)) > 2 * (len(found.rays) + len(found.points))
    assert len(re.findall(r'class="js-line"', drawn)) > 2 * len(found.rays)
    assert len(re.findall(r'class="updatemenu-button"', drawn)) == 3 + 4
