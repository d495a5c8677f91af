"""Who uses a cache folder is seen, by processes of this machine and of others, and removal waits for no one long."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from landscape.session import in_use
from landscape.session.in_use import FOLDER, FORGOTTEN, REMOVING, SILENT, claimed, clock, marked, marks
from quant.files.processes import started
from quant.files.temporary_files import remove_own


def quiet(line):
    raise AssertionError(line)


def files(root):
    return sorted((root / FOLDER).glob("*.json"))


def write(root, host, pid, start, age, store="store"):
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    path = root / FOLDER / f"{host}-{pid}.json"
    path.write_text(json.dumps({"host": host, "pid": pid, "started": start, "store": store}))
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture(scope="module")
def gone():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_session_is_seen_while_it_lasts(tmp_path):
    with marked(tmp_path, quiet) as marker:
        (mark,) = marks(tmp_path, time.time())
        assert (mark.host, mark.pid, mark.store) == (socket.gethostname(), os.getpid(), None)
        marker.uses("model-float32")
        assert [mark.store for mark in marks(tmp_path, time.time())] == ["model-float32"]
        with marked(tmp_path, quiet):
            assert len(marks(tmp_path, time.time())) == 2
    assert marks(tmp_path, time.time()) == []
    assert files(tmp_path) == []


def test_a_process_of_this_machine_counts_while_it_lives(tmp_path, gone):
    start = started(os.getpid())
    here = socket.gethostname()
    write(tmp_path, here, os.getpid(), start, age=30 * 24 * 3600)  # stopped for a month, and alive
    assert len(marks(tmp_path, time.time())) == 1
    write(tmp_path, here, os.getpid(), start - 6000, age=SILENT + 60)  # its number was used again
    assert marks(tmp_path, time.time()) == []
    path = write(tmp_path, here, gone, start, age=SILENT - 60)  # or in a container with numbers of its own
    assert len(marks(tmp_path, time.time())) == 1
    os.utime(path, (time.time() - SILENT - 60,) * 2)
    assert marks(tmp_path, time.time()) == []


def test_a_process_of_another_machine_counts_for_a_day(tmp_path):
    path = write(tmp_path, "elsewhere", 1, 0, age=FORGOTTEN - 60)
    assert len(marks(tmp_path, time.time())) == 1
    os.utime(path, (time.time() - FORGOTTEN - 60,) * 2)
    assert marks(tmp_path, time.time()) == []


def test_a_claim_goes_with_a_process_that_must_end_at_once(tmp_path, monkeypatch):
    path = tmp_path / FOLDER / REMOVING
    path.parent.mkdir()
    path.touch()

    def end(seconds):
        remove_own()
        assert path.exists()  # it is of another process
        path.unlink()

    monkeypatch.setattr(in_use.time, "sleep", end)
    with claimed(tmp_path):
        assert path.exists()
        remove_own()
        assert not path.exists()


def test_a_mark_that_cannot_be_read_may_use_any_store(tmp_path):
    write(tmp_path, "x", 1, 0, age=0).write_text("{")
    (mark,) = marks(tmp_path, time.time())
    assert mark.store is None


def test_a_mark_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(in_use, "BEAT", 0.01)
    with marked(tmp_path, quiet):
        (path,) = files(tmp_path)
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > time.time() - 60


def test_a_session_waits_while_something_is_taken_away(tmp_path):
    events = []

    def begin():
        with marked(tmp_path, quiet):
            events.append("begun")

    with claimed(tmp_path) as found:
        assert found == []
        session = threading.Thread(target=begin)
        session.start()
        deadline = time.monotonic() + 30
        while not files(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        events.append("taken away")
    session.join(30)
    assert events == ["taken away", "begun"]
    assert not (tmp_path / FOLDER / REMOVING).exists()


def test_a_claim_of_a_killed_process_is_dropped(tmp_path):
    path = tmp_path / FOLDER / REMOVING
    path.parent.mkdir()
    path.touch()
    os.utime(path, (time.time() - 3600,) * 2)
    with marked(tmp_path, quiet):
        assert not path.exists()
    path.touch()
    os.utime(path, (time.time() - 3600,) * 2)
    with claimed(tmp_path):
        assert path.stat().st_mtime > time.time() - 60


def test_a_folder_that_may_only_be_read_is_used_with_a_warning(tmp_path):
    root = tmp_path / "cache"
    root.write_text("a file, so that not even root can write below it")
    lines = []
    with marked(root, lines.append) as marker:
        marker.uses("store")
    (line,) = lines
    assert "cannot be marked as in use" in line
    assert "\n" not in line


def test_the_clock_leaves_nothing(tmp_path):
    assert abs(clock(tmp_path) - time.time()) < 60
    assert list(tmp_path.iterdir()) == []
