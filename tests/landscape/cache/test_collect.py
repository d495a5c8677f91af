"""What goes is the oldest, whole, and never what is in use."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from landscape.cache.cache_limits import CacheLimits, parse_age, parse_size
from landscape.cache.collect import _check_removable, collect
from landscape.cache.inventory import list_units
from landscape.session.in_use import FOLDER, REMOVING, marked
from quant import interruption
from quant.checkpoints.wheel import MEMBER
from quant.errors import UsageError
from quant.files.temporary_files import _writer, temporary_name
from tests.interrupted import forgotten
from tests.killed import leave_behind
from tests.landscape.cache.folders import DAY, STORE, content, fill, set_age
from tests.second_user import ALICE, BOB, give, needs_root, reachable, user

__all__ = ["reachable"]

EVERYTHING = CacheLimits(keep=0)
USERS = ["models/other.gguf", "notes.txt"]


def quiet(line):
    raise AssertionError(line)


@pytest.fixture
def root(tmp_path):
    fill(tmp_path)
    set_age(tmp_path, 5 * DAY)
    return tmp_path


def may_go(root):
    stays = ("leftover", "unknown", "probes", "layers", "settings")
    return sum(unit.size for unit in list_units(root) if unit.kind not in stays)


def kinds(root):
    return {unit.kind for unit in list_units(root)}


def test_probes_settings_and_what_is_not_ours_stay(root):
    before = content(root)
    done = collect(root, EVERYTHING)
    assert kinds(root) == {"probes", "layers", "settings", "unknown"}
    after = content(root)
    assert after.items() <= before.items()
    assert done.left == sum(map(len, after.values()))
    assert sum(each.size for each in done.removed) == sum(map(len, before.values())) - done.left
    assert (done.failed, done.busy, done.over, done.uncounted) == ((), (), 0, done.left)


def test_a_whole_store_goes_only_when_asked(root):
    collect(root, CacheLimits(keep=0, stores=True))
    assert list(content(root)) == USERS


def test_a_rehearsal_changes_nothing_and_says_the_same(root):
    before = content(root)
    rehearsed = collect(root, EVERYTHING, dry_run=True)
    assert content(root) == before
    done = collect(root, EVERYTHING)
    assert [each.path for each in rehearsed.removed] == [each.path for each in done.removed]
    assert rehearsed.left == done.left


def test_the_least_recently_used_goes_first_until_the_limit_is_kept(root):
    points = [unit.path for unit in list_units(root) if unit.kind == "point"]
    set_age(points[0], 9 * DAY)
    done = collect(root, CacheLimits(keep=may_go(root) - 1))
    assert [each.path for each in done.removed if each.units[0].kind != "leftover"] == [points[0]]
    assert done.over == 0


def test_only_what_is_older_goes(root):
    (point, other) = [unit.path for unit in list_units(root) if unit.kind == "point"]
    set_age(point, 40 * DAY)
    done = collect(root, CacheLimits(older_than=30 * DAY))
    assert [each.path for each in done.removed if each.units[0].kind != "leftover"] == [point]
    assert other.exists()


def test_results_go_last(root):
    done = collect(root, EVERYTHING)
    order = [each.units[0].kind for each in done.removed]
    assert order[:3] == ["leftover"] * 3
    assert set(order[-2:]) == {"run", "study"}


def test_what_was_read_within_the_hour_stays(root):
    (point, _) = [unit.path for unit in list_units(root) if unit.kind == "point"]
    (file,) = point.iterdir()
    os.utime(file, (time.time() - 1800, file.stat().st_mtime))
    done = collect(root, CacheLimits(keep=0, stores=True))
    assert file.exists()
    assert (root / STORE / "probes").exists()
    assert point in [each.path for each in done.busy]


def test_young_leftovers_stay(root):
    young = root / STORE / "probes" / f"{'0' * 32}.tmp"
    set_age(young, 12 * 3600)
    collect(root, CacheLimits(older_than=30 * DAY))
    assert young.exists()
    assert not (root / "models" / "tmpab12cd_9").exists()


def test_what_a_dead_process_left_goes_at_once_and_is_said(root, tmp_path, monkeypatch):
    scratch = tmp_path / "system"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    left = [
        leave_behind(lambda: temporary_name(root / "tokens" / "text")),
        leave_behind(lambda: temporary_name(root / "models" / "wheel"), as_folder=True),  # still empty
        leave_behind(lambda: scratch / f"landscape-{_writer()}", as_folder=True),
    ]
    living = temporary_name(root / "tokens" / "text")
    living.write_text("half")
    with marked(root, quiet):
        rehearsed = collect(root, CacheLimits(older_than=30 * DAY), dry_run=True)
        assert all(path.exists() for path in left)
        done = collect(root, CacheLimits(older_than=30 * DAY))
    for each in (rehearsed, done):
        assert set(left) <= {candidate.path for candidate in each.removed}
    assert not any(path.exists() for path in left)
    assert living.exists()


def test_an_interrupted_removal_leaves_no_claim_and_nothing_half_removed(root, monkeypatch):
    rename = os.rename

    def interrupt(source, target):
        interruption.note(signal.SIGINT)
        interruption.check()  # as the handler does, which waits for the end of what is shielded
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupt)
    before = content(root)
    with forgotten(), pytest.raises(interruption.Interrupted):
        collect(root, EVERYTHING)
    gone = before.keys() - content(root).keys()
    assert len({name.split("/")[:3][-1] for name in gone}) == 1
    assert not content(root).keys() - before.keys()


def test_an_interruption_ends_the_wait_for_another_removal(root, monkeypatch):
    other = root / FOLDER / REMOVING
    other.parent.mkdir(exist_ok=True)
    other.touch()

    def interrupt(seconds):
        interruption.note(signal.SIGINT)
        interruption.check()  # as the handler does

    monkeypatch.setattr("time.sleep", interrupt)
    monkeypatch.setattr("landscape.session.in_use._PATIENCE", 0.2)
    before = content(root)
    with forgotten(), pytest.raises(interruption.Interrupted):
        collect(root, EVERYTHING)
    assert other.exists()  # it is of a process that may be at work
    assert content(root) == before


def test_what_another_removal_takes_meanwhile_is_no_failure(root, monkeypatch):
    (point, other) = [unit.path for unit in list_units(root) if unit.kind == "point"]
    take = os.rename

    def is_late(source, target):
        if source == point:
            shutil.rmtree(source)
        take(source, target)

    monkeypatch.setattr(os, "rename", is_late)
    done = collect(root, EVERYTHING)
    assert done.failed == ()
    assert point not in {each.path for each in done.removed}
    assert other in {each.path for each in done.removed}
    assert done.left == sum(map(len, content(root).values()))


def test_scratch_that_goes_meanwhile_is_no_failure(root, monkeypatch, tmp_path_factory):
    gone = tmp_path_factory.mktemp("system") / "landscape-gone"
    monkeypatch.setattr("landscape.cache.collect.abandoned_scratch", lambda: [gone])
    assert collect(root, EVERYTHING).failed == ()


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o744, 0o755, 0o777])
def test_scratch_of_another_user_is_left_to_them(mode, reachable, monkeypatch):
    root, scratch = reachable / "cache", reachable / "system"
    fill(root)
    set_age(root, 5 * DAY)
    scratch.mkdir()
    scratch.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    theirs, ours = (leave_behind(lambda: scratch / f"landscape-{_writer()}", as_folder=True) for _ in range(2))
    for folder, owner in ((theirs, ALICE), (ours, BOB)):
        (folder / "vocab.json").write_text("half")
        give(folder, owner)
    theirs.chmod(mode)
    give(root, BOB)
    with user(BOB):
        rehearsed = collect(root, EVERYTHING, dry_run=True)
        done = collect(root, EVERYTHING)
    assert (theirs.exists(), ours.exists()) == (True, False)
    assert (rehearsed.failed, done.failed) == ((), ())
    assert [each.path for each in rehearsed.removed] == [each.path for each in done.removed]
    (mine,) = (each for each in done.removed if each.path.parent == scratch)
    assert (mine.path, mine.size) == (ours, 4)
    assert rehearsed.left == done.left


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o300])
def test_a_unit_with_a_folder_that_cannot_be_listed_is_not_broken(mode, reachable):
    fill(reachable)
    (point, _) = [unit.path for unit in list_units(reachable) if unit.kind == "point"]
    give(reachable, BOB)
    inner = point / "of another"
    inner.mkdir()
    (inner / "file").touch()
    inner.chmod(mode)
    with user(BOB), pytest.raises(PermissionError, match="of another"):
        _check_removable(point)


def test_the_store_of_an_open_session_and_what_is_shared_stay(root):
    other = root / f"{'12' * 8}-float32" / "points" / ("34" * 32) / f"{'56' * 32}.h5"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"point")
    set_age(other, 5 * DAY)
    with marked(root, quiet) as marker:
        before = content(root)
        assert collect(root, CacheLimits(keep=0, stores=True)).removed == ()  # it may still be any store
        marker.uses(STORE)
        collect(root, CacheLimits(keep=0, stores=True))
        gone = before.keys() - content(root).keys()
        assert gone == {str(other.relative_to(root))}
    collect(root, CacheLimits(keep=0, stores=True))
    assert list(content(root)) == USERS


def test_what_cannot_be_removed_is_reported(root, monkeypatch):
    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)  # of another user, which root's tests cannot make
    before = content(root)
    done = collect(root, EVERYTHING)
    assert done.removed == ()
    assert all(reason.startswith("Permission denied: it belongs to ") for _, reason in done.failed)
    assert done.failed
    assert content(root) == before


def test_a_download_goes_and_other_models_stay(root):
    ours = root / "models" / Path(MEMBER).name
    ours.write_bytes(b"GGUF")
    set_age(ours, 5 * DAY)
    collect(root, EVERYTHING)
    assert not ours.exists()
    assert (root / "models" / "other.gguf").exists()


def test_what_cannot_go_does_not_count(root):
    (root / "models" / "big").mkdir()
    (root / "models" / "big" / "model.safetensors").write_bytes(bytes(10**6))
    done = collect(root, CacheLimits(keep=may_go(root)))
    assert {each.units[0].kind for each in done.removed} == {"leftover"}
    assert done.over == 0
    assert done.uncounted == sum(map(len, content(root).values())) - may_go(root) > 10**6


def test_results_stay_where_the_limit_is_out_of_reach_without_them_too(root):
    (point, _) = [unit for unit in list_units(root) if unit.kind == "point"]
    os.utime(next(point.path.iterdir()), None)  # in use
    done = collect(root, CacheLimits(keep=point.size - 1, stores=True))
    assert {"run", "study", "probes"} <= kinds(root)
    assert (done.busy[0].path, done.spared_results) == (point.path, True)
    assert done.over == may_go(root) + sum(
        unit.size for unit in list_units(root) if unit.store and unit.kind in ("probes", "layers", "settings")
    ) - (point.size - 1)  # stores were asked for, so that all of them counts
    reached = collect(root, CacheLimits(keep=point.size))
    assert ({"run", "study"} & kinds(root), reached.over, reached.spared_results) == (set(), 0, False)


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20e9), ("0B", 0), ("1.5 kB", 1500), ("2MiB", 2 * 2**20), ("1tb", 1e12)]
)
def test_sizes_are_read(text, size):
    assert parse_size(text, "--keep") == size


@pytest.mark.parametrize(("text", "age"), [("30d", 30 * DAY), ("12h", DAY / 2), ("2w", 14 * DAY), ("90 min", 5400)])
def test_ages_are_read(text, age):
    assert parse_age(text, "--older-than") == age


@pytest.mark.parametrize("text", ["", "20", "GB", "-1GB", "20 apples", "1e3GB"])
def test_other_sizes_are_refused(text):
    with pytest.raises(UsageError, match="expected a size such as 20GB or 500MB as --keep, got"):
        parse_size(text, "--keep")
