"""Share a cache between two users: read and add where permissions allow it, and name the owner where they do not."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from landscape.cache.cache_limits import CacheLimits
from landscape.cache.collect import collect
from tests.landscape.cache.folders import DAY, STORE, fill, set_age
from tests.landscape.cli.asking import Run
from tests.landscape.small import NUMBERS
from tests.landscape.stores import result, store
from tests.second_user import ALICE, BOB, TEAM, give, needs_root, not_root, reachable, user

__all__ = ["reachable"]
SMALL = ("--model", "opt-nano", *NUMBERS[2:], "--bits", 8, "--methods", "rtn")
OWN = f"belongs to {ALICE}, mode 0755"


def words(root: Path, directions: int, *more: object) -> tuple[object, ...]:
    text = ("--data", "tales", "--store", root / "cache", "--output", root / "page")
    return ("probe", *SMALL, "--directions", directions, *text, "--quiet", "--json", *more)


@pytest.fixture(scope="module")
def probed() -> Iterator[Path]:
    """A cache with one small survey; whatever Python imports for one is imported."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def root(probed: Path, reachable: Path, run: Run) -> Path:
    """A copy of it that belongs to Alice, in a folder in which every user may write."""
    if not (probed / "cache").exists():
        code, _, err = run(*words(probed, 2))
        assert code == 0, err
    shutil.copytree(probed / "cache", reachable / "cache")
    reachable.chmod(0o777)
    give(reachable / "cache", ALICE)
    return reachable


def warnings_in(err: str) -> list[str]:
    return [line for line in " ".join(err.split()).split("landscape: ") if line.startswith("warning: ")]


@needs_root
def test_a_second_user_repeats_a_run_from_the_store(run: Run, root: Path) -> None:
    folder = next((root / "cache").glob("*/probes"))
    (folder / f"{'0' * 32}.tmp").write_bytes(b"left by a killed process")  # which its owner's next run removes
    give(root / "cache", ALICE)
    set_age(root / "cache", 2 * DAY)
    before = sorted((path, path.stat().st_mtime_ns) for path in (root / "cache").rglob("*"))
    with user(BOB):
        code, out, err = run(*words(root, 2))
    assert code == 0, err
    probes = json.loads(out)["probes"]
    assert probes["evaluated"] == 0 < probes["total"]
    said = warnings_in(err)
    assert [OWN in line for line in said[-2:]] == [True, True], said
    assert "cannot be marked as in use" in said[-2]
    assert "the run is not kept" in said[-1]
    assert len(said) == 2
    assert sorted((path, path.stat().st_mtime_ns) for path in (root / "cache").rglob("*")) == before


@needs_root
def test_a_larger_run_is_refused_before_any_work(run: Run, root: Path, forwards: list[int]) -> None:
    with user(BOB):
        code, out, err = run(*words(root, 3))
    assert (code, out) == (1, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line.endswith(
        f"probes: Permission denied: it {OWN}; "
        "ask its owner for access, or use another folder: --store, or LANDSCAPE_CACHE"
    )
    assert len(forwards) <= 2  # the pace for the forecast


@needs_root
def test_two_users_of_a_group_add_and_read(run: Run, root: Path) -> None:
    cache = root / "cache"
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o2775 if path.is_dir() else 0o664)
    give(cache, ALICE, TEAM)
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o2775 if path.is_dir() else 0o664)  # to give a file away clears the bit of its group
    with user(BOB, TEAM, umask=0o002):
        code, out, err = run(*words(root, 3))
        assert code == 0, err
        assert json.loads(out)["probes"]["evaluated"] > 0
    for path in (cache, *cache.rglob("*")):
        mode = path.stat().st_mode & 0o7777
        assert (path.stat().st_gid, mode) == (TEAM, 0o2775 if path.is_dir() else 0o664), path
    with user(ALICE, TEAM, umask=0o002):
        code, out, err = run(*words(root, 3, "--output", root / "page of another"))
    assert (code, len(warnings_in(err))) == (0, 0), err
    assert json.loads(out)["probes"]["evaluated"] == 0


