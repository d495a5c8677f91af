"""Rows are kept once, however many processes measure one model."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.advice import measure
from benchmarks.advice.measure import Job
from benchmarks.rows import read_rows


def test_a_row_that_another_process_has_kept_is_not_kept_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "HERE", tmp_path)
    one, other = (Job("opt-nano", "tales", tmp_path) for _ in range(2))
    one.keep("outcome", [4, "tensor"], {"rtn": 1.0})
    other.keep("outcome", [4, "tensor"], {"rtn": 2.0})
    other.keep("outcome", [3, "tensor"], {"rtn": 3.0})
    other.keep("evidence", [4, "tensor"], {"rtn": 4.0})
    assert [row["rtn"] for row in read_rows(one.file)] == [1.0, 3.0, 4.0]
