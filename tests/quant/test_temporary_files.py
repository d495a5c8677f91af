"""Files of dead writers are removed, at once on the same machine; nothing else is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from quant import temporary_files
from quant.temporary_files import (
    abandoned_scratch,
    is_of_dead_writer,
    remove_own,
    scratch_folder,
    sweep,
    temporary_name,
    temporary_path,
    unnamed_file,
)
from tests.killed import fork, leave_behind

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Path]:
    """The unfinished file of another process that lives."""
    reader, writer = os.pipe()
    pid = fork()
    if not pid:
        path = temporary_name(tmp_path / "model")
        path.write_text("half")
        os.write(writer, str(path).encode())
        while True:
            time.sleep(60)
    yield Path(os.read(reader, 4096).decode())
    os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let what is named from now on be of another machine, until it is called again."""
    here = temporary_files._machine()
    sides = [here, "0" * 8 if here != "0" * 8 else "1" * 8]

    def turn() -> None:
        sides.reverse()
        monkeypatch.setattr(temporary_files, "_machine", lambda: sides[0])

    return turn


def pass_hours(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    now = time.time() + 3600 * hours
    monkeypatch.setattr("quant.temporary_files.time.time", lambda: now)


def test_what_a_killed_process_left_goes_at_once(tmp_path: Path) -> None:
    left = leave_behind(lambda: temporary_name(tmp_path / "model"))
    folder = leave_behind(lambda: temporary_name(tmp_path / "folder"), as_folder=True)
    assert is_of_dead_writer(left)
    assert names(tmp_path) == sorted((left.name, folder.name))
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_writer_that_lives_keeps_its_file_however_long(
    tmp_path: Path, living: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = temporary_name(tmp_path / "other")
    own.write_text("half")
    pass_hours(monkeypatch, 24 * 300)
    sweep(tmp_path)
    assert names(tmp_path) == sorted((living.name, own.name))


def test_of_another_machine_only_the_age_is_known(
    tmp_path: Path, elsewhere: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere()
    left = leave_behind(lambda: temporary_name(tmp_path / "model"))
    elsewhere()
    assert not is_of_dead_writer(left)
    pass_hours(monkeypatch, 23)
    sweep(tmp_path)
    assert names(tmp_path) == [left.name]
    pass_hours(monkeypatch, 2)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_number_that_was_used_again_is_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = temporary_files._start(os.getpid())
    with monkeypatch.context() as patch:
        patch.setattr(temporary_files, "_start", lambda pid: start - 3600)
        left = temporary_name(tmp_path / "model")
    left.write_text("half")
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_no_other_name_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = "0" * 32
    others = {writer, f".{writer}", f"model.{writer}.partial", "notes.tmp", f"landscape-{writer}.txt", "x.partial"}
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / f".link.{writer}.partial").symlink_to("x.partial")
    pass_hours(monkeypatch, 25)
    sweep(tmp_path)
    assert set(names(tmp_path)) == others | {f".link.{writer}.partial"}


def test_a_scratch_folder_goes_at_the_end_and_those_of_killed_processes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = leave_behind(lambda: tmp_path / f"landscape-{temporary_files._writer()}", as_folder=True)
    assert abandoned_scratch() == [left]
    with suppress(KeyboardInterrupt), scratch_folder() as folder:
        assert names(tmp_path) == [folder.name]
        (folder / "vocab").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_process_that_ends_removes_what_it_is_writing(tmp_path: Path) -> None:
    with temporary_path(tmp_path / "page") as page, unnamed_file(tmp_path) as shard:
        page.mkdir()
        shard.write_text("half")
        remove_own()
        assert names(tmp_path) == []
