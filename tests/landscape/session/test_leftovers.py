"""A session removes what killed processes left anywhere in its cache."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from landscape.session.in_use import FOLDER, SILENT, marked
from quant.files.temporary_files import temporary_name
from tests.killed import leave_behind

STORE = "00112233aabbccdd-float32"
PLACES = (
    ".", "tokens", "models", "self/00112233aabbccdd", "self/00112233aabbccdd/seed0-length3-first1", "studies", FOLDER,
    STORE, f"{STORE}/probes", f"{STORE}/layers", f"{STORE}/points", f"{STORE}/points/00ff", f"{STORE}/unfinished",
    f"{STORE}/runs", f"{STORE}-high/points",
)  # fmt: skip

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")


def fail(line: str) -> None:
    raise AssertionError(line)


def leave_mark(root: Path, age: float) -> Path:
    """Leave the mark of a session that was killed."""
    dead = int(leave_behind(lambda: root / FOLDER / str(os.getpid())).name)
    path = root / FOLDER / f"host-{dead}.json"
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": dead, "started": 0, "store": None}))
    (root / FOLDER / str(dead)).unlink()
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


def test_a_session_after_a_killed_one_sweeps_all_places(tmp_path: Path) -> None:
    mark = leave_mark(tmp_path, age=0)
    first = leave_behind(lambda: temporary_name(tmp_path / "x"))
    left, others = [tmp_path / place / first.name for place in PLACES], tmp_path / "mine" / first.name
    for path in (*left, others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    living = temporary_name(tmp_path / "tokens" / "x")
    living.write_text("half")
    with marked(tmp_path, fail):
        assert [path for path in left if path.exists()] == []
    assert mark.exists()  # it counts for a while: another container may have the same name
    assert living.exists()
    assert others.exists()  # not a folder of this tool


def test_a_mark_that_counts_no_more_goes(tmp_path: Path) -> None:
    mark = leave_mark(tmp_path, age=SILENT + 60)
    with marked(tmp_path, fail):
        assert not mark.exists()
