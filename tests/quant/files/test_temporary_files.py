"""Files of dead writers are removed, at once on the same machine; nothing else is."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from quant.files import temporary_files
from quant.files.cache import check_writable
from quant.files.processes import started
from quant.files.temporary_files import (
    abandoned_scratch,
    is_of_dead_writer,
    remove,
    remove_own,
    scratch_folder,
    sweep,
    sweep_checked,
    temporary_name,
    temporary_path,
    unnamed_file,
)
from tests.killed import fork, leave_behind
from tests.second_user import BOB, needs_root, reachable, user

__all__ = ["reachable"]

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
    monkeypatch.setattr("quant.files.temporary_files.time.time", lambda: now)


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
    start = started(os.getpid())
    with monkeypatch.context() as patch:
        patch.setattr(temporary_files, "started", lambda pid: start - 6000)
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


@pytest.mark.parametrize("hours", [0, 25, 24 * 365])
def test_in_a_users_folder_files_that_other_programs_name_by_a_hash_stay(
    hours: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    others = {f"{md5}.tmp", f".{md5}.tmp", f".download.{md5}.partial"}
    for name in others:
        (tmp_path / name).write_text("theirs")
    (tmp_path / "0123456789abcdef0123456789abcdef.tmp").mkdir()
    ours = leave_behind(lambda: temporary_name(tmp_path / "page.html"))
    pass_hours(monkeypatch, hours)
    check_writable(tmp_path, "a folder to write to as --output")
    with temporary_path(tmp_path / "other.html"):
        pass
    assert set(names(tmp_path)) == others | {"0123456789abcdef0123456789abcdef.tmp"}
    assert not ours.exists()


def test_a_folder_is_no_temporary_file_even_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{'0' * 32}.tmp").mkdir()
    (tmp_path / f"{'1' * 32}.tmp").write_text("of an older version")
    pass_hours(monkeypatch, 25)
    sweep(tmp_path)
    assert names(tmp_path) == [f"{'0' * 32}.tmp"]


def test_of_another_machine_names_are_known_by_their_digits(
    tmp_path: Path, elsewhere: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere()
    left = leave_behind(lambda: temporary_name(tmp_path / "model"))
    elsewhere()
    sweep_checked(tmp_path)
    assert names(tmp_path) == [left.name]
    pass_hours(monkeypatch, 25)
    sweep_checked(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a minute of difference is allowed")
def test_a_clock_that_is_set_ends_no_writer(tmp_path: Path, living: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil adds the time of boot, which moves with the clock; so did the names until now."""
    created = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + 3600)
    sweep(tmp_path)
    assert names(tmp_path) == [living.name]


@pytest.mark.parametrize("letter", ["a", "面", "\udcff"])
def test_a_name_of_any_length_that_a_file_may_have_has_a_temporary_one(letter: str, tmp_path: Path) -> None:
    longest = letter * (255 // len(os.fsencode(letter)))
    with temporary_path(tmp_path / longest) as path:
        path.write_text("half")
        os.replace(path, tmp_path / longest)
    assert names(tmp_path) == [longest]


@needs_root
def test_what_may_not_be_looked_at_is_left(reachable: Path) -> None:
    """A session goes on where the folder of its mark is closed to it; until now it failed at its end."""
    (reachable / "closed").mkdir(mode=0o700)
    (reachable / "closed" / "x").write_text("mine")
    with user(BOB):
        remove(reachable / "closed" / "x")
    assert (reachable / "closed" / "x").exists()


def test_many_names_of_one_process_differ(tmp_path: Path) -> None:
    assert len({temporary_name(tmp_path / "x") for _ in range(2000)}) == 2000


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
