"""Looking at a cache is no use of it."""

import os
import time

from landscape.cache.contents import read_store
from landscape.cache.inventory import list_units
from landscape.cache.times import same_times
from landscape.cache.verify import verify
from tests.landscape.cache.folders import DAY, STORE, fill, set_age


def test_ls_show_and_verify_leave_the_times_of_the_last_use(tmp_path):
    fill(tmp_path)
    set_age(tmp_path, 5 * DAY)
    list_units(tmp_path)
    read_store(tmp_path / STORE)
    verify(tmp_path)
    files = [path.stat() for path in tmp_path.rglob("*") if path.is_file()]
    assert max(max(file.st_atime, file.st_mtime) for file in files) < time.time() - 4 * DAY


def test_what_is_written_meanwhile_has_its_new_time(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    set_age(path, DAY)
    with same_times(tmp_path):
        new = tmp_path / "new"
        new.write_text("new")
        os.replace(new, path)
    assert path.stat().st_mtime > time.time() - 60