@needs_root
@pytest.mark.parametrize("store_mode", [0o700, 0o755])
def test_a_store_that_cannot_be_read_names_its_owner(run: Run, root: Path, store_mode: int) -> None:
    folder = next(path for path in (root / "cache").iterdir() if (path / "probes").exists())
    folder.chmod(store_mode)
    for shard in (folder / "probes").iterdir():
        shard.chmod(0o600)
    named = f"{folder} belongs to {ALICE}, mode 0700" if store_mode == 0o700 else f"it belongs to {ALICE}, mode 0600"
    with user(BOB):
        code, _, err = run(*words(root, 2))
    assert code == 1
    assert f"Permission denied: {named}" in err.splitlines()[-1], err


@needs_root
def test_a_cache_in_a_closed_folder_is_an_error_in_words(run: Run, reachable: Path) -> None:
    (reachable / "closed").mkdir()
    (reachable / "closed").chmod(0o700)
    give(reachable / "closed", ALICE)
    with user(BOB):
        code, _, err = run("cache", "ls", "--store", reachable / "closed" / "cache")
    assert code == 1
    assert f"Permission denied: {reachable / 'closed'} belongs to {ALICE}, mode 0700" in err
    assert "unexpected" not in err


def closed(root: Path, mode: int) -> None:
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            path.chmod(mode)


def test_reading_commands_need_no_permission_to_write(run: Run, reachable: Path) -> None:
    cache = reachable / "cache"
    fill(cache)
    reachable.chmod(0o777)
    commands = [
        ("cache", "ls"), ("cache", "show", "opt-125m"), ("cache", "verify"),
        ("plot", "survey", "--output", reachable / "plots"), ("export", "survey", "--output", reachable / "run.h5"),
    ]  # fmt: skip
    for command in commands:  # so that Python has imported what it needs
        expected = run(*command, "--store", cache)[0]
        closed(cache, 0o555)
        shutil.rmtree(reachable / "plots", ignore_errors=True)
        (reachable / "run.h5").unlink(missing_ok=True)
        with not_root():
            code, _, err = run(*command, "--store", cache)
        closed(cache, 0o755)
        assert (code, "warning" in err, "error" in err) == (expected, False, False), (command, err)


def test_a_removal_says_whose_the_rest_is_and_breaks_nothing(reachable: Path) -> None:
    cache = reachable / "cache"
    fill(cache)
    set_age(cache, 5 * DAY)
    (cache / "in-use").mkdir()
    (cache / "in-use").chmod(0o777)
    closed(cache / STORE / "points", 0o555)
    (cache / STORE / "points").chmod(0o777)  # the points can be renamed, and not be removed
    before = sorted(cache.rglob("*"))
    with not_root():
        rehearsed = collect(cache, CacheLimits(keep=0), dry_run=True)
        done = collect(cache, CacheLimits(keep=0))
    points = {each.path: why for each, why in done.failed if each.path.parent.name == "points"}
    assert len(points) == 2
    owner = f"mode {0o555:04o}"
    assert all(why.startswith("Permission denied: it belongs to ") and why.endswith(owner) for why in points.values())
    assert {each.path for each, _ in rehearsed.failed} == {each.path for each, _ in done.failed}
    assert [path for path in before if STORE in path.parts] == [p for p in sorted(cache.rglob("*")) if STORE in p.parts]


@needs_root
def test_shards_that_only_another_may_remove_stay_and_count_once(reachable: Path) -> None:
    reachable.chmod(0o777)
    with user(ALICE, umask=0):
        store(reachable).commit([result("w")], {})
    folder = next(reachable.glob("*/probes"))
    folder.chmod(0o1777)
    os.chown(folder, 0, 0)  # who owns the folder may remove all in it
    with user(BOB, umask=0):
        here = store(reachable)
        here.commit([result("ray")], {})
        here.compact()
        assert len(here.probes()) == 2
    assert len(list(folder.glob("*.h5"))) == 2  # all rows in one, and the first, which is in a sticky folder
    with user(ALICE, umask=0):
        here = store(reachable)
        here.compact()  # makes the file that Bob owns, which she cannot replace
        assert len(here.probes()) == 2
