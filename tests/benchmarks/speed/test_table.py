"""The page is made of its rows, loses none of them, and says 'missed' where a row misses its goal."""

import pytest

from benchmarks.rows import read_rows
from benchmarks.speed import table
from benchmarks.speed.lines import LINES

ENVIRONMENT = {
    "commit": "abc", "date": "2026-01-01", "processor": "P", "cores": 2, "memory": 4, "system": "S",
    "versions": {"torch": "1"},
}  # fmt: skip


def rows(**fields) -> table.Rows:
    row = {"benchmark": "b", "threads": 1, "model": None, "environment": ENVIRONMENT, **fields}
    return {(row["key"], 1, None): row}


def ratio(key: str, middle: float, seconds: float = 1.0) -> table.Rows:
    return rows(key=key, ratio=[middle - 0.1, middle, middle + 0.1], seconds=[seconds, 2.0])


def test_the_page_is_made_of_the_rows() -> None:
    assert table.PAGE.filled(table.tables()) == table.PAGE.text


@pytest.mark.parametrize("label", ["now", "before"])
def test_every_row_has_a_line(label: str) -> None:
    known = {line.key for line in LINES}
    assert len(known) == len(LINES)
    assert {key for key, _, _ in table.rows(label) if not key.startswith("peak/")} <= known


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (ratio("window/floor", 0.85), "≥ 0.85: met"),
        (ratio("window/floor", 0.84), "≥ 0.85: **missed**"),
        (ratio("probe/bare", 1.05), "≤ 1.05: met"),
        (ratio("probe/bare", 1.06), "≤ 1.05: **missed**"),
        (ratio("store/plan", 9.0, seconds=0.9), "≤ 1 s: met"),
        (ratio("store/plan", 0.1, seconds=1.1), "≤ 1 s: **missed**"),
        (rows(key="ray/workers", missing="not measured: ray"), "not measured: ray |  |  |"),
    ],
)
def test_goals(now: table.Rows, verdict: str) -> None:
    (line,) = list(table.speed(now, {}))[2:]
    assert verdict in line


def test_memory_is_judged_against_the_commit_before() -> None:
    now, before = (rows(key="memory/evaluation", value=value, unit="MiB", logits=100.0) for value in (20.0, 99.0))
    assert "≤ ⅕ of before: **missed**" in list(table.speed(now, before))[2]
    assert "≤ ⅕ of before: not measured" in list(table.speed(now, {}))[2]
    before["memory/evaluation", 1, None]["value"] = 101.0
    assert "| 20 MiB (0.20 × the logits) |  | ≤ ⅕ of before: met | 101 MiB" in list(table.speed(now, before))[2]


def test_runs_name_every_commit() -> None:
    now = ratio("window/floor", 1.0)
    older = rows(key="probe/bare", environment={**ENVIRONMENT, "commit": "def"})
    lines = list(table.runs({**now, **older}, now))
    assert lines[2] == "| commit | abc; def | abc |"
    assert lines[4] == "| processor | P, 2 cores, 4 GiB, S | P, 2 cores, 4 GiB, S |"


def test_the_tools_are_compared_with_our_search() -> None:
    measured = read_rows(table.HERE / "peers.jsonl")
    ours, *others = measured
    assert ours["way"] == table.OURS
    lines = list(table.peers(measured))
    assert len(lines) == 2 + len(measured)
    for row, line in zip(others, lines[3:], strict=True):
        assert f"| {row['tokens'] / ours['tokens']:.1f} |" in line
    late = {**others[0], "radius": None, "half_width": None, "late": True}
    assert "| not reached |  | none given |" in list(table.peers([ours, late]))[3]
    assert "out of time" in list(table.peers([ours, late]))[3]
