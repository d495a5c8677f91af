"""Rows come back as they were kept, and a number that JSON cannot express is not written in silence."""

from pathlib import Path

import pytest

from benchmarks.rows import append_row, read_rows, write_rows

ROWS = [{"model": "ρ", "value": 0.1 + 0.2, "none": None}, {"nested": {"a": [1, 2.5e-300]}}]


def test_rows_come_back_to_the_bit(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    assert read_rows(file) == []
    for row in ROWS:
        append_row(file, row)
    assert read_rows(file) == ROWS
    before = file.read_bytes()
    write_rows(file, read_rows(file))
    assert file.read_bytes() == before
    assert before.count(b"\n") == len(ROWS)


def test_a_number_that_is_not_finite_leaves_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_rows(file, ROWS)
    with pytest.raises(ValueError, match="JSON"):
        write_rows(file, [*ROWS, {"value": float("nan")}])
    assert read_rows(file) == ROWS


def test_a_radius_that_was_not_reached_is_kept(tmp_path: Path) -> None:
    append_row(tmp_path / "rows.jsonl", {"high": float("inf")})
    assert read_rows(tmp_path / "rows.jsonl") == [{"high": float("inf")}]
