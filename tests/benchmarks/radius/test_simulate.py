"""The counts of the simulations, and their rows: one for every cell, and what the estimator gives."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.radius import cells, coverage, simulate, simulation_table
from benchmarks.rows import read_rows, write_rows


def level(covered: int = 1900) -> dict:
    return {"bias": 0.0, "half_width": 0.1, "covered": covered, "censored": 0, "repetitions": 2000}


@pytest.mark.parametrize(
    ("covered", "verdict"), [(1879, "low"), (1881, "ok"), (1900, "ok"), (1918, "ok"), (1920, "high")]
)
def test_verdicts_are_binomial(covered: int, verdict: str) -> None:
    """95 % of Binomial(2000, 0.95) lies from 1881 to 1918."""
    assert coverage.Coverage(**level(covered)).verdict == verdict


def test_every_cell_has_its_row_in_order() -> None:
    for file, listed in ((simulation_table.SURVEYS, cells.surveys()), (simulation_table.SEARCHES, cells.searches())):
        rows, keys = read_rows(file), [cell.key for cell in listed]
        assert [{name: row[name] for name in key} for row, key in zip(rows, keys, strict=True)] == keys


def test_rows_take_the_place_of_those_with_their_key(tmp_path: Path) -> None:
    file, keys = tmp_path / "rows.jsonl", [cell.key for cell in cells.searches()]
    first, second, *_ = keys
    write_rows(file, [{"name": "of a cell that is gone"}])
    for row in (second | {"n": "old"}, first | {"n": "new"}, second | {"n": "newer"}):
        simulate.keep(file, row, keys)
    assert read_rows(file) == [first | {"n": "new"}, second | {"n": "newer"}]


def test_a_table_has_a_line_a_row_and_a_note_for_its_repetitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "surveys.jsonl"
    monkeypatch.setattr(simulation_table, "SURVEYS", file)
    cell = next(cells.surveys())
    write_rows(
        file, [cell.key | {name: level(covered) for name, covered in (("R", 1870), ("r10", 1900), ("r90", 1930))}]
    )
    note, blank, heads, _, line = simulation_table.tables()["coverage"]
    assert note.startswith("2000 repetitions per row, intervals of 95 %; *ok* is coverage from 94.0")
    assert (blank, heads.count("|"), line.count("|")) == ("", 8, 8)
    assert line.startswith(simulation_table.head(cell.key))
    assert line.endswith("| +0.00% | ±10.0% | 93.5% **low** | 95.0% ok | 96.5% **high** |")


def test_a_search_row_counts_the_searches() -> None:
    cell = next(cells.searches())
    ends = coverage.run_searches(cell, repetitions=30)
    found = coverage.summarize(cell, ends)
    truth = cell.landscape.truth(0.5)
    hits = [end.radius.low <= truth <= end.radius.high for end, _ in ends]
    narrower = [end.rounds[-1].crossing for end, _ in ends]
    assert found.covered_as_computed == sum(radius.low <= truth <= radius.high for radius in narrower)
    never = dataclasses.replace(narrower[0], low=2 * truth, high=3 * truth)  # what the search reports stays as it was
    missed = [(dataclasses.replace(f, rounds=(dataclasses.replace(f.rounds[-1], crossing=never),)), n) for f, n in ends]
    assert coverage.summarize(cell, missed).covered_as_computed == 0
    assert coverage.summarize(cell, missed).coverage.covered == found.coverage.covered == sum(hits)
    at_once = [hit for hit, (end, _) in zip(hits, ends, strict=True) if len(end.rounds) == 1]
    assert (found.one_round, found.covered_in_one_round) == (len(at_once), sum(at_once))
    assert found.rounds == pytest.approx(sum(len(end.rounds) for end, _ in ends) / 30)
    assert found.evaluations == int(np.median([count for _, count in ends]))
    assert found.precise == 30
    assert found.coverage.half_width == pytest.approx(0.05, rel=0.02)  # 5 % of each R, over the true R
    row = cell.key | dataclasses.asdict(found)
    shown = [text.strip() for text in simulation_table.search_line(row).strip("|").split("|")]
    assert shown[:3] == [cell.name, "±5%", "100.0%"]
    assert shown[-1] == f"{sum(at_once) / len(at_once):.1%} of {len(at_once) / 30:.0%}"


def test_the_committed_rows_are_what_the_estimator_gives() -> None:
    """A few surveys of some rows have the half width of R of the row; a changed estimator needs new rows."""
    listed, rows = list(cells.surveys()), read_rows(simulation_table.SURVEYS)
    for index in (2, 9, len(listed) - 1):
        measured = coverage.survey(listed[index], repetitions=100)["R"]
        assert measured.half_width == pytest.approx(rows[index]["R"]["half_width"], rel=0.1)
        assert measured.covered >= 88
