"""What goes is the oldest, whole, and never what is in use."""

import os
import time

import pytest

from landscape.cache.cache_limits import CacheLimits, parse_age, parse_size
from landscape.cache.collect import collect
from landscape.cache.inventory import list_units
from landscape.session.in_use import marked
from quant.errors import UsageError
from tests.landscape.cache.folders import DAY, STORE, content, fill, set_age

EVERYTHING = CacheLimits(keep=0)


def quiet(line):
    raise AssertionError(line)


@pytest.fixture
def root(tmp_path):
    fill(tmp_path)
    set_age(tmp_path, 5 * DAY)
    return tmp_path


def kinds(root):
    return {unit.kind for unit in list_units(root)}


def test_probes_settings_and_what_is_not_ours_stay(root):
    before = content(root)
    done = collect(root, EVERYTHING)
    assert kinds(root) == {"probes", "settings", "unknown"}
    after = content(root)
    assert after.items() <= before.items()
    assert done.left == sum(map(len, after.values()))
    assert sum(each.size for each in done.removed) == sum(map(len, before.values())) - done.left
    assert (done.failed, done.busy, done.over) == ((), (), done.left)


def test_a_whole_store_goes_only_when_asked(root):
    collect(root, CacheLimits(keep=0, stores=True))
    assert list(content(root)) == ["notes.txt"]


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
    left_over = sum(unit.size for unit in list_units(root) if unit.kind == "leftover")
    total = sum(unit.size for unit in list_units(root))
    done = collect(root, CacheLimits(keep=total - left_over - 1))
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


def test_the_store_of_an_open_session_and_what_is_shared_stay(root):
    other = root / f"{'12' * 8}-float32" / "points" / "x" / "y.h5"
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
    assert list(content(root)) == ["notes.txt"]


def test_what_cannot_be_removed_is_reported(root, monkeypatch):
    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)  # of another user, which root's tests cannot make
    before = content(root)
    done = collect(root, EVERYTHING)
    assert done.removed == ()
    assert {reason for _, reason in done.failed} == {"Permission denied"}
    assert content(root) == before


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
